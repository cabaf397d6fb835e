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

// An Active is a Fault at work.
type Active struct {
	Fault
	ID      int64
	until   time.Time // zero: no end
	taken   int
	dice    *rand.Rand
	cleared chan struct{} // closed when the fault is cleared: lets go of what hangs
}

// Cleared returns a channel that is closed when the fault is cleared.
func (a *Active) Cleared() <-chan struct{} { return a.cleared }

// A List is the faults of a stand-in, in the order in which they were added. All methods may be called
// at once. The zero value is empty.
type List struct {
	mu     sync.Mutex
	lastID int64
	active []*Active
}

// A Status is a fault as All shows it. Taken is how many requests it took.
type Status struct {
	ID    int64 `json:"id"`
	Fault Fault `json:"fault"`
	Taken int   `json:"taken"`
}

// Add sets a fault to work and returns its number. It panics on a fault that makes no sense.
func (l *List) Add(f Fault, now time.Time) (id int64) {
	if err := f.Check(); err != nil {
		panic("cwlocal: " + err.Error())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID++
	a := &Active{Fault: f, ID: l.lastID, cleared: make(chan struct{}), dice: rand.New(rand.NewPCG(f.Seed, 0))}
	if f.For > 0 {
		a.until = now.Add(f.For)
	}
	l.active = append(l.active, a)
	return a.ID
}

// All shows the faults that were added and not cleared, also those that are used up.
func (l *List) All() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []Status{}
	for _, a := range l.active {
		list = append(list, Status{a.ID, a.Fault, a.taken})
	}
	return list
}

// Clear ends a fault, and all with the number 0. What hangs on it has its connection reset. It
// says how many there were.
func (l *List) Clear(id int64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.active)
	l.active = slices.DeleteFunc(l.active, func(a *Active) bool {
		if id != 0 && a.ID != id {
			return false
		}
		close(a.cleared)
		return true
	})
	return n - len(l.active)
}

// Pick finds the fault for a request, or nil. It blocks for the delays of slow ones.
func (l *List) Pick(ctx context.Context, r *protocol.Request, now time.Time, closing <-chan struct{}) *Active {
	var delay time.Duration
	f := l.take(r, now, &delay)
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

func (l *List) take(r *protocol.Request, now time.Time, delay *time.Duration) *Active {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.active {
		if !a.takes(r, now) {
			continue
		}
		a.taken++
		if a.Kind != Slow {
			return a
		}
		*delay += a.Delay
	}
	return nil
}

// takes says whether the fault applies to a request. It throws the dice only if all else fits, so
// that a seed gives the same run for the same requests.
func (a *Active) takes(r *protocol.Request, now time.Time) bool {
	fits := func(want, got string) bool { return want == "" || want == got }
	switch {
	case a.Count > 0 && a.taken >= a.Count,
		!a.until.IsZero() && !now.Before(a.until),
		!fits(a.Operation, r.Operation),
		!fits(a.Region, r.Auth.Region),
		!fits(a.AccessKey, r.Auth.KeyID),
		!fits(a.Group, r.Input.Strings["logGroupName"]),
		!fits(a.Stream, r.Input.Strings["logStreamName"]),
		(a.Kind == GzipUnsupported || a.Kind == GzipMisread || a.Kind == GzipCrash) && !r.Gzip,
		a.Kind == SmallEvents && longest(&r.Input) <= a.Limit,
		a.Kind == DataAccepted && r.Operation != "PutLogEvents",
		a.Kind == Poison && !contains(&r.Input, a.Text):
		return false
	}
	return a.Probability == 0 || a.dice.Float64() < a.Probability
}

func contains(in *protocol.Input, text string) bool {
	return slices.ContainsFunc(in.Events, func(e protocol.InputEvent) bool { return strings.Contains(e.Message, text) })
}

// longest is the size of the largest event, with its overhead.
func longest(in *protocol.Input) int {
	n := 0
	for i := range in.Events {
		n = max(n, in.Events[i].Size())
	}
	return n
}
