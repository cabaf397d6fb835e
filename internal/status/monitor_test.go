package status

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is what a plugin would report.
type fake struct {
	mu sync.Mutex
	r  Report
}

func (f *fake) collect() *Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.r
	r.Containers = slices.Clone(f.r.Containers)
	return &r
}

func (f *fake) set(ended int64, containers ...Container) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.r.Containers, f.r.Ended.Read = containers, lines(ended)
}

// lines are n lines of 10 bytes.
func lines(n int64) Counter { return Counter{Lines: n, Bytes: 10 * n} }

func container(id string, read int64) Container {
	return Container{ID: id, Traffic: Traffic{Read: lines(read)}}
}

func rate(perSecond float64) Rate { return Rate{Lines: perSecond, Bytes: 10 * perSecond} }

// monitor starts a Monitor whose samples are a little after the multiples of 5 s, so that a
// test can change the fake in between.
func monitor(t *testing.T, f *fake) (m *Monitor, samples *int) {
	m, samples = NewMonitor(f.collect), new(int)
	m.OnSample(func(*Report) { *samples++ })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { m.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return m, samples
}

// tick waits for the next sample.
func tick() {
	time.Sleep(SampleInterval)
	synctest.Wait()
}

func TestRateIsTheAverageSinceTheOldestSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(0, container("a", 1000))
		m, samples := monitor(t, f)
		check := func(when string, want ...Rate) {
			t.Helper()
			for i, c := range m.Report().Containers {
				if c.Rate != want[i] {
					t.Errorf("%s: %s has the rate %+v, want %+v", when, c.ID, c.Rate, want[i])
				}
			}
		}
		check("at once", Rate{})
		time.Sleep(time.Second)
		f.set(0, container("a", 1100))
		check("before the second sample", rate(100))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		f.set(0, container("a", 1500), container("b", 50))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		check("a container that began after the first sample", rate(50), rate(5))
		for range 3 {
			tick()
		}
		check("a silent container", Rate{}, Rate{})
		f.set(0, container("a", 3), container("b", 50))
		check("a container that was gone and is back", Rate{}, Rate{})
		tick()
		check("after the next sample", Rate{}, Rate{})
		f.set(0, container("a", 33), container("b", 50))
		tick()
		check("after two samples", rate(3), Rate{}) // 30 lines in 10 s
		if *samples != 8 {
			t.Errorf("%d samples in 35 s", *samples)
		}
	})
}

// A history has a point for each 15 s, at most 120 of them, and is gone when its container is
// gone. That of all containers goes on, and counts what the lost containers have read.
func TestHistoryCoversHalfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(0, container("a", 0))
		m, _ := monitor(t, f)
		for i := int64(1); i <= 3*200; i++ {
			// Point n has 5*n lines a second.
			f.set(0, container("a", f.r.Containers[0].Read.Lines+25*((i+2)/3)))
			tick()
		}
		for _, id := range []string{"a", ""} {
			got := m.History(id)
			if len(got) != HistoryPoints || got[0] != rate(5*81) || got[HistoryPoints-1] != rate(5*200) {
				t.Errorf("%q: %d points, from %v to %v", id, len(got), got[0], got[len(got)-1])
			}
		}
		total := f.r.Containers[0].Read.Lines
		f.set(total+15, container("b", 0))
		tick()
		if got := m.History("a"); got != nil {
			t.Errorf("a container that is gone has %d points", len(got))
		}
		if got := m.History("b"); len(got) != 0 {
			t.Errorf("a new container has %d points", len(got))
		}
		tick()
		tick()
		if got := m.History(""); got[HistoryPoints-1] != rate(1) {
			t.Errorf("the sum has %v, want the 15 lines of the container that is gone", got[HistoryPoints-1])
		}
		if got := m.History("b"); len(got) != 1 || got[0] != (Rate{}) {
			t.Errorf("a new container has %v", got)
		}
		if len(m.by) != 1 {
			t.Errorf("%d histories are kept for one container", len(m.by))
		}
	})
}

// The caller may change what History returns.
func TestHistoryBelongsToTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m, _ := monitor(t, f)
		for range 3 {
			tick()
		}
		m.History("")[0].Lines = 7
		if got := m.History("")[0].Lines; got != 0 {
			t.Errorf("got %v", got)
		}
	})
}

func TestManyClientsCollectOneAfterTheOther(t *testing.T) {
	var mu sync.Mutex
	m := NewMonitor(func() *Report {
		if !mu.TryLock() {
			t.Error("collect is called twice at once")
			return &Report{}
		}
		defer mu.Unlock()
		return &Report{Containers: []Container{container("a", 1)}}
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 1000 {
				if i == 0 {
					m.sample()
				}
				m.Report()
				m.History("a")
			}
		})
	}
	wg.Wait()
}

// BenchmarkSample is the cost of a sample of 1,000 containers, without the collection.
func BenchmarkSample(b *testing.B) {
	r := &Report{}
	for i := range 1000 {
		r.Containers = append(r.Containers, container(fmt.Sprintf("%064d", i), int64(i)))
	}
	m := NewMonitor(func() *Report { return r })
	for range samplesPerPoint * HistoryPoints {
		m.sample()
	}
	b.ReportAllocs()
	for b.Loop() {
		m.sample()
	}
}
