package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// sampleTime is when the sample report was made.
var sampleTime = time.Date(2026, 11, 30, 3, 12, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return sampleTime.Add(-d) }

func pointer(n int64) *int64 { return &n }

// sampleReport is that of docs/commands.md: one container is denied, and one is throttled.
func sampleReport() *status.Report {
	denied := &status.Failure{
		Kind:   "AccessDeniedException",
		Err:    "operation error CloudWatch Logs: PutLogEvents, StatusCode: 400, RequestID: 1a2b, AccessDeniedException: not authorized",
		Remedy: "allow logs:PutLogEvents for this group",
		Since:  before(20 * time.Minute),
	}
	again := *denied
	again.Err = "operation error CloudWatch Logs: PutLogEvents, StatusCode: 400, RequestID: 3c4d, AccessDeniedException: not authorized"
	stream := func(group, name string, e *status.Failure) status.Stream {
		return status.Stream{Region: "eu-central-1", RegionFrom: "AWS_REGION", Group: group, GroupFrom: "log option", Stream: name, StreamFrom: "default", Error: e}
	}
	return &status.Report{
		Time: sampleTime, Reattached: true, Started: before(76 * time.Hour), Version: "1.2.0", Host: "ip-10-0-0-1",
		Region: "eu-central-1", RegionFrom: "AWS_REGION", Identity: "arn:aws:sts::123456789012:assumed-role/logs/i-0abc",
		Services: []status.Service{{Region: "eu-central-1", State: status.ServiceOK, Since: before(2 * time.Hour)}},
		Faults: []status.Fault{
			{What: "sending to the log group failed; the plugin keeps trying", Kind: denied.Kind, Since: denied.Since, Times: 40, Err: denied.Err, Remedy: denied.Remedy, Attrs: map[string]string{"group": "/prod/shop"}},
			{What: "a setting is invalid", Since: before(76 * time.Hour), Times: 1, Err: "'soon' is not a duration", Attrs: map[string]string{"setting": "DELAY", "applies": "4s"}},
		},
		Disk: status.Disk{Used: 1288490188, Limit: 4 << 30, Archived: 300 << 20, Free: 20 << 30, Size: 50 << 30},
		Containers: []status.Container{
			{ID: "aaaa5e2a7d1c0000", Name: "cron", State: status.ContainerIgnored},
			{
				ID: "bbbb5e2a7d1c0000", Name: "db", State: status.ContainerRunning, Rate: status.Rate{Lines: 2.34, Bytes: 310},
				Streams: []status.Stream{stream("/prod/db", "db", nil)}, Undelivered: status.Backlog{Lines: pointer(4), Bytes: 612, Oldest: before(2 * time.Second)},
				Traffic: status.Traffic{Dropped: map[string]status.Counter{"too_old": {Lines: 12, Bytes: 900}}},
			},
			{
				ID: "cccc5e2a7d1c0000", Name: "shop-api-1", State: status.ContainerRunning, Rate: status.Rate{Lines: 120.4, Bytes: 48000},
				Streams: []status.Stream{stream("/prod/shop", "shop-api-1", denied)}, Undelivered: status.Backlog{Lines: pointer(144210), Bytes: 55 << 20, Oldest: before(20 * time.Minute)},
				Options: []status.Option{{Name: "group", Value: "/prod/shop", From: "log option"}, {Name: "exclude-pattern", Value: "healthz", From: "label"}},
				Losses:  []status.Loss{{Reason: "spool_full", Text: "the spool was full", Counter: status.Counter{Lines: 3, Bytes: 300}, Last: before(time.Minute)}},
				Spool:   status.Spool{Bytes: 60 << 20, Limit: 256 << 20, HistoryLimit: 20 << 20, Full: "drop-oldest"}, PendingGaps: 1,
			},
			{
				ID: "dddd5e2a7d1c0000", Name: "shop-web-1", State: status.ContainerStopped,
				Streams: []status.Stream{stream("/prod/shop", "shop-web-1", &again)}, Undelivered: status.Backlog{Bytes: 20 << 10, Oldest: before(11 * time.Minute)},
			},
		},
	}
}

// firstReport is that of the README: the first container of a new plugin.
func firstReport() *status.Report {
	return &status.Report{
		Time: sampleTime, Reattached: true, Started: before(15 * time.Second), Version: "1.0.0", Host: "myhost",
		Region: "eu-central-1", RegionFrom: "AWS_REGION", Identity: "arn:aws:iam::123456789012:user/logger",
		Services: []status.Service{{Region: "eu-central-1", State: status.ServiceOK, Since: before(6 * time.Second)}},
		Disk:     status.Disk{Used: 24 << 10, Limit: 4 << 30, Free: 20 << 30, Size: 50 << 30},
		Containers: []status.Container{{
			ID: "eeee5e2a7d1c0000", Name: "hello", State: status.ContainerRunning, Rate: status.Rate{Lines: 1, Bytes: 29},
			Streams:     []status.Stream{{Region: "eu-central-1", RegionFrom: "AWS_REGION", Group: "myhost", GroupFrom: "default", Stream: "hello", StreamFrom: "default"}},
			Undelivered: status.Backlog{Lines: pointer(2), Bytes: 108, Oldest: before(2 * time.Second)},
		}},
	}
}

// serve answers on a status socket with h, and returns the state directory, whose path is
// longer than that of a socket may be.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	dir := longDir(t)
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l, err := net.Listen("unix", filepath.Join("/proc/self/fd", fmtInt(root.Fd()), status.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return dir
}

// longDir returns a directory whose path has more than 108 bytes.
func longDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serveReport serves a report.
func serveReport(t *testing.T, report any) string {
	t.Helper()
	body, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != status.ReportPath {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(body)
	}))
}
