package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/spool"
)

// collector turns one report into metrics at each scrape.
type collector struct {
	src           status.Source
	maxContainers int

	// mu guards the fields below. It is held from the report on, so that the counters see the
	// reports in order.
	mu sync.Mutex
	// containers and streams have the counters of containers and of their streams.
	containers, streams counters
	// sums says what the series of the last scrape were sums of.
	sums sums
}

func newCollector(src status.Source, o Options) *collector {
	return &collector{src: src, maxContainers: o.MaxContainers}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range table {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector. Several goroutines may call it.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, s := c.src.Report(), sink(ch)
	if r == nil {
		return
	}
	sendTotals(s, r)
	sendFaults(s, r.Faults)
	sendServices(s, r.Services)
	sendHost(s, r)
	c.sendContainersLocked(s, r)
}

// reasons are all reasons for a loss. Their counters exist from the start, because Prometheus
// does not see an increase in a counter that begins above 0.
var reasons = func() (all []string) {
	for r := spool.Reason(1); r < spool.EndOfReasons; r++ {
		all = append(all, r.String())
	}
	for r := range events.LossReasons {
		all = append(all, r.String())
	}
	return all
}()

func sendTotals(s sink, r *status.Report) {
	s.send(buildInfo, 1, label(r.Version), runtime.Version())
	s.send(hostInfo, 1, label(r.Host), label(r.Region), label(r.Identity))
	if !r.Started.IsZero() {
		s.send(startTime, float64(r.Started.UnixMilli())/1e3)
	}
	sum := r.Total()
	s.count(readLines, sum.Read.Lines)
	s.count(readBytes, sum.Read.Bytes)
	s.count(deliveredCount, sum.Delivered.Lines)
	s.count(deliveredBytes, sum.Delivered.Bytes)
	dropped := map[string]status.Counter{}
	for _, reason := range reasons {
		dropped[reason] = status.Counter{}
	}
	for reason, n := range sum.Dropped {
		all := dropped[label(reason)]
		all.Add(n)
		dropped[label(reason)] = all
	}
	for reason, n := range dropped {
		s.count(droppedLines, n.Lines, reason)
		s.count(droppedBytes, n.Bytes, reason)
	}

	waiting := r.Waiting()
	if waiting.Lines != nil {
		s.count(waitingLines, *waiting.Lines)
	}
	s.count(waitingBytes, waiting.Bytes)
	if age, known := age(waiting, r.Time); known {
		s.send(waitingAge, age)
	}
}

// age returns the age of the oldest undelivered line in seconds, and false if it is not known.
//
// It is an age and not a time stamp, because the host's clock sets both times of which it is
// the difference. An alert that compares a time stamp with Prometheus's clock would be wrong
// by the difference of the two clocks. While the plugin cannot answer, up is 0.
func age(b status.Backlog, now time.Time) (seconds float64, known bool) {
	switch {
	case b.Bytes <= 0:
		return 0, true
	case b.Oldest.IsZero():
		return 0, false
	}
	return max(now.Sub(b.Oldest).Seconds(), 0), true
}

func sendHost(s sink, r *status.Report) {
	s.count(fifos, int64(r.Intake.FIFOs))
	s.count(discarding, int64(r.Intake.Discarding))
	s.count(reads, r.Intake.Reads)
	s.count(resyncs, r.Intake.Resyncs)
	s.count(resyncBytes, r.Intake.ResyncBytes)
	s.count(refused, r.Intake.Refused)

	d := &r.Disk
	s.count(spoolBytes, d.Used)
	s.count(spoolLimit, d.Limit)
	s.count(spoolArchived, d.Archived)
	s.send(spoolUsed, r.SpoolUsed())
	if d.Size > 0 {
		s.count(diskFree, d.Free)
		s.count(diskSize, d.Size)
	}
	if d.Inodes > 0 {
		s.count(diskFreeNodes, d.FreeInodes)
		s.count(diskNodes, d.Inodes)
	}

	s.count(openFiles, int64(r.Process.OpenFiles))
	s.count(maxFiles, int64(r.Process.MaxFiles))
	s.count(maxContainers, int64(r.Process.MaxContainers))
}
