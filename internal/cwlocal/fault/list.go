package fault

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// A List holds the faults of a stand-in, in the order in which they were added. All methods
// may be called concurrently. The zero value is empty.
type List struct {
	mu     sync.Mutex
	lastID int64
	active []*Active
}

// An Active is a fault in a List.
type Active struct {
	Fault

	id      int64
	until   time.Time     // until is when the fault ends, and zero if it does not end.
	taken   int           // taken counts the requests that the fault applied to.
	random  *rand.Rand    // random makes the random numbers for Probability.
	cleared chan struct{} // cleared is closed when the fault is cleared.

	// free is when a Bottleneck has served the requests that it has taken, and before now if
	// there is none.
	free time.Time
}

// Cleared returns a channel that is closed when the fault is cleared.
func (a *Active) Cleared() <-chan struct{} { return a.cleared }

// A Status is a fault as All lists it.
type Status struct {
	ID    int64 `json:"id"`
	Fault Fault `json:"fault"`
	Taken int   `json:"taken"` // Taken counts the requests that the fault applied to.
}

// Add activates a fault and returns its number. It panics if the fault is invalid.
func (l *List) Add(f Fault, now time.Time) (id int64) {
	if err := f.Check(); err != nil {
		panic("cwlocal: " + err.Error())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID++
	a := &Active{Fault: f, id: l.lastID, cleared: make(chan struct{}), random: rand.New(rand.NewPCG(f.Seed, 0))}
	if f.For > 0 {
		a.until = now.Add(f.For)
	}
	l.active = append(l.active, a)
	return a.id
}

// All lists the faults that were added and not cleared, including those that are used up.
func (l *List) All() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []Status{}
	for _, a := range l.active {
		list = append(list, Status{a.id, a.Fault, a.taken})
	}
	return list
}

// Clear removes the fault with that number, or all faults if the number is 0. It returns
// how many it removed.
func (l *List) Clear(id int64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.active)
	l.active = slices.DeleteFunc(l.active, func(a *Active) bool {
		if id != 0 && a.id != id {
			return false
		}
		close(a.cleared)
		return true
	})
	return n - len(l.active)
}

// Pick returns the fault that applies to a request, or nil. It blocks for the delays of
// Slow and Bottleneck faults, until ctx is done or closing is closed.
func (l *List) Pick(ctx context.Context, r *protocol.Request, now time.Time, closing <-chan struct{}) *Active {
	f, delay := l.take(r, now)
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		case <-closing:
		}
	}
	return f
}

// take counts the request in the faults that apply to it. It returns the sum of the delays
// of Slow and Bottleneck faults, and the fault of another kind.
func (l *List) take(r *protocol.Request, now time.Time) (f *Active, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.active {
		if !a.applies(r, now) {
			continue
		}
		a.taken++
		switch a.Kind {
		case Slow:
			delay += a.Delay
		case Bottleneck:
			delay += a.serveNext(r, now)
		default:
			return a, delay
		}
	}
	return nil, delay
}

// serveNext returns how long a request takes in a Bottleneck, with the wait for those before
// it.
func (a *Active) serveNext(r *protocol.Request, now time.Time) time.Duration {
	if a.free.Before(now) {
		a.free = now
	}
	a.free = a.free.Add(time.Duration(float64(r.BodyBytes) / float64(a.Limit) * float64(time.Second)))
	return a.free.Sub(now)
}

// applies reports whether the fault applies to a request. It draws a random number only if
// everything else matches, so that the same seed and the same requests give the same
// result.
func (a *Active) applies(r *protocol.Request, now time.Time) bool {
	matches := func(want, got string) bool { return want == "" || want == got }
	switch {
	case a.Count > 0 && a.taken >= a.Count,
		!a.until.IsZero() && !now.Before(a.until),
		!matches(a.Operation, r.Operation),
		a.Operation == "" && r.Operation == protocol.GetCallerIdentity,
		!matches(a.Region, r.Auth.Region),
		!matches(a.AccessKey, r.Auth.KeyID),
		!matches(a.Group, r.Input.Strings["logGroupName"]),
		!matches(a.Stream, r.Input.Strings["logStreamName"]),
		(a.Kind == GzipUnsupported || a.Kind == GzipMisread || a.Kind == GzipCrash) && !r.Gzip,
		a.Kind == SmallEvents && largest(r.Input.Events) <= a.Limit,
		a.Kind == DataAccepted && r.Operation != "PutLogEvents",
		a.Kind == Poison && !contains(r.Input.Events, a.Text):
		return false
	}
	return a.Probability == 0 || a.random.Float64() < a.Probability
}

func contains(events []protocol.InputEvent, text string) bool {
	return slices.ContainsFunc(events, func(e protocol.InputEvent) bool { return strings.Contains(e.Message, text) })
}

// largest returns the size of the largest event.
func largest(events []protocol.InputEvent) int {
	n := 0
	for i := range events {
		n = max(n, events[i].Size())
	}
	return n
}
