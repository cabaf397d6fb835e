package uploader

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/target"
)

// TestEveryEventArrivesUnderRandomFaults lets random feeds with random times and sizes
// share random streams of a service with random faults. Every event arrives in order, and
// twice only if a fault explains it.
func TestEveryEventArrivesUnderRandomFaults(t *testing.T) {
	type input struct {
		stream, at, length int
		gap                time.Duration
		text               string
	}
	rapid.Check(t, func(r *rapid.T) {
		streams := rapid.IntRange(1, 3).Draw(r, "streams")
		feeds := rapid.IntRange(1, 4).Draw(r, "feeds")
		span := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 100 * time.Hour}).Draw(r, "span")
		in := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) input {
			return input{
				stream: rapid.IntRange(0, feeds-1).Draw(r, "feed"),
				at:     rapid.IntRange(0, 1_000_000).Draw(r, "at"),
				length: rapid.SampledFrom([]int{0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 200_000, 700_000}).Draw(r, "length"),
				gap:    time.Duration(rapid.IntRange(0, 3000).Draw(r, "gap")) * time.Millisecond,
				text:   rapid.SampledFrom([]string{"x", "\"", "\x01", "ü", "\xff"}).Draw(r, "text"),
			}
		}), 1, 60).Draw(r, "events")
		faults := rapid.SliceOfN(rapid.SampledFrom([]*fault{
			nil, nil, nil,
			{err: errors.New("reset")}, {err: errors.New("reset"), after: true},
			{err: apiErr("ThrottlingException")}, {err: &fakeErr{status: 500}, after: true}, {err: &fakeErr{status: 400}},
			{err: apiErr("AccessDeniedException")}, {err: apiErr("ExpiredTokenException")}, {err: apiErr("ResourceNotFoundException")},
			{err: apiErr("DataAlreadyAcceptedException"), after: true}, {hang: true}, {hang: true, after: true},
		}), 0, 30).Draw(r, "faults")
		ordered := rapid.Bool().Draw(r, "ordered")
		latency := time.Duration(rapid.IntRange(0, 500).Draw(r, "latency")) * time.Millisecond

		failed := !t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.latency = latency
				doubles := false
				f.faults = func(string, string, string) *fault {
					if len(faults) == 0 {
						return nil
					}
					ft := faults[0]
					faults = faults[1:]
					doubles = doubles || ft != nil && ft.after
					return ft
				}
				u := start(t, f, Options{Log: discard})
				var all []*fakeFeed
				var deliveries []*Delivery
				name := func(feed int) string { return fmt.Sprint(feed % streams) }
				for i := range feeds {
					all = append(all, newFeed(t))
					deliveries = append(deliveries, u.Attach(target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: name(i), Create: target.Create{Group: true, Stream: true}},
						all[i], time.Duration(i)*time.Second))
				}
				begin := time.Now()
				for i, e := range in {
					at := begin.Add(span * time.Duration(e.at) / 1_000_000)
					if ordered {
						at = begin.Add(span * time.Duration(i) / time.Duration(len(in)))
					}
					message := fmt.Sprintf("%d %d ", e.stream, i) + strings.Repeat(e.text, e.length/len(e.text))
					if e.text == "\xff" {
						message = message[:min(len(message), 340_000)]
					}
					deliveries[e.stream].Notify(all[e.stream].add(at, message))
					time.Sleep(e.gap)
				}
				for _, d := range deliveries {
					d.Finish()
				}
				for i, d := range deliveries {
					<-d.Done()
					if !all[i].ackedAll() {
						t.Error("done, and not everything is acknowledged")
					}
				}
				stop(t, u)
				for i := range all {
					var own []stored
					for _, s := range f.shown("g", name(i)) {
						if strings.HasPrefix(s.message, fmt.Sprint(i, " ")) {
							own = append(own, s)
						}
					}
					checkShown(t, own, all[i], doubles, nil)
				}
				if m := u.Metrics(); m.InFlight != 0 || m.Senders != 0 {
					t.Errorf("%+v", m)
				}
			})
		})
		if failed {
			r.Fatal("failed")
		}
	})
}
