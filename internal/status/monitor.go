package status

import (
	"context"
	"sync"
	"time"
)

// Monitor makes the plugin's Report, and samples it for the rates and their history. It is a
// Source. Make one with NewMonitor, and call Run.
type Monitor struct {
	collect  func() *Report
	onSample []func(*Report)

	// collecting is held during a collection, so that many clients at once take the time of
	// one processor at most.
	collecting sync.Mutex

	// mu guards the fields below. It is held for a look at each container.
	mu      sync.Mutex
	samples int                        // samples counts the samples.
	times   [samplesPerPoint]time.Time // times has the times of the last samples, as history.seen.
	all     history                    // all is the sum of all containers, those that are gone included.
	by      map[string]*history        // by has the containers of the last sample, by ID.
}

// NewMonitor returns a Monitor whose reports come from collect, which fills in everything but
// the rates. collect may take some milliseconds, and is not called twice at once.
func NewMonitor(collect func() *Report) *Monitor {
	return &Monitor{collect: collect, by: map[string]*history{}}
}

// OnSample makes Run call f with each sample. f may keep the report, but must not change it.
// OnSample must be called before Run.
func (m *Monitor) OnSample(f func(*Report)) { m.onSample = append(m.onSample, f) }

// Run takes a sample at once, and then one every SampleInterval until ctx is done.
func (m *Monitor) Run(ctx context.Context) {
	tick := time.NewTicker(SampleInterval)
	defer tick.Stop()
	for {
		m.sample()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *Monitor) sample() {
	r, now := m.collected()
	m.record(r, now)
	for _, f := range m.onSample {
		f(r)
	}
}

// Report implements Source.
func (m *Monitor) Report() *Report {
	r, now := m.collected()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setRatesLocked(r, now)
	return r
}

// collected returns a report, and the time at which it was made. That time has a monotonic
// clock, unlike the report's.
func (m *Monitor) collected() (*Report, time.Time) {
	m.collecting.Lock()
	defer m.collecting.Unlock()
	r, now := m.collect(), time.Now()
	if r.Time.IsZero() {
		r.Time = now.UTC()
	}
	return r, now
}

// History implements Source.
func (m *Monitor) History(id string) []Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id == "" {
		return m.all.list()
	}
	if h := m.by[id]; h != nil {
		return h.list()
	}
	return nil
}

// record adds a sample, and forgets the containers that are not in it.
func (m *Monitor) record(r *Report, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setRatesLocked(r, now)
	n := m.samples
	seconds := now.Sub(m.times[n%samplesPerPoint]).Seconds()
	sum := r.Ended.Read
	for i := range r.Containers {
		c := &r.Containers[i]
		h := m.by[c.ID]
		if h == nil {
			h = &history{}
			m.by[c.ID] = h
		}
		h.add(n, c.Read, seconds)
		sum.Add(c.Read)
	}
	m.all.add(n, sum, seconds)
	m.times[n%samplesPerPoint] = now
	m.samples++
	for id, h := range m.by {
		if h.sampled != n {
			delete(m.by, id)
		}
	}
}

// setRatesLocked sets the rates of a report: the averages since the oldest sample that is
// kept. A container that was not in that sample had read nothing then.
func (m *Monitor) setRatesLocked(r *Report, now time.Time) {
	if m.samples == 0 {
		return
	}
	oldest := m.samples % samplesPerPoint // the one that the next sample replaces
	if m.samples < samplesPerPoint {
		oldest = 0
	}
	seconds := now.Sub(m.times[oldest]).Seconds()
	for i := range r.Containers {
		c := &r.Containers[i]
		var before Counter
		if h := m.by[c.ID]; h != nil {
			before = h.seen[oldest]
		}
		c.Rate = rateOf(c.Read, before, seconds)
	}
}
