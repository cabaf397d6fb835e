package metrics

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/longtest"
	"github.com/logspool/logspool/internal/promtest"
	"github.com/logspool/logspool/internal/status"
)

// host is a host whose plugin Prometheus scrapes. While it is sick, change changes its report.
type host struct {
	change func(r *status.Report, sick time.Duration)
	want   []string // want are the alerts that fire while it is sick.

	since   atomic.Int64 // since is when the sickness began, in nanoseconds since 1970, or 0.
	started time.Time
}

// Report implements status.Source: a host under load, with a running clock.
func (h *host) Report() *status.Report {
	r := full()
	now := time.Now()
	r.Time, r.Started, r.Faults = now, h.started, nil
	r.Intake.Discarding = 0
	c := &r.Containers[0]
	c.Streams[1].Error = nil
	n := 1000 * int64(now.Sub(h.started).Seconds())
	c.Read, c.Delivered = status.Counter{Lines: n, Bytes: 100 * n}, status.Counter{Lines: n - 20, Bytes: 100 * (n - 20)}
	c.Undelivered.Oldest, c.Spool.Limit = now.Add(-4*time.Second), 1<<20
	if at := h.since.Load(); at != 0 && h.change != nil {
		h.change(r, now.Sub(time.Unix(0, at)))
	}
	return r
}

func (h *host) History(string) []status.Point { return nil }

func service(state string, f status.Fault) func(*status.Report, time.Duration) {
	return func(r *status.Report, _ time.Duration) {
		r.Services[0].State, r.Services[0].Error = state, f.Err
		r.Faults = append(r.Faults, f)
	}
}

func broken(f status.Fault) func(*status.Report, time.Duration) {
	return func(r *status.Report, _ time.Duration) { r.Faults = append(r.Faults, f) }
}

func groupFailed(kind string) status.Fault {
	return status.Fault{What: "sending to the log group failed; the plugin keeps trying", Kind: kind, Err: "no",
		Attrs: map[string]string{"region": "eu-west-1", "group": "shop", "stream": "web"}}
}

func serviceFailed(kind string) status.Fault {
	return status.Fault{What: "sending to CloudWatch Logs failed; the plugin keeps trying", Kind: kind, Err: "no", Attrs: map[string]string{"region": "eu-west-1"}}
}

func drop(reason string) func(*status.Report, time.Duration) {
	return func(r *status.Report, sick time.Duration) {
		n := 100 * (1 + int64(sick.Seconds()))
		r.Containers[0].Dropped = map[string]status.Counter{reason: {Lines: n, Bytes: 100 * n}, "too_old": {Lines: 2, Bytes: 20}, "spool_full": {Lines: 3 + n, Bytes: 30 + n}}
		r.Faults = append(r.Faults, status.Fault{What: "a container's lines are lost; a marker in its stream says where", Attrs: map[string]string{"container": "web"}})
	}
}

// hosts has a host for each cause of an alert.
func hosts() map[string]*host {
	return map[string]*host{
		"healthy": {},
		"restarting": {want: []string{"LogspoolRestarting"}, change: func(r *status.Report, sick time.Duration) {
			r.Started = r.Started.Add(sick.Truncate(2 * time.Second))
		}},
		"late": {want: []string{"LogspoolNotDelivering"}, change: func(r *status.Report, _ time.Duration) {
			r.Containers[0].Undelivered.Oldest = r.Time.Add(-time.Hour)
		}},
		"no region": {want: []string{"LogspoolNoRegion"}, change: func(r *status.Report, sick time.Duration) {
			r.Containers[0].State, r.Region, r.Services = status.ContainerHeld, "", nil
			broken(status.Fault{What: "no AWS region found; logs are spooled until one is known", Kind: "region"})(r, sick)
		}},
		"held": {want: []string{"LogspoolHeld", "LogspoolSettingInvalid"}, change: func(r *status.Report, _ time.Duration) {
			r.Containers[0].State, r.Containers[0].Held = status.ContainerHeld, "ALLOW_GROUPS is invalid"
			r.Faults = append(r.Faults, status.Fault{What: "lines are spooled but not sent", Kind: "ALLOW_GROUPS is invalid"},
				status.Fault{What: "a setting is invalid", Kind: "ALLOW_GROUPS", Attrs: map[string]string{"setting": "ALLOW_GROUPS"}})
		}},
		"no credentials": {want: []string{"LogspoolUnauthenticated"}, change: service(status.ServiceUnauthenticated, serviceFailed("credentials"))},
		"denied":         {want: []string{"LogspoolDenied"}, change: service(status.ServiceDenied, groupFailed("AccessDeniedException"))},
		"unusable key":   {want: []string{"LogspoolLogGroupFailing"}, change: service(status.ServiceFailing, groupFailed("KMSAccessDeniedException"))},
		"no group":       {want: []string{"LogspoolLogGroupFailing"}, change: broken(groupFailed("ResourceNotFoundException"))},
		"no DNS":         {want: []string{"LogspoolUnreachable"}, change: service(status.ServiceUnreachable, serviceFailed("unknown host"))},
		"errors":         {want: []string{"LogspoolServiceFailing"}, change: service(status.ServiceFailing, serviceFailed("InternalFailure"))},
		"throttled":      {want: []string{"LogspoolThrottled"}, change: service(status.ServiceThrottled, serviceFailed("ThrottlingException"))},
		"full spool":     {want: []string{"LogspoolDropping"}, change: drop("spool_full")},
		"wrong clock": {want: []string{"LogspoolClockWrong", "LogspoolDropping"}, change: func(r *status.Report, sick time.Duration) {
			drop("too_new")(r, sick)
			broken(status.Fault{What: "the host's clock is wrong; events get wrong times, and CloudWatch drops events that are hours ahead", Kind: "ahead"})(r, sick)
		}},
		"killed":           {want: []string{"LogspoolKilled"}, change: broken(status.Fault{What: "the plugin's last process was killed or crashed; no line is lost"})},
		"filling spool":    {want: []string{"LogspoolSpoolNearlyFull"}, change: func(r *status.Report, _ time.Duration) { r.Containers[0].Spool.Limit = 70 }},
		"unwritable spool": {want: []string{"LogspoolSpoolUnwritable"}, change: broken(status.Fault{What: "cannot spool a container's output; its lines are lost and counted"})},
		"full disk":        {want: []string{"LogspoolDiskNearlyFull"}, change: func(r *status.Report, _ time.Duration) { r.Disk.Free = 1 << 30 }},
		"descriptors":      {want: []string{"LogspoolDescriptorsNearlyExhausted"}, change: func(r *status.Report, _ time.Duration) { r.Process.OpenFiles = 1000 }},
		"unknown fifos":    {want: []string{"LogspoolDiscarding"}, change: func(r *status.Report, _ time.Duration) { r.Intake.Discarding = 2 }},
		"invalid setting":  {want: []string{"LogspoolSettingInvalid"}, change: broken(status.Fault{What: "a setting is invalid", Kind: "DELAY", Attrs: map[string]string{"setting": "DELAY"}})},
		"another fault":    {want: []string{"LogspoolFault"}, change: broken(status.Fault{What: "cannot sync spools; a power cut could lose recent lines"})},
	}
}

// TestLong_AlertsFireInPrometheus lets a real Prometheus scrape a host for each cause of an
// alert. Each alert fires for its own cause, for no other and not on a healthy host, and ends
// with the cause.
func TestLong_AlertsFireInPrometheus(t *testing.T) {
	longtest.Skip(t)
	needPrometheus(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	all, address, targets := hosts(), map[string]string{}, []string{}
	for name, h := range all {
		h.started = time.Now().Add(-time.Hour)
		server := httptest.NewServer(Handler(h, Options{MaxContainers: manyContainers}))
		t.Cleanup(server.Close)
		address[name] = server.Listener.Addr().String()
		targets = append(targets, address[name])
	}
	down, downAddress := newSwitch(t)
	targets = append(targets, downAddress)
	down.Store(false)

	prometheus, err := promtest.Start(promtest.Options{Rules: promtest.Shorten(readFile(t, rulesFile)), Targets: targets, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := prometheus.Close(); err != nil {
			t.Error(err)
		}
	})
	settled := func(sick bool) {
		t.Helper()
		expect := func() {
			t.Helper()
			for name, h := range all {
				var want []string
				if sick {
					want = h.want
				}
				if err := prometheus.AwaitFiring(ctx, address[name], want...); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			var want []string
			if sick {
				want = []string{"LogspoolDown"}
			}
			if err := prometheus.AwaitFiring(ctx, downAddress, want...); err != nil {
				t.Fatal(err)
			}
		}
		expect()
		if err := prometheus.AwaitEvaluations(ctx, 5); err != nil { // it stays like this
			t.Fatal(err)
		}
		expect()
	}

	if err := prometheus.AwaitEvaluations(ctx, 5); err != nil {
		t.Fatal(err)
	}
	settled(false)
	for _, h := range all {
		h.since.Store(time.Now().UnixNano())
	}
	down.Store(true)
	settled(true)
	checkAnnotations(t, prometheus)
	for _, h := range all {
		h.since.Store(0)
	}
	down.Store(false)
	settled(false)

	rules, err := prometheus.Rules()
	if err != nil || len(rules) != len(alertNames(t)) {
		t.Errorf("%d rules, %v", len(rules), err)
	}
	for _, r := range rules {
		if r.Health != "ok" {
			t.Errorf("%s: %s", r.Name, r.LastError)
		}
	}
}

// newSwitch returns a target that can be turned off.
func newSwitch(t *testing.T) (off *atomic.Bool, address string) {
	t.Helper()
	off = new(atomic.Bool)
	h := &host{started: time.Now().Add(-time.Hour)}
	handler := Handler(h, Options{MaxContainers: manyContainers})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if off.Load() {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return off, l.Addr().String()
}

// checkAnnotations checks the texts of the alerts that fire: they have a remedy, and the cause
// where the plugin knows it.
func checkAnnotations(t *testing.T, prometheus *promtest.Server) {
	t.Helper()
	all, err := prometheus.Alerts()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, a := range all {
		for name, text := range a.Annotations {
			if text == "" || strings.Contains(text, "<") || strings.Contains(text, "no value") || strings.Contains(text, "error expanding") {
				t.Errorf("%s: %s is %q", a.Name(), name, text)
			}
		}
		texts[a.Name()] += a.Annotations["description"] + "\n"
	}
	for name, want := range map[string][]string{
		"LogspoolUnauthenticated":            {"(credentials)", "host's clock"},
		"LogspoolDenied":                     {"the log group shop", "logs:PutLogEvents"},
		"LogspoolLogGroupFailing":            {"(KMSAccessDeniedException)", "(ResourceNotFoundException)", "KMS key"},
		"LogspoolUnreachable":                {"(unknown host)", "DNS", "proxy"},
		"LogspoolServiceFailing":             {"(InternalFailure)"},
		"LogspoolDropping":                   {"because of spool_full", "SPOOL_MAX_SIZE", "because of too_new", "Check the host's clock"},
		"LogspoolSpoolNearlyFull":            {"The spool of web", "91.43% full"},
		"LogspoolNotDelivering":              {"1h 0m 0s old"},
		"LogspoolSettingInvalid":             {"The setting DELAY", "The setting ALLOW_GROUPS"},
		"LogspoolDiskNearlyFull":             {"1% free"},
		"LogspoolDescriptorsNearlyExhausted": {"97.66%", "LimitNOFILE"},
		"LogspoolFault":                      {"cannot_sync_spools"},
	} {
		for _, part := range want {
			if !strings.Contains(texts[name], part) {
				t.Errorf("%s does not say %q:\n%s", name, part, texts[name])
			}
		}
	}
}
