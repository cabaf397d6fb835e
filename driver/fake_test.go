package driver

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// fakeDeliverer records the events of its feeds as delivered, while it is not down.
type fakeDeliverer struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at each change
	down      bool
	delivered map[string][]string // by group/stream
	shipped   []target.Target
	wg        sync.WaitGroup
}

func newFakeDeliverer() *fakeDeliverer {
	return &fakeDeliverer{changed: make(chan struct{}), delivered: map[string][]string{}}
}

func (s *fakeDeliverer) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeDeliverer) setDown(down bool) { s.change(func() { s.down = down }) }

// wait waits until the stream has n messages, and returns them.
func (s *fakeDeliverer) wait(t *testing.T, stream string, n int) []string {
	t.Helper()
	for patience := time.After(time.Minute); ; {
		s.mu.Lock()
		got, changed := append([]string(nil), s.delivered[stream]...), s.changed
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-patience:
			t.Fatalf("%s has %d messages, want %d: %.500q", stream, len(got), n, got)
		}
	}
}

func (s *fakeDeliverer) Deliver(to target.Target, f *feed.Feed, _ time.Duration) Delivery {
	m := &fakeDelivery{s: s, f: f, stream: to.Group + "/" + to.Stream,
		changed: make(chan struct{}, 1), done: make(chan struct{}), left: make(chan struct{})}
	s.change(func() { s.shipped = append(s.shipped, to) })
	s.wg.Go(m.run)
	return m
}

type fakeDelivery struct {
	s          *fakeDeliverer
	f          *feed.Feed
	stream     string
	changed    chan struct{}
	done, left chan struct{}

	mu                 sync.Mutex
	finished, detached bool
}

func (m *fakeDelivery) set(f func()) {
	m.mu.Lock()
	f()
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *fakeDelivery) Notify(int, int) { m.set(func() {}) }

func (m *fakeDelivery) Finish() { m.set(func() { m.finished = true }) }

func (m *fakeDelivery) Done() <-chan struct{} { return m.done }

func (m *fakeDelivery) Detach() <-chan struct{} {
	m.set(func() { m.detached = true })
	return m.left
}

func (m *fakeDelivery) Failure() *status.Failure {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if !m.s.down {
		return nil
	}
	return &status.Failure{Kind: "down", Err: "CloudWatch is down"}
}

func (m *fakeDelivery) run() {
	defer close(m.left)
	for done := false; ; {
		m.mu.Lock()
		finished, detached := m.finished, m.detached
		m.mu.Unlock()
		m.s.mu.Lock()
		down, changed := m.s.down, m.s.changed
		m.s.mu.Unlock()
		if detached {
			return
		}
		var due <-chan time.Time
		if !down {
			m.deliverAll()
			if at := m.f.Due(); !at.IsZero() {
				due = time.After(time.Until(at))
			} else if finished && !done {
				close(m.done)
				done = true
			}
			changed = nil
		}
		select {
		case <-m.changed:
		case <-changed:
		case <-due:
		}
	}
}

func (m *fakeDelivery) deliverAll() {
	for {
		e, ok := m.f.Next(time.Now())
		if !ok {
			m.f.Release()
			return
		}
		m.f.Accepted(1, int64(len(e.Message))+26)
		message, ranges := string(e.Message), append([]stream.Range(nil), e.Ranges...)
		if err := m.f.Ack(ranges); err != nil {
			message += " " + err.Error()
		}
		m.s.change(func() { m.s.delivered[m.stream] = append(m.s.delivered[m.stream], message) })
	}
}

type fakeLocator struct{}

func (fakeLocator) Region(context.Context) (string, error) { return "r", nil }

func (fakeLocator) AutoRegion(context.Context) (string, error) { return "auto-1", nil }

func (fakeLocator) InstanceID(context.Context) (string, error) { return "i-1", nil }
