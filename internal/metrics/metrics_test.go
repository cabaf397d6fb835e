package metrics

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/logspool/logspool/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// source is a Source whose report the test sets.
type source struct {
	mu     sync.Mutex
	report *status.Report
}

func (s *source) Report() *status.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

func (s *source) History(string) []status.Point { return nil }

func (s *source) set(r *status.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = r
}

func ptr(n int64) *int64 { return &n }

func id(n int) string { return fmt.Sprintf("%012x%052d", n+0x1f2e3d4c0000, 0) }

// web is a container with everything.
func web() status.Container {
	return status.Container{
		ID: id(0), Name: "web", State: status.ContainerRunning,
		Streams: []status.Stream{
			{Region: "eu-west-1", Group: "shop", Stream: "web", Output: "stdout", Delivered: status.Counter{Lines: 70, Bytes: 700}},
			{Region: "eu-west-1", Group: "shop", Stream: "web-err", Output: "stderr", Delivered: status.Counter{Lines: 5, Bytes: 50},
				Dropped: map[string]status.Counter{"too_old": {Lines: 2, Bytes: 20}}, Error: &status.Failure{Kind: "AccessDeniedException"}},
		},
		Traffic: status.Traffic{
			Read: status.Counter{Lines: 100, Bytes: 1000}, Delivered: status.Counter{Lines: 75, Bytes: 750},
			Dropped: map[string]status.Counter{"spool_full": {Lines: 3, Bytes: 30}, "too_old": {Lines: 2, Bytes: 20}},
		},
		Undelivered: status.Backlog{Lines: ptr(20), Bytes: 64, Oldest: now.Add(-90 * time.Second)},
		Spool:       status.Spool{Bytes: 4096, Limit: 256},
	}
}

// full is a report with everything.
func full() *status.Report {
	return &status.Report{
		Time: now, Started: now.Add(-time.Hour), Version: "v1.2", Host: "node-1", Region: "eu-west-1", Identity: "arn:aws:iam::123456789012:role/logs",
		Faults: []status.Fault{
			{What: "sending to the log group failed; the plugin keeps trying", Kind: "AccessDeniedException",
				Attrs: map[string]string{"region": "eu-west-1", "group": "shop", "stream": "web-err", "err": "no"}},
			{What: "a setting is invalid", Kind: "DELAY", Attrs: map[string]string{"setting": "DELAY"}},
		},
		Services: []status.Service{{
			Region: "eu-west-1", State: status.ServiceOK, Requests: map[string]int64{"accepted": 8, "throttled": 2},
			Latency:     status.Histogram{Bounds: []float64{0.1, 1}, Counts: []int64{5, 3, 2}, Sum: 9.5},
			BatchEvents: status.Histogram{Bounds: []float64{10, 100}, Counts: []int64{5, 3, 0}, Sum: 75},
			BatchBytes:  status.Histogram{Bounds: []float64{1024}, Counts: []int64{8, 0}, Sum: 2700},
			Accepted:    status.Counter{Lines: 75, Bytes: 2700}, BodyBytes: 3000, SentBytes: 500,
			Retries: 2, Throttles: 2, Created: 1, Senders: 2, InFlight: 1, Limit: 24,
		}},
		Disk:       status.Disk{Used: 1 << 20, Limit: 4 << 30, Archived: 4096, Free: 10 << 30, Size: 100 << 30, FreeInodes: 90, Inodes: 100},
		Process:    status.Process{OpenFiles: 40, MaxFiles: 1024, MaxContainers: 400},
		Intake:     status.Intake{FIFOs: 2, Discarding: 1, Reads: 44, Resyncs: 1, ResyncBytes: 12, Refused: 1},
		Containers: []status.Container{web()},
		Ended:      status.Traffic{Read: status.Counter{Lines: 10, Bytes: 100}, Dropped: map[string]status.Counter{"spool_full": {Lines: 1, Bytes: 10}}},
	}
}

const manyContainers = 500

// scrape returns the answer of a handler.
func scrape(t testing.TB, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// series returns the plugin's series of an answer, with their values. A series that is there
// twice is an error.
func series(t testing.TB, text string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "logspool_") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if _, twice := all[line[:i]]; twice {
			t.Errorf("%s is there twice", line[:i])
		}
		all[line[:i]] = v
	}
	return all
}

func seriesOf(t testing.TB, r *status.Report) map[string]float64 {
	t.Helper()
	return series(t, scrape(t, Handler(&source{report: r}, Options{MaxContainers: manyContainers})))
}

func check(t *testing.T, got map[string]float64, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if g, ok := got[name]; !ok || g != v {
			t.Errorf("%s is %v (%v), want %v", name, g, ok, v)
		}
	}
}

// The metrics show the numbers of the report.
func TestMetricsShowTheReport(t *testing.T) {
	got := seriesOf(t, full())
	const con = `{container="web",group="shop",id="1f2e3d4c0000"}`
	const reason = `{container="web",group="shop",id="1f2e3d4c0000",reason="spool_full"}`
	const out = `container="web",group="shop",id="1f2e3d4c0000",output="stdout"`
	const errors = `container="web",group="shop",id="1f2e3d4c0000",output="stderr"`
	const svc = `credentials="",endpoint="",`
	check(t, got, map[string]float64{
		`logspool_read_lines_total`:                         110,
		`logspool_read_bytes_total`:                         1100,
		`logspool_delivered_events_total`:                   75,
		`logspool_delivered_bytes_total`:                    750,
		`logspool_dropped_lines_total{reason="spool_full"}`: 4,
		`logspool_dropped_bytes_total{reason="spool_full"}`: 40,
		`logspool_dropped_lines_total{reason="too_old"}`:    2,
		`logspool_dropped_lines_total{reason="expired"}`:    0,
		`logspool_undelivered_lines`:                        20,
		`logspool_undelivered_bytes`:                        64,
		`logspool_undelivered_oldest_age_seconds`:           90,
		`logspool_start_time_seconds`:                       float64(now.Add(-time.Hour).Unix()),
		`logspool_host_info{host="node-1",identity="arn:aws:iam::123456789012:role/logs",region="eu-west-1"}`: 1,
		`logspool_containers{state="running"}`:                                                                      1,
		`logspool_containers{state="held"}`:                                                                         0,
		`logspool_containers_aggregated`:                                                                            0,
		`logspool_container_read_lines_total` + con:                                                                 100,
		`logspool_container_read_bytes_total` + con:                                                                 1000,
		`logspool_container_dropped_lines_total` + reason:                                                           3,
		`logspool_container_dropped_bytes_total` + reason:                                                           30,
		`logspool_container_undelivered_lines` + con:                                                                20,
		`logspool_container_undelivered_bytes` + con:                                                                64,
		`logspool_container_undelivered_oldest_age_seconds` + con:                                                   90,
		`logspool_container_spool_bytes` + con:                                                                      4096,
		`logspool_container_spool_used_ratio` + con:                                                                 0.25,
		`logspool_spool_used_ratio`:                                                                                 0.25,
		`logspool_stream_delivered_events_total{` + out + `,region="eu-west-1",stream="web"}`:                       70,
		`logspool_stream_delivered_bytes_total{` + errors + `,region="eu-west-1",stream="web-err"}`:                 50,
		`logspool_stream_dropped_events_total{` + errors + `,reason="too_old",region="eu-west-1",stream="web-err"}`: 2,
		`logspool_stream_failing{` + out + `,region="eu-west-1",stream="web"}`:                                      0,
		`logspool_stream_failing{` + errors + `,region="eu-west-1",stream="web-err"}`:                               1,
		`logspool_service_state{` + svc + `region="eu-west-1",role="",state="ok"}`:                                  1,
		`logspool_service_state{` + svc + `region="eu-west-1",role="",state="denied"}`:                              0,
		`logspool_requests_total{` + svc + `outcome="accepted",region="eu-west-1",role=""}`:                         8,
		`logspool_requests_total{` + svc + `outcome="throttled",region="eu-west-1",role=""}`:                        2,
		`logspool_request_duration_seconds_bucket{` + svc + `region="eu-west-1",role="",le="0.1"}`:                  5,
		`logspool_request_duration_seconds_bucket{` + svc + `region="eu-west-1",role="",le="1"}`:                    8,
		`logspool_request_duration_seconds_bucket{` + svc + `region="eu-west-1",role="",le="+Inf"}`:                 10,
		`logspool_request_duration_seconds_count{` + svc + `region="eu-west-1",role=""}`:                            10,
		`logspool_request_duration_seconds_sum{` + svc + `region="eu-west-1",role=""}`:                              9.5,
		`logspool_batch_bytes_sum{` + svc + `region="eu-west-1",role=""}`:                                           2700,
		`logspool_service_accepted_events_total{` + svc + `region="eu-west-1",role=""}`:                             75,
		`logspool_request_sent_bytes_total{` + svc + `region="eu-west-1",role=""}`:                                  500,
		`logspool_request_throttles_total{` + svc + `region="eu-west-1",role=""}`:                                   2,
		`logspool_requests_in_flight{` + svc + `region="eu-west-1",role=""}`:                                        1,
		`logspool_faults`: 2,
		`logspool_fault{container="",group="shop",kind="AccessDeniedException",reason="",region="eu-west-1",setting="",what="sending_to_the_log_group_failed"}`: 1,
		`logspool_fault{container="",group="",kind="DELAY",reason="",region="",setting="DELAY",what="a_setting_is_invalid"}`:                                    1,
		`logspool_fifos`:                2,
		`logspool_fifos_discarding`:     1,
		`logspool_intake_resyncs_total`: 1,
		`logspool_starts_refused_total`: 1,
		`logspool_spool_limit_bytes`:    4 << 30,
		`logspool_disk_free_bytes`:      10 << 30,
		`logspool_disk_free_inodes`:     90,
		`logspool_open_descriptors`:     40,
		`logspool_max_descriptors`:      1024,
		`logspool_max_containers`:       400,
	})
	if !slices.ContainsFunc(slices.Collect(maps.Keys(got)), func(s string) bool {
		return strings.HasPrefix(s, `logspool_build_info{goversion="go`) && strings.HasSuffix(s, `version="v1.2"}`)
	}) {
		t.Error("no logspool_build_info")
	}
}

// Every metric of the table appears in a report with everything, so the documentation has no
// metric that does not exist.
func TestEveryDocumentedMetricExists(t *testing.T) {
	text := scrape(t, Handler(&source{report: full()}, Options{MaxContainers: manyContainers}))
	for _, d := range Docs() {
		if !strings.Contains(text, "# TYPE "+d.Name+" "+d.Type+"\n") {
			t.Errorf("%s %s is not served", d.Type, d.Name)
		}
	}
}

// The rules of promlint are those of promtool check metrics.
func TestMetricsFollowTheNamingConventions(t *testing.T) {
	text := scrape(t, Handler(&source{report: full()}, Options{MaxContainers: manyContainers}))
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, want := range []string{"\nprocess_open_fds ", "\ngo_goroutines "} {
		if !strings.Contains(text, want) {
			t.Errorf("no%q", want)
		}
	}
}

func TestSeriesOfARemovedContainerDisappear(t *testing.T) {
	src := &source{report: full()}
	h := Handler(src, Options{MaxContainers: manyContainers})
	if text := scrape(t, h); !strings.Contains(text, `container="web"`) {
		t.Fatal("no series of the container")
	}
	r := full()
	r.Ended.Add(r.Containers[0].Traffic)
	r.Containers, r.Faults = nil, nil
	src.set(r)
	text := scrape(t, h)
	if strings.Contains(text, `"web"`) || strings.Contains(text, "web-err") {
		t.Error("the container is still there")
	}
	check(t, series(t, text), map[string]float64{
		"logspool_read_lines_total":                         110,
		"logspool_delivered_events_total":                   75,
		`logspool_dropped_lines_total{reason="spool_full"}`: 4,
		"logspool_undelivered_bytes":                        0,
		"logspool_undelivered_oldest_age_seconds":           0,
	})
}

// Names may be anything, and two containers or accesses may look the same in the labels. A
// scrape works, and has no series twice.
func TestScrapeWorksWhateverTheNamesAre(t *testing.T) {
	names := []string{"", "<script>", "a\"b\\c\nd", "\xff\xfe", "\xfe\xff", "{x=\"y\"}", strings.Repeat("é", 4000), "日本", "\x00"}
	r := full()
	for _, name := range names {
		for range 2 {
			c := web()
			c.Name, c.ID, c.State = name, name, name
			for i := range c.Streams {
				c.Streams[i].Group, c.Streams[i].Stream, c.Streams[i].Output = name, name, name
			}
			c.Dropped = map[string]status.Counter{name: {Lines: 1}, "\xff": {Lines: 1}, "\xfe": {Lines: 1}}
			r.Containers = append(r.Containers, c)
			svc := r.Services[0]
			svc.Endpoint, svc.Role, svc.State, svc.Requests = name, name, name, map[string]int64{name: 1, "\xff": 1, "\xfe": 1}
			r.Services = append(r.Services, svc)
			r.Faults = append(r.Faults, status.Fault{What: name, Kind: name, Attrs: map[string]string{"group": name, "container": name}})
		}
	}
	r.Services = append(r.Services, status.Service{Latency: status.Histogram{Bounds: []float64{1, 2}, Counts: []int64{1}}})
	r.Version, r.Host, r.Region, r.Identity = "\xff", "\xff", "\xff", "\xff"
	for _, limit := range []int{manyContainers, 0} {
		got := series(t, scrape(t, Handler(&source{report: r}, Options{MaxContainers: limit})))
		if limit > 0 {
			check(t, got, map[string]float64{
				`logspool_container_read_lines_total{container="<script>",group="<script>",id="<script>"}`: 200,
				`logspool_container_read_lines_total{container="web",group="shop",id="1f2e3d4c0000"}`:      100,
			})
		}
		check(t, got, map[string]float64{"logspool_read_lines_total": float64(10 + 100*(1+2*len(names)))})
	}
}

// A path of a credentials endpoint is a secret, so two accesses may have the same labels.
func TestAccessesWithTheSameLabelsAreAddedUp(t *testing.T) {
	r := full()
	second := r.Services[0]
	second.State = status.ServiceUnauthenticated
	r.Services = append(r.Services, second)
	const l = `credentials="",endpoint="",`
	check(t, seriesOf(t, r), map[string]float64{
		`logspool_service_state{` + l + `region="eu-west-1",role="",state="unauthenticated"}`:    1,
		`logspool_service_state{` + l + `region="eu-west-1",role="",state="ok"}`:                 0,
		`logspool_requests_total{` + l + `outcome="accepted",region="eu-west-1",role=""}`:        16,
		`logspool_request_duration_seconds_count{` + l + `region="eu-west-1",role=""}`:           20,
		`logspool_request_duration_seconds_bucket{` + l + `region="eu-west-1",role="",le="0.1"}`: 10,
	})
}

// What is not known is missing, instead of 0.
func TestUnknownValuesAreMissing(t *testing.T) {
	r := &status.Report{Time: now, Containers: []status.Container{{ID: id(1), Name: "db", Undelivered: status.Backlog{Bytes: 7}}}}
	got := seriesOf(t, r)
	const con = `{container="db",group="",id="1f2e3d4c0001"}`
	for _, name := range []string{"logspool_undelivered_lines", "logspool_undelivered_oldest_age_seconds", "logspool_container_undelivered_lines" + con,
		"logspool_container_undelivered_oldest_age_seconds" + con, "logspool_disk_free_bytes", "logspool_disk_inodes", "logspool_start_time_seconds"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is %v", name, v)
		}
	}
	check(t, got, map[string]float64{"logspool_undelivered_bytes": 7, "logspool_container_undelivered_bytes" + con: 7})
	if got := seriesOf(t, nil); len(got) != 0 {
		t.Errorf("without a report there are %v", got)
	}
}

// Free text in a fault must not become a label, because its values are not bounded.
func TestFaultsHaveBoundedLabels(t *testing.T) {
	for _, test := range []struct{ message, want string }{
		{"sending to CloudWatch Logs failed; the plugin keeps trying", "sending_to_cloudwatch_logs_failed"},
		{"no AWS region found; logs are spooled until one is known", "no_aws_region_found"},
		{"cannot spool a container's output; its lines are lost and counted", "cannot_spool_a_containers_output"},
		{"a container's output is lost: its spool cannot be opened", "a_containers_output_is_lost"},
		{"<b>\xff", "b"},
		{"", ""},
	} {
		if got := Slug(test.message); got != test.want {
			t.Errorf("%q is %q, want %q", test.message, got, test.want)
		}
	}
	for kind, want := range map[string]string{
		"AccessDeniedException": "AccessDeniedException", "HTTP status 503": "HTTP status 503", "unknown host": "unknown host",
		"open /var/lib/x/7f3: permission denied": "", "": "", strings.Repeat("x", 65): "",
	} {
		if got := kindLabel(kind); got != want {
			t.Errorf("%q is %q, want %q", kind, got, want)
		}
	}
	r := full()
	r.Faults = nil
	for i := range 3 * maxFaults {
		r.Faults = append(r.Faults, status.Fault{What: "a container's lines are lost; …", Attrs: map[string]string{"container": fmt.Sprint(i)}})
	}
	n, sum := 0, 0.0
	for name, v := range seriesOf(t, r) {
		if strings.HasPrefix(name, "logspool_fault{") {
			n++
			sum += v
		}
	}
	if n != maxFaults+1 || sum != 3*maxFaults {
		t.Errorf("%d series with %v faults", n, sum)
	}
}

// Above METRICS_MAX_CONTAINERS, the series of containers are sums by group.
func TestManyContainersAreAddedUpByGroup(t *testing.T) {
	src := &source{}
	report := func(n int) *status.Report {
		r := full()
		r.Containers = nil
		for i := range n {
			c := web()
			c.ID, c.Name = id(i), fmt.Sprint("c", i)
			if i == 0 {
				c.Undelivered.Oldest, c.Spool.Limit = now.Add(-time.Hour), 128
			}
			if i%2 == 1 {
				c.Streams[0].Group, c.Streams[1].Group = "other", "other"
			}
			r.Containers = append(r.Containers, c)
		}
		return r
	}
	h := Handler(src, Options{MaxContainers: 20})
	for _, step := range []struct {
		n          int
		aggregated bool
	}{{20, false}, {21, true}, {20, true}, {19, true}, {18, false}, {20, false}} {
		src.set(report(step.n))
		text := scrape(t, h)
		if got := !strings.Contains(text, `container="c0"`); got != step.aggregated {
			t.Errorf("%d containers: sums by group %v", step.n, got)
		}
		if got := strings.Contains(text, "logspool_containers_aggregated 1\n"); got != step.aggregated {
			t.Errorf("%d containers: aggregated is %v", step.n, got)
		}
	}
	src.set(report(22))
	got := series(t, scrape(t, h))
	const group = `{container="",group="shop",id=""}`
	check(t, got, map[string]float64{
		`logspool_container_read_lines_total` + group:                                                                     1100,
		`logspool_container_undelivered_bytes` + group:                                                                    11 * 64,
		`logspool_container_undelivered_oldest_age_seconds` + group:                                                       3600,
		`logspool_container_spool_used_ratio` + group:                                                                     0.5,
		`logspool_container_dropped_lines_total{container="",group="shop",id="",reason="spool_full"}`:                     33,
		`logspool_stream_delivered_events_total{container="",group="other",id="",output="",region="eu-west-1",stream=""}`: 11 * 75,
		`logspool_stream_failing{container="",group="other",id="",output="",region="eu-west-1",stream=""}`:                11,
		`logspool_containers{state="running"}`:                                                                            22,
	})
}

// If each container has a log group of its own, sums by group are no fewer than the containers.
func TestManyGroupsAreAddedUpToo(t *testing.T) {
	report := func(n int) *status.Report {
		r := full()
		r.Containers = nil
		for i := range n {
			c := web()
			c.ID, c.Name = id(i), fmt.Sprint("c", i)
			for j := range c.Streams {
				c.Streams[j].Group = c.Name
			}
			r.Containers = append(r.Containers, c)
		}
		return r
	}
	src := &source{}
	h := Handler(src, Options{MaxContainers: 20})
	for _, step := range []struct {
		n      int
		groups bool
	}{{maxGroups, true}, {maxGroups + 1, false}, {maxGroups, false}, {maxGroups - maxGroups/10, true}} {
		src.set(report(step.n))
		text := scrape(t, h)
		if got := strings.Contains(text, `group="c0"`); got != step.groups {
			t.Errorf("%d groups have series of their own: %v", step.n, got)
		}
		if step.groups {
			continue
		}
		if lines := strings.Count(text, "\n"); lines > 1000 {
			t.Errorf("%d groups: %d lines", step.n, lines)
		}
		check(t, series(t, text), map[string]float64{
			`logspool_container_undelivered_bytes{container="",group="",id=""}`:                           64 * float64(step.n),
			`logspool_stream_failing{container="",group="",id="",output="",region="eu-west-1",stream=""}`: float64(step.n),
			`logspool_containers_aggregated`:                                                              1,
		})
	}
}

// gate is a source whose second report is late: the third may overtake it.
type gate struct {
	source
	calls atomic.Int32
	third chan struct{} // third is closed at the third report.
}

// Report implements status.Source.
func (g *gate) Report() *status.Report {
	n := g.calls.Add(1)
	r := *g.source.Report()
	r.Containers = slices.Clone(r.Containers)
	r.Containers[0].Read = status.Counter{Lines: 100 * int64(n), Bytes: 100 * int64(n)}
	switch n {
	case 2:
		select {
		case <-g.third:
		case <-time.After(100 * time.Millisecond): // the other scrape waits, as it should
		}
	case 3:
		close(g.third)
	}
	return &r
}

// Two Prometheus servers may scrape at once. A sum must not take the older of two reports for
// a container that began again at 0.
func TestSumsSeeReportsInOrder(t *testing.T) {
	g := &gate{source: source{report: full()}, third: make(chan struct{})}
	g.source.report.Containers = []status.Container{web()}
	h := Handler(g, Options{})
	scrape(t, h)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { scrape(t, h) })
	}
	both.Wait()
	check(t, series(t, scrape(t, h)), map[string]float64{`logspool_container_read_lines_total{container="",group="shop",id=""}`: 400})
}

// A counter never decreases while its series exists, whatever containers come and go.
// Prometheus takes a decrease for a restart, and would count the rest again.
func TestCountersNeverDecrease(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := full()
	r.Containers = nil
	src := &source{report: r}
	h := Handler(src, Options{MaxContainers: 5})
	last, next, compared := map[string]float64{}, 0, 0
	for range 150 {
		n := *src.Report()
		n.Containers = slices.Clone(n.Containers)
		for range rnd.IntN(3) {
			c := web()
			c.ID, c.Name = id(next), fmt.Sprint("c", next)
			if next++; rnd.IntN(2) == 0 {
				c.Streams = nil // not known yet
			}
			n.Containers = append(n.Containers, c)
		}
		for len(n.Containers) > 0 && rnd.IntN(3) == 0 || len(n.Containers) > 12 {
			i := rnd.IntN(len(n.Containers))
			ended := status.Traffic{}
			ended.Add(n.Ended)
			ended.Add(n.Containers[i].Traffic)
			n.Ended, n.Containers = ended, slices.Delete(n.Containers, i, i+1)
		}
		for i := range n.Containers {
			c := &n.Containers[i]
			if c.Streams == nil {
				c.Streams = web().Streams
			}
			more := status.Traffic{Read: status.Counter{Lines: rnd.Int64N(9), Bytes: 100}, Dropped: map[string]status.Counter{"spool_full": {Lines: 1, Bytes: 1}}}
			more.Add(c.Traffic)
			c.Traffic = more
		}
		src.set(&n)
		got := series(t, scrape(t, h))
		for name, v := range got {
			if before, ok := last[name]; ok && strings.Contains(name, "_total") {
				if compared++; v < before {
					t.Fatalf("%s went from %v to %v", name, before, v)
				}
			}
		}
		last = got
	}
	if compared < 2000 {
		t.Errorf("only %d values were compared", compared)
	}
}

// Several scrapes may run at once.
func TestScrapesMayRunAtOnce(t *testing.T) {
	server := httptest.NewServer(Handler(&source{report: full()}, Options{}))
	defer server.Close()
	var all sync.WaitGroup
	for range 2 * maxScrapes {
		all.Go(func() {
			resp, err := http.Get(server.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == http.StatusOK:
				check(t, series(t, string(text)), map[string]float64{`logspool_container_read_lines_total{container="",group="shop",id=""}`: 100})
			case resp.StatusCode != http.StatusServiceUnavailable:
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
	all.Wait()
}

func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := full()
			for i := range n {
				c := web()
				c.ID, c.Name = id(i), fmt.Sprint("c", i)
				r.Containers = append(r.Containers, c)
			}
			h := Handler(&source{report: r}, Options{MaxContainers: 1000})
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
			}
		})
	}
}
