package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/statusserver"
)

func (r *rig) stateDir() string { return filepath.Join(r.dir, "state") }

// status waits until the status on the socket is as wanted.
func (r *rig) status(what string, wanted func(*status.Report) bool) *status.Report {
	r.t.Helper()
	ctx, cancel := patience(r.t)
	defer cancel()
	for {
		report, err := statusserver.Get(ctx, r.stateDir())
		if err == nil && wanted(report) {
			return report
		}
		select {
		case <-ctx.Done():
			r.t.Fatalf("the status never had %s; the last one: %+v, %v", what, report, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func anyReport(*status.Report) bool { return true }

// hasFault returns a condition: a fault that is called what, and whose error has err.
func hasFault(what, err string) func(*status.Report) bool {
	return func(r *status.Report) bool {
		return slices.ContainsFunc(r.Faults, func(f status.Fault) bool {
			return strings.HasPrefix(f.What, what) && strings.Contains(f.Err, err) && f.Attrs["err"] == "" && !f.Since.IsZero() && f.Times > 0
		})
	}
}

// statusAddr returns an address for STATUS_ADDR. Clients of other programs have 127.0.0.1.
func statusAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.9.4.66:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The status answers whatever fails, and names what fails.
func TestStatusAnswersWhileTheServiceFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		env   []string
		fault *cwlocal.Fault
		what  string
		err   string
	}{
		{"unreachable", []string{"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=http://127.0.0.1:1"}, nil, "sending to CloudWatch Logs failed", "refused"},
		{"hanging", nil, &cwlocal.Fault{Kind: cwlocal.Hang}, "", ""},
		{"no region", []string{"AWS_REGION=auto"}, nil, "no AWS region found", "AWS_REGION"},
		{"invalid setting", []string{"GZIP=perhaps"}, nil, "a setting is invalid", "perhaps"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, append([]string{"LOGSPOUT_GROUP=g", "HTTPS_PROXY=http://user:hunter2@127.0.0.1:1", "PRICE_PER_GB=0.76"}, tc.env...)...)
			if tc.fault != nil {
				r.service.AddFault(*tc.fault)
			}
			r.start()
			c := r.run(info("web"))
			c.Write("stdout", "a line\n")
			wanted := anyReport
			if tc.what != "" {
				wanted = hasFault(tc.what, tc.err)
			}
			got := r.status("the fault "+tc.what, wanted)
			if host, _ := os.Hostname(); got.Version != version || got.Host != host || got.Time.Before(got.Started) || got.Started.IsZero() {
				t.Errorf("report of %v, started %v, version %s, host %s", got.Time, got.Started, got.Version, got.Host)
			}
			if !slices.Contains(got.Settings, status.Setting{Name: "PRICE_PER_GB", Value: "0.76"}) ||
				!slices.Contains(got.Settings, status.Setting{Name: "AWS_SECRET_ACCESS_KEY", Value: "(not shown)"}) ||
				strings.Contains(fmt.Sprint(got), "hunter2") {
				t.Errorf("settings: %v", got.Settings)
			}
			p := got.Process
			if p.PID != r.plugin.PID() || p.OpenFiles < 5 || p.MaxFiles < p.OpenFiles || p.Memory < 1<<20 || p.CPU <= 0 {
				t.Errorf("process: %+v", p)
			}
			r.stopContainer(c)
			r.stop()
			if _, err := os.Lstat(filepath.Join(r.stateDir(), status.SocketName)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is left behind: %v", err)
			}
		})
	}
}

func TestStatusIsServedAgainAfterAKill(t *testing.T) {
	r := newRig(t)
	r.start()
	first := r.status("anything", anyReport)
	r.plugin.Kill()
	if _, err := statusserver.Get(t.Context(), r.stateDir()); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("after the kill: %v", err)
	}
	r.start()
	if second := r.status("anything", anyReport); second.Process.PID == first.Process.PID {
		t.Error("the status is that of the dead process")
	}
	r.stop()
}

// The plugin works without its status.
func TestForeignServerOnTheStatusSocketDelaysNoLine(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=g")
	if err := os.Mkdir(r.stateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	foreign, err := net.Listen("unix", filepath.Join(r.stateDir(), status.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	r.start()
	if err := r.plugin.WaitLogged("cannot serve the status socket", time.Minute); err != nil {
		t.Error(err)
	}
	s := dockertest.Sequence{Container: "web", Source: "stdout"}
	c := r.run(info("web"))
	write(t, c, &s, 1000, 100)
	r.stopContainer(c)
	r.arrived("g", "web", s)
	r.stop()
	if _, err := os.Lstat(foreign.Addr().String()); err != nil {
		t.Errorf("the socket of the other process is gone: %v", err)
	}
}

func TestPortInUseIsAFaultInTheStatus(t *testing.T) {
	other, err := net.Listen("tcp", "127.9.4.66:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r := newRig(t, "STATUS_ADDR="+other.Addr().String())
	r.start()
	r.status("the fault", hasFault("cannot listen at STATUS_ADDR", "in use"))
	r.stop()
}

// A plugin whose host lost power may have lost lines, and must not say otherwise.
func TestHostThatWentDownIsReported(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(r.stateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(r.stateDir(), status.RunningMark)
	if err := os.WriteFile(mark, []byte("8a1f3a2e-0000-4000-8000-000000000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	got := r.status("the host that went down", hasFault("the host went down without stopping the plugin", ""))
	if hasFault("the plugin's last process", "")(got) {
		t.Errorf("%+v", got.Faults)
	}
	for start := time.Now(); ; {
		boot, _ := os.ReadFile(bootIDFile)
		now, _ := os.ReadFile(mark)
		if len(now) > 0 && bytes.Equal(now, bytes.TrimSpace(boot)) {
			break
		} else if time.Since(start) > time.Minute {
			t.Fatal("the mark is not renewed")
		}
	}
	r.plugin.Kill()
	r.start()
	r.status("the killed process", hasFault("the plugin's last process was killed or crashed", ""))
	r.stop()
}

// The status says for a while that the last process did not stop in order. A process that stops
// in order leaves nothing that says so.
func TestKilledProcessIsReported(t *testing.T) {
	r := newRig(t)
	mark := filepath.Join(r.stateDir(), status.RunningMark)
	if err := os.MkdirAll(r.stateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mark, bytes.TrimSpace(boot), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.status("the killed process", hasFault("the plugin's last process was killed or crashed", ""))
	r.stop()
	if _, err := os.Stat(mark); !os.IsNotExist(err) {
		t.Errorf("after a stop: %v", err)
	}
	r.start()
	for start := time.Now(); ; {
		if _, err := os.Stat(mark); err == nil {
			break
		} else if time.Since(start) > time.Minute {
			t.Fatal(err)
		}
	}
	r.status("no killed process", func(report *status.Report) bool { return !hasFault("the plugin's last process", "")(report) })
	r.stop()
}

// A name is data for programs. JSON escapes it, so that it is harmless in a page too.
func TestStatusEscapesTheNamesOfContainers(t *testing.T) {
	const name = "<script>alert(1)</script>\x1b[31m\n"
	r := newRig(t, "LOGSPOUT_GROUP=g")
	r.start()
	c := r.run(info(name))
	c.Write("stdout", "a line\n")
	r.status("the container", func(report *status.Report) bool {
		return slices.ContainsFunc(report.Containers, func(c status.Container) bool { return c.Name == name })
	})
	conn, err := net.Dial("unix", filepath.Join(r.stateDir(), status.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", status.ReportPath)
	answer, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(answer), "<script>") || strings.Contains(string(answer), "\x1b") || !strings.Contains(string(answer), `\u003cscript\u003e`) {
		t.Errorf("%v: %q", err, answer)
	}
	r.stopContainer(c)
	r.stop()
}

// hostileRequests are the starts of requests that a client may send.
var hostileRequests = []string{
	"GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
	"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000),
	"GET /" + strings.Repeat("x", 100<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
	"GET /../../status.sock HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"GET /debug/pprof/profile HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // TLS
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example.com\r\n\r\n",
}

// Clients of STATUS_ADDR that are slow or hostile cost the plugin a bounded number of
// descriptors, and no line.
func TestClientsOfTheStatusCostNoLine(t *testing.T) {
	addr := statusAddr(t)
	r := newRig(t, "LOGSPOUT_GROUP=g", "STATUS_ADDR="+addr)
	r.start()
	if err := r.plugin.WaitLogged("the status page and the metrics are served", time.Minute); err != nil {
		t.Fatal(err)
	}
	const slow = 200
	var conns []net.Conn
	for range slow {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for _, request := range hostileRequests {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c, err := net.Dial("tcp", addr); err == nil {
					_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
					_, _ = io.WriteString(c, request)
					_, _ = io.Copy(io.Discard, c)
					c.Close()
				}
			}
		})
	}
	most := 0
	var writers sync.WaitGroup
	sequences := make([]dockertest.Sequence, 3)
	for i := range sequences {
		s := &sequences[i]
		s.Container, s.Source = fmt.Sprintf("c%d", i), "stdout"
		c := r.run(info(s.Container))
		writers.Go(func() {
			write(t, c, s, 5000, 100)
			r.stopContainer(c)
		})
	}
	writers.Wait()
	for _, s := range sequences {
		r.arrived("g", s.Container, s)
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.plugin.PID()))
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(files))
	}
	if most >= slow {
		t.Errorf("the plugin has %d open files with %d slow clients", most, slow)
	}
	close(stop)
	for _, c := range conns {
		c.Close()
	}
	clients.Wait()
	r.status("no fault", func(report *status.Report) bool { return len(report.Faults) == 0 })
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "delivering\n" {
		t.Errorf("/healthz after the attack: status %d, %q", resp.StatusCode, body)
	}
	r.refusedNothing()
	r.stop()
}
