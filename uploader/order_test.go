package uploader

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestLinesOfOneMillisecondKeepTheirOrder: CloudWatch knows only milliseconds. Lines of one
// millisecond arrive in the order in which they were written, whatever nanoseconds dockerd
// gave them. Lines of several feeds are merged by millisecond, and within one by feed.
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

// TestManyBatchesOfOneMillisecondKeepTheirOrder has more events of one millisecond than a
// batch holds. Answers arrive in any order, and some requests fail.
func TestManyBatchesOfOneMillisecondKeepTheirOrder(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			f, feed := newFake(t), newFeed(t)
			f.has("g", "s")
			r := rand.New(rand.NewPCG(seed, 1))
			f.faults = func(string, string, string) *fault {
				f.latency = time.Duration(r.IntN(1000)) * time.Millisecond
				if r.IntN(4) == 0 {
					return &fault{err: errors.New("reset")}
				}
				return nil
			}
			at := time.Now()
			for i := range 30_000 {
				feed.add(at.Add(time.Duration(i/22_000)*time.Millisecond), line(i))
			}
			u := start(t, f, Options{Log: discard, Plain: true})
			d := u.Attach(testTarget, feed, 0)
			d.Finish()
			<-d.Done()
			stop(t, u)
			checkShown(t, f.shown("g", "s"), feed, false, nil)
		})
	}
}

// TestBacklogsAreMergedByTime: if feeds with a backlog share a stream, no two batches
// overlap in time.
func TestBacklogsAreMergedByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		at := time.Now()
		var deliveries []*Delivery
		for w := range 3 {
			feed := newFeed(t)
			for i := range 10_000 {
				feed.add(at.Add(time.Duration(i*3+w)*time.Millisecond), fmt.Sprint(w, " ", i))
			}
			deliveries = append(deliveries, u.Attach(testTarget, feed, time.Second))
		}
		for _, d := range deliveries {
			d.Finish()
			<-d.Done()
		}
		stop(t, u)
		raw := f.streams["g|s"]
		type span struct{ from, to int64 }
		var spans []span
		for _, n := range f.batches {
			spans = append(spans, span{raw[0].ms, raw[n-1].ms})
			raw = raw[n:]
		}
		slices.SortFunc(spans, func(a, b span) int { return int(a.from - b.from) })
		for i := 1; i < len(spans); i++ {
			if spans[i].from <= spans[i-1].to {
				t.Errorf("batches %v and %v", spans[i-1], spans[i])
			}
		}
	})
}
