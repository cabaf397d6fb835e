package uploader

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/longtest"
	"github.com/logspool/logspool/internal/target"
)

func isPoison(m string) bool { return strings.HasPrefix(m, "poison") }

// TestLostPartOfLineIsReportedOnce has CloudWatch refuse parts of a long line that have no
// ranges of their own. Each loss is reported once, at the acknowledgement of the line.
func TestLostPartOfLineIsReportedOnce(t *testing.T) { testLostPartOfLine(t, false) }

func TestLong_LostPartOfLineIsReportedOnce(t *testing.T) {
	longtest.Skip(t)
	testLostPartOfLine(t, true)
}

func testLostPartOfLine(t *testing.T, long bool) {
	for _, k := range []struct {
		name  string
		lines [][]string
		lost  []int // the line of each loss
	}{
		{"middle", [][]string{{"a"}, {"b1", "poison", "b3"}, {"c"}}, []int{1}},
		{"beginning", [][]string{{"poison", "b2"}, {"c"}}, []int{0}},
		{"all", [][]string{{"a"}, {"poison 1", "poison 2", "poison 3"}, {"c"}}, []int{1, 1, 1}},
		{"two lines", [][]string{{"a1", "poison 1", "a3"}, {"b1", "poison 2", "b3"}}, []int{0, 1}},
		{"poison line behind", [][]string{{"a1", "a2", "a3"}, {"poison"}}, []int{1}},
		{"poison line behind a poison middle", [][]string{{"a1", "poison 1", "a3"}, {"poison 2"}}, []int{0, 1}},
		{"poison end", [][]string{{"a1", "a2", "poison"}, {"b"}}, []int{0}},
	} {
		for _, size := range []int{3, 400_000, 1_000_000} { // all in one batch; two parts in a batch; each part in a batch of its own
			if !long && size > 3 && k.name != "middle" {
				continue // these send megabytes
			}
			t.Run(fmt.Sprint(k.name, " ", size), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(t)
					f.has("g", "s")
					f.refuse = isPoison
					f.faults = func(string, string, string) *fault {
						if f.calls["put"] == 300 {
							t.Error("the same events are sent again and again")
							f.refuse = func(string) bool { return false }
						}
						return nil
					}
					u := start(t, f, Options{Log: discard, Plain: true})
					feed := newFeed(t)
					var want []string
					at := time.Now().Add(-time.Minute)
					for i, parts := range k.lines {
						var filled []string
						for _, p := range parts {
							if len(parts) > 1 {
								p += strings.Repeat(".", size)
							}
							filled = append(filled, p)
						}
						feed.addLong(at.Add(time.Duration(i)*time.Second), filled...)
						for range slices.DeleteFunc(slices.Clone(k.lost), func(l int) bool { return l != i }) {
							want = append(want, fmt.Sprintf("refused 1 by [%v]", feed.line(len(feed.events)-1)))
						}
					}
					d := u.Attach(testTarget, feed, time.Second)
					d.Finish()
					<-d.Done()
					slices.Sort(feed.accounted) // batches in flight together are answered in any order
					slices.Sort(want)
					if !slices.Equal(feed.accounted, want) {
						t.Errorf("reported %v, want %v", feed.accounted, want)
					}
					if n := u.Metrics().DroppedEvents[events.Refused]; n != int64(len(want)) {
						t.Errorf("%d counted, want %d", n, len(want))
					}
					stop(t, u)
					checkShown(t, f.shown("g", "s"), feed, true, isPoison)
				})
			})
		}
	}
}

// byHand makes a sender with one feed, whose goroutine does not run. hand puts the next n
// events in flight. old answers that the first of them was too old.
func byHand(t *testing.T, feed *fakeFeed) (u *Uploader, s *sender, d *Delivery, hand func(n int) *batch, old func(*batch)) {
	u = New(Options{Log: discard, connector: newFake(t)})
	t.Cleanup(func() { stop(t, u) })
	svc := newService(u, target.Access{Region: "r"}, newEndpoint())
	u.services[svc.access] = svc
	s = newSender(u, svc, target.Target{}, testTarget)
	d = newDelivery(s, testTarget, feed, 0)
	s.deliveries = []*Delivery{d}
	hand = func(n int) *batch {
		s.flight.built++
		b := &batch{
			seq: s.flight.built, contents: contents{parts: []part{{delivery: d}}},
			permit: &permit{limiter: s.svc.limiter}, memory: memory{budget: &u.pool.backlog},
		}
		for range n {
			e, ok := feed.Next(time.Now())
			if !ok {
				t.Fatal("no event")
			}
			b.append(0, e, len(b.records), 0, len(e.Message))
		}
		d.inFlight++
		s.flight.batches = append(s.flight.batches, b)
		return b
	}
	old = func(b *batch) {
		b.rejected.tooOldEnd = 1
		s.answered(answer{batch: b, verdict: accepted})
	}
	return u, s, d, hand, old
}

// TestLossOfUnfinishedLineIsFoundAgain: a line whose end was never in a batch is sent
// again, and its loss is found again.
func TestLossOfUnfinishedLineIsFoundAgain(t *testing.T) {
	feed := newFeed(t)
	feed.add(time.Now(), "x")
	feed.addLong(time.Now(), "a1", "a2", "a3")
	u, s, d, hand, old := byHand(t, feed)
	x := hand(1)
	old(hand(2))
	s.answered(answer{batch: x, verdict: unavailable, err: errNoAnswer})
	s.advance(time.Now())
	s.answered(answer{batch: hand(1), verdict: accepted})
	old(hand(2))
	s.answered(answer{batch: hand(1), verdict: accepted})
	if len(feed.accounted) != 1 || !strings.HasPrefix(feed.accounted[0], fmt.Sprintf("too_old 1 by [%v", feed.line(1))) || len(d.deferred) > 0 {
		t.Errorf("reported %v, deferred %v", feed.accounted, d.deferred)
	}
	if n := u.Metrics().DroppedEvents[events.TooOld]; n != 1 {
		t.Errorf("%d counted", n)
	}
}

// TestLossIsDeferredUntilTheLineIsAcknowledged has the batch with the end of a line and the
// batch after it answered in each order and way. The loss is reported with the line's end.
// If the line is sent again, the loss is not reported before.
func TestLossIsDeferredUntilTheLineIsAcknowledged(t *testing.T) {
	for _, k := range []struct {
		end, behind verdict // the answers of the first try
	}{
		{accepted, accepted}, {unavailable, accepted}, {accepted, unavailable}, {unavailable, unavailable},
	} {
		for _, endFirst := range []bool{true, false} {
			t.Run(fmt.Sprint(k, endFirst), func(t *testing.T) {
				feed := newFeed(t)
				feed.addLong(time.Now(), "a1", "a2", "a3")
				feed.add(time.Now(), "b")
				u, s, d, hand, old := byHand(t, feed)
				old(hand(2))
				if len(feed.lost) > 0 {
					t.Error("reported too early")
				}
				end, behind := hand(1), hand(1)
				answers := []answer{{batch: end, verdict: k.end, err: errNoAnswer}, {batch: behind, verdict: k.behind, err: errNoAnswer}}
				if !endFirst {
					slices.Reverse(answers)
				}
				for _, a := range answers {
					s.answered(a)
				}
				s.advance(time.Now())
				if k.end != accepted { // everything is sent again
					if len(feed.accounted) > 0 || len(d.deferred) > 0 {
						t.Errorf("reported %v, deferred %v", feed.accounted, d.deferred)
					}
					old(hand(2))
					s.answered(answer{batch: hand(1), verdict: accepted})
				}
				if len(feed.accounted) != 1 || !strings.HasPrefix(feed.accounted[0], "too_old 1 by [{0 ") || len(d.deferred) > 0 {
					t.Errorf("reported %v, deferred %v", feed.accounted, d.deferred)
				}
				if n := u.Metrics().DroppedEvents[events.TooOld]; n != 1 {
					t.Errorf("%d counted", n)
				}
			})
		}
	}
}
