package statuspage

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// sampleTime is when the sample report was made.
var sampleTime = time.Date(2026, 3, 17, 14, 32, 8, 0, time.UTC)

// sample is a status.Source with a fixed report. A test may replace the report.
type sample struct {
	mu     sync.Mutex
	report *status.Report
	// asked counts the calls of Report.
	asked int
}

func (s *sample) Report() *status.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.report
}

func (s *sample) set(r *status.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = r
}

func (s *sample) reports() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// History returns a curve that depends on the ID only.
func (s *sample) History(id string) []status.Point {
	seed := 0.0
	for _, c := range id {
		seed = seed*1.3 + float64(c)
	}
	points := make([]status.Point, 120)
	for i := range points {
		x := float64(i)
		wave := 60 + 30*math.Sin(x/9+seed) + 18*math.Sin(x/2.3+2*seed) + 9*math.Sin(x*1.7+seed)
		points[i] = status.Point{Lines: max(0, wave), Bytes: max(0, wave) * (150 + 20*math.Sin(x/5))}
	}
	return points
}

func number(n int64) *int64 { return &n }

// sampleContainer returns a running container that delivers to one stream.
func sampleContainer(id, name, group string, rate float64) status.Container {
	return status.Container{
		ID: fmt.Sprintf("%064s", id), Name: name, State: status.ContainerRunning,
		Streams: []status.Stream{{Region: "eu-central-1", Group: group, Stream: name, GroupFrom: "label", StreamFrom: "default"}},
		Rate:    status.Rate{Lines: rate, Bytes: rate * 182},
		Undelivered: status.Backlog{
			Lines: number(int64(rate * 3)), Bytes: int64(rate * 3 * 207), Oldest: sampleTime.Add(-3400 * time.Millisecond),
		},
	}
}

// healthyReport returns a report of a host on which everything is delivered.
func healthyReport() *status.Report {
	r := &status.Report{
		Time: sampleTime, Started: sampleTime.Add(-75*time.Hour - 20*time.Minute), Version: "v0.9.0", Reattached: true, Host: "web-3",
		Region: "eu-central-1", RegionFrom: "EC2 metadata", Identity: "arn:aws:sts::123456789012:assumed-role/web/i-0d2f4a6b8c0e1f357",
		Services: []status.Service{{
			Region: "eu-central-1", State: status.ServiceOK, Since: sampleTime.Add(-26 * time.Hour),
			Requests: map[string]int64{"accepted": 184_220, "throttled": 31}, Latency: status.Histogram{Bounds: []float64{1}, Counts: []int64{184_251, 0}, Sum: 7005},
			BodyBytes: 41 << 30, SentBytes: 3 << 30, Retries: 31, Throttles: 31, Senders: 6, InFlight: 2, Limit: 16,
		}},
		Disk:    status.Disk{StateDir: "/run/docker/logging", Used: 1610 << 20, Limit: 4 << 30, Free: 61 << 30, Size: 98 << 30},
		Process: status.Process{PID: 1, OpenFiles: 61, MaxFiles: 1024, MaxContainers: 460, Memory: 41 << 20},
		Containers: []status.Container{
			sampleContainer("a1", "api-1", "/shop/api", 412.4),
			sampleContainer("a2", "api-2", "/shop/api", 388),
			sampleContainer("b1", "cart", "/shop/cart", 61.2),
			sampleContainer("c1", "nginx", "/shop/edge", 1204.7),
			sampleContainer("d1", "postgres", "/shop/db", 3.2),
			sampleContainer("e1", "worker", "/shop/jobs", 0.06),
		},
	}
	edge := &r.Containers[3].Streams
	*edge = append(*edge, (*edge)[0])
	(*edge)[0].Output, (*edge)[0].Stream = "stdout", "nginx-access"
	(*edge)[1].Output, (*edge)[1].Stream = "stderr", "nginx-error"
	return r
}

// troubledReport returns a report of the same host, on which several things fail.
func troubledReport() *status.Report {
	r := healthyReport()
	since := sampleTime.Add(-11*time.Hour - 20*time.Minute)
	denied := &status.Failure{
		Kind: "AccessDeniedException", Since: since,
		Err:    "AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/web/i-0d2f4a6b8c0e1f357 is not authorized to perform: logs:PutLogEvents on resource: /shop/jobs",
		Remedy: "allow logs:PutLogEvents on the log group /shop/jobs",
	}
	worker := &r.Containers[5]
	worker.Streams[0].Error = denied
	worker.Undelivered = status.Backlog{Lines: number(48_211), Bytes: 9 << 20, Oldest: since}
	r.Faults = []status.Fault{{
		What: "sending to the log group failed; the plugin keeps trying", Kind: denied.Kind, Since: since, Times: 1361,
		Err: denied.Err, Remedy: denied.Remedy, Attrs: map[string]string{"region": "eu-central-1", "group": "/shop/jobs", "stream": "worker"},
	}}
	cart := &r.Containers[2]
	cart.Dropped = map[string]status.Counter{"too_old": {Lines: 12, Bytes: 2400}}
	audit := sampleContainer("f1", "audit", "/shop/audit", 0)
	audit.State, audit.Undelivered.Lines, audit.Undelivered.Bytes = status.ContainerStopped, nil, 310<<10
	audit.Undelivered.Oldest = sampleTime.Add(-42 * time.Second)
	audit.Streams[0].Region = "us-gov-west-1"
	r.Containers = append([]status.Container{audit}, r.Containers...)
	r.Services = append(r.Services, status.Service{
		Region: "us-gov-west-1", Role: "arn:aws-us-gov:iam::210987654321:role/audit", State: status.ServiceThrottled, Since: sampleTime.Add(-9 * time.Minute),
		Error: "ThrottlingException: Rate exceeded", Remedy: "nothing; the plugin sends as much as CloudWatch accepts",
		Requests: map[string]int64{"accepted": 911, "throttled": 44}, Latency: status.Histogram{Counts: []int64{911}, Sum: 80},
		BodyBytes: 91 << 20, SentBytes: 8 << 20, Retries: 44, Throttles: 44, Senders: 1, Limit: 1,
	})
	return r
}

// sampleUsage is what the containers of the sample report have sent.
func sampleUsage() status.Usage {
	day := sampleTime.Truncate(24 * time.Hour)
	return status.Usage{Day: day, Since: day.Add(-24 * time.Hour), Time: sampleTime, Ingested: []status.Ingested{
		{Container: "nginx", Group: "/shop/edge", Bytes: 11_872_340_112, Yesterday: 19_112_340_222},
		{Container: "api-1", Group: "/shop/api", Bytes: 4_121_330_881, Yesterday: 6_671_730_119},
		{Container: "api-2", Group: "/shop/api", Bytes: 3_871_554_207, Yesterday: 6_130_112_001},
		{Container: "cart", Group: "/shop/cart", Bytes: 601_225_119, Yesterday: 988_121_345},
		{Container: "postgres", Group: "/shop/db", Bytes: 31_227_845, Yesterday: 51_002_117},
		{Container: "audit", Group: "/shop/audit", Bytes: 8_220_345, Yesterday: 12_334_001},
		{Container: "worker", Group: "/shop/jobs", Yesterday: 710_336},
	}}
}

// manyContainers returns a report with n containers.
func manyContainers(n int) *status.Report {
	r := healthyReport()
	r.Containers = nil
	for i := range n {
		r.Containers = append(r.Containers, sampleContainer(fmt.Sprintf("%x", i), fmt.Sprintf("container-%04d", i), fmt.Sprintf("/group/%02d", i%37), float64(i%91)))
	}
	return r
}
