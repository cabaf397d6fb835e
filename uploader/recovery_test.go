package uploader

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// TestMendedByHand has somebody mend, after minutes, what the driver may not or cannot: delivery goes on after the
// longest wait and no other one, which is within 30 s.
func TestMendedByHand(t *testing.T) {
	const outage = 10 * time.Minute
	for _, k := range []struct {
		name  string
		tries int // the waits are random
		to    target.Target
		bad   error // of all puts until it is mended; nil: the group is missing
	}{
		{"group is made", 40, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s", Create: target.Create{Stream: true}}, nil},
		{"group and stream are made", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, nil},
		{"leave is given", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("AccessDeniedException")},
		{"keys are good again", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("UnrecognizedClientException")},
		{"no answer that anyone knows", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("Nobody")},
	} {
		t.Run(k.name, func(t *testing.T) {
			worst := time.Duration(0)
			for range k.tries {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(t)
					begin := time.Now()
					f.faults = func(op, _, _ string) *fault {
						if k.bad != nil && op == "put" && time.Since(begin) < outage {
							return &fault{err: k.bad}
						}
						return nil
					}
					u := start(t, f, Options{Log: discard})
					feed := newFeed(t)
					feed.add(time.Now(), "x")
					d := u.Attach(k.to, feed, time.Second)
					d.Finish()
					time.Sleep(outage)
					if k.to.Create.Stream {
						f.has("g", "")
					} else {
						f.has("g", "s")
					}
					<-d.Done()
					worst = max(worst, time.Since(begin)-outage)
					stop(t, u)
				})
			}
			if worst > maxSlowBackoff+time.Second {
				t.Errorf("delivered %v after it was mended", worst)
			}
		})
	}
}
