package uploader

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestLinesOfOneMillisecondKeepTheirOrder: CloudWatch knows milliseconds. Lines of one millisecond arrive in the order in
// which they were written, whatever nanoseconds dockerd gave them; lines of several feeds are merged by millisecond, and
// within one by feed.
func TestLinesOfOneMillisecondKeepTheirOrder(t *testing.T) {
	type written struct {
		feed int
		at   time.Duration
	}
	ns, us, ms := time.Nanosecond, time.Microsecond, time.Millisecond
	for name, k := range map[string]struct {
		in   []written
		want string // indices into in
	}{
		"clock steps back":             {[]written{{0, 200 * ns}, {0, 100 * ns}, {0, 150 * ns}}, "[0 1 2]"},
		"steps back over a ms":         {[]written{{0, ms + 200*us}, {0, 900 * us}, {0, ms + 100*us}, {0, ms}}, "[1 0 2 3]"},
		"an earlier line of the ms":    {[]written{{0, 5 * ms}, {0, 2*ms + 9*us}, {0, 2*ms + 3*us}, {0, 5*ms - ns}}, "[1 2 3 0]"},
		"two feeds":                    {[]written{{0, 500 * us}, {1, 100 * us}, {0, 50 * us}, {1, 0}, {1, ms}, {0, ms + 5}}, "[0 2 1 3 5 4]"},
		"the second feed begins first": {[]written{{0, ms + 300*us}, {1, 700 * us}, {1, ms + 10*us}, {0, ms + 20*us}}, "[1 0 3 2]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.has("g", "s")
				u := start(t, f, Options{})
				feeds := []*fakeFeed{newFeed(t), newFeed(t)}
				at := time.Now().Truncate(time.Second)
				for i, w := range k.in {
					feeds[w.feed].add(at.Add(w.at), fmt.Sprint(i))
				}
				for _, feed := range feeds {
					u.Attach(testTarget, feed, time.Second).Finish()
				}
				synctest.Wait()
				stop(t, u)
				var got []string
				for _, s := range f.shown("g", "s") {
					got = append(got, s.message)
				}
				if fmt.Sprint(got) != k.want || len(f.batches) != 1 {
					t.Errorf("got %v in %d batches, want %s", got, len(f.batches), k.want)
				}
			})
		})
	}
}
