package uploader

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/status"
)

// stats are the counters of a service. They are counted a few times for each batch, and never
// for each event. Readers take no lock, so they may see a batch in one counter and not yet in
// another.
type stats struct {
	requests    [verdicts]atomic.Int64 // requests counts the answers to PutLogEvents.
	latency     histogram              // latency is in microseconds.
	batchEvents histogram
	batchBytes  histogram

	batches   atomic.Int64
	events    atomic.Int64
	bytes     atomic.Int64
	bodyBytes atomic.Int64
	sentBytes atomic.Int64
	retries   atomic.Int64
	throttles atomic.Int64
	created   atomic.Int64
	inFlight  atomic.Int64
	dropped   [events.LossReasons]struct{ events, bytes atomic.Int64 }
}

var (
	latencyBounds = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10} // seconds
	eventsBounds  = []float64{1, 10, 30, 100, 300, 1000, 3000, 10000}
	bytesBounds   = []float64{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20}
)

func newStats() *stats {
	return &stats{
		latency:     newHistogram(latencyBounds, 1e6),
		batchEvents: newHistogram(eventsBounds, 1),
		batchBytes:  newHistogram(bytesBounds, 1),
	}
}

// answered counts the answer to a PutLogEvents call. sent says that the request was sent: a
// call without credentials ends before that, and has no latency.
func (s *stats) answered(v verdict, took time.Duration, sent bool) {
	s.requests[v].Add(1)
	if sent && v != cancelled {
		s.latency.observe(took.Microseconds())
	}
}

// delivered counts an accepted batch and the events of it that CloudWatch did not drop.
func (s *stats) delivered(b *batch, events, bytes int64) {
	s.batches.Add(1)
	s.events.Add(events)
	s.bytes.Add(bytes)
	s.bodyBytes.Add(int64(b.plainSize))
	s.sentBytes.Add(int64(len(b.out)))
	s.batchEvents.observe(int64(len(b.records)))
	s.batchBytes.observe(b.counted)
}

// retried counts a batch that failed and is sent again.
func (s *stats) retried(v verdict) {
	s.retries.Add(1)
	if v == throttled {
		s.throttles.Add(1)
	}
}

func (s *stats) lost(l loss) {
	s.dropped[l.reason].events.Add(int64(l.events))
	s.dropped[l.reason].bytes.Add(l.bytes)
}

// addTo adds the counters to m.
func (s *stats) addTo(m *Metrics) {
	m.Batches += s.batches.Load()
	m.Events += s.events.Load()
	m.Bytes += s.bytes.Load()
	m.BodyBytes += s.bodyBytes.Load()
	m.SentBytes += s.sentBytes.Load()
	m.Retries += s.retries.Load()
	m.Throttles += s.throttles.Load()
	m.Created += s.created.Load()
	m.InFlight += s.inFlight.Load()
	for i := range s.dropped {
		m.DroppedEvents[i] += s.dropped[i].events.Load()
		m.DroppedBytes[i] += s.dropped[i].bytes.Load()
	}
}

// fill writes the counters into out.
func (s *stats) fill(out *status.Service) {
	out.Requests = make(map[string]int64, int(verdicts))
	for v := range s.requests {
		out.Requests[verdict(v).String()] = s.requests[v].Load()
	}
	out.Latency, out.BatchEvents, out.BatchBytes = s.latency.snapshot(), s.batchEvents.snapshot(), s.batchBytes.snapshot()
	out.Accepted = status.Counter{Lines: s.events.Load(), Bytes: s.bytes.Load()}
	out.BodyBytes, out.SentBytes = s.bodyBytes.Load(), s.sentBytes.Load()
	out.Retries, out.Throttles = s.retries.Load(), s.throttles.Load()
	out.Created, out.InFlight = s.created.Load(), s.inFlight.Load()
}

// histogram counts values by size. Any goroutine may use it.
type histogram struct {
	bounds []float64
	unit   float64 // unit is how many of the observed units are 1 in bounds.
	counts []atomic.Int64
	sum    atomic.Int64
}

func newHistogram(bounds []float64, unit float64) histogram {
	return histogram{bounds: bounds, unit: unit, counts: make([]atomic.Int64, len(bounds)+1)}
}

func (h *histogram) observe(n int64) {
	i := 0
	for i < len(h.bounds) && float64(n) > h.bounds[i]*h.unit {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(n)
}

func (h *histogram) snapshot() status.Histogram {
	s := status.Histogram{Bounds: h.bounds, Counts: make([]int64, len(h.counts)), Sum: float64(h.sum.Load()) / h.unit}
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
	}
	return s
}

// status describes the service, which has this many senders, at now.
func (svc *service) status(now time.Time, senders int) status.Service {
	a := svc.access
	out := status.Service{
		Region: a.Region, Endpoint: a.Endpoint, Role: a.RoleARN,
		Senders: int64(senders), Limit: svc.limiter.limit.Load(),
	}
	if a.CredentialsEndpoint != "" {
		out.Credentials = status.EndpointCredentials
	}
	c := svc.condition.get(now)
	if senders == 0 && c.state != status.ServiceOK {
		c = standing{state: status.ServiceIdle}
	}
	out.ClockAhead = time.Duration(svc.ahead.Load()).Round(time.Second).Seconds()
	out.State, out.Since = c.state, c.since.UTC()
	if c.reason != nil {
		out.Error, out.Remedy = c.reason.Err, c.reason.Remedy
	}
	svc.stats.fill(&out)
	return out
}
