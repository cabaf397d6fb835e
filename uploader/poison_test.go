package uploader

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestGuiltyBatchInCompany has a poison event in a full batch whose refusal comes before the batches sent along with it
// are accepted. The event must be found all the same, not after all that comes behind it.
func TestGuiltyBatchInCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		before := 0 // requests until it was found
		f.has("g", "s")
		f.refuse = func(m string) bool { return strings.HasPrefix(m, "poison") }
		f.latency = 100 * time.Millisecond
		u := start(t, f, Options{})
		feed := newFeed(t)
		feed.onLost = func() { before = f.count("put") }
		at := time.Now().Add(-time.Hour)
		const n = 15 * maxBatchEvents
		for i := range n {
			text := line(i)
			if i == maxBatchEvents+5 {
				text = "poison"
			}
			feed.add(at.Add(time.Duration(i)*time.Millisecond), text)
		}
		d := u.Attach(testTarget, feed, time.Second)
		d.Finish()
		<-d.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, f.refuse)
		if most := 30; before > most {
			t.Errorf("found after %d requests, want at most %d", before, most)
		}
	})
}
