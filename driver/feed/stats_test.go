package feed

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStatsCountAcceptedBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Stats
		if at, _, _ := s.LastBatch(); !at.IsZero() {
			t.Errorf("a batch at %v before the first", at)
		}
		(&Feed{}).Accepted(1, 1) // nobody counts
		stdout, stderr := &Feed{o: Options{Stats: &s}}, &Feed{o: Options{Stats: &s}}
		stdout.Accepted(3, 300)
		time.Sleep(time.Second)
		stderr.Accepted(2, 50)
		if events, bytes := s.Delivered(); events != 5 || bytes != 350 {
			t.Errorf("delivered %d events, %d bytes", events, bytes)
		}
		if at, events, bytes := s.LastBatch(); !at.Equal(time.Now()) || events != 2 || bytes != 50 {
			t.Errorf("last batch at %v: %d events, %d bytes", at, events, bytes)
		}
	})
}
