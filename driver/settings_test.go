package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/spool"
)

// TestInvalidSettingsDeleteNothing: an invalid limit removes nothing that is on disk, even if
// that is more than the default limit.
func TestInvalidSettingsDeleteNothing(t *testing.T) {
	h := newHost(t, "SPOOL_MAX_SIZE=3g", "SPOOL_TOTAL_SIZE=6g", "HISTORY_SIZE=100m", "HISTORY_AGE=1000h")
	h.start()
	waits, ignored := h.fifo("waits"), h.fifo("ignored")
	h.startContainer("waits", waits, map[string]string{"delay": "1h"})
	must(t, h.startLogging(ignored.path, &container.Info{ID: "ignored", Env: []string{"LOGSPOUT=ignore"}}))
	h.stop()

	fill := func(id string, bytes int64) (end uint64) {
		s, _, err := spool.Open(spool.Options{Dir: filepath.Join(h.dir, "state", "containers", id, archive.SpoolName), History: 1 << 30})
		must(t, err)
		var tracker spool.Tracker
		frame := dockertest.Frame("stdout", 1e18, strings.Repeat("x", 60<<10), nil)
		block := make([]byte, spool.BlockHeaderSize+len(frame))
		for s.Size() <= bytes {
			info := tracker.All(frame)
			tracker.Advance(info)
			copy(block[spool.BlockHeaderSize:], frame)
			must(t, s.Append(block, 1, info))
		}
		end = s.End()
		if id == "ignored" {
			must(t, s.Ack([]stream.Range{{From: 0, To: end}}))
		}
		must(t, s.Close())
		return end
	}
	end := map[string]uint64{"waits": fill("waits", 260<<20), "ignored": fill("ignored", 21<<20)} // the defaults are 256m and 20m
	old := filepath.Join(h.dir, "state", "stopped", "old")
	must(t, os.MkdirAll(filepath.Join(old, archive.SpoolName), durable.DirPerm))
	segment := filepath.Join(old, archive.SpoolName, "0000000000000000.seg")
	must(t, os.WriteFile(segment, nil, 0o600))
	must(t, os.Truncate(segment, 5<<30))                                                       // 4g
	r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now().Add(-900 * time.Hour)}} // 168h
	must(t, r.Write(durable.OS, old, false))

	h.shipper.setDown(true) // what is delivered need not be kept
	h.env, h.badEnv = []string{"SPOOL_MAX_SIZE=3gg", "SPOOL_TOTAL_SIZE=6gg", "HISTORY_SIZE=100mm", "HISTORY_AGE=1000hh"}, true
	h.start()
	until(t, "what was kept of a stopped container is known", func() bool {
		return h.archived("old")
	})
	waits.write("stdout", "another")
	for range 2 * ignoreStep >> 10 {
		ignored.write("stdout", strings.Repeat("x", 1<<10))
	}
	waits.waitUntilEmpty()
	if got := stoppedDirs(t, filepath.Join(h.dir, "state")); fmt.Sprint(got) != "[old]" {
		t.Errorf("of stopped containers %q is left", got)
	}
	for _, s := range h.all() {
		until(t, "more comes of "+s.id, func() bool {
			return s.spool.End() > end[s.id] && (s.id != "ignored" || s.spool.Acked() > end[s.id])
		})
		if size := s.spool.Size(); s.id == "waits" && (size <= 260<<20 || s.spool.Acked() != 0) || s.id == "ignored" && size <= 21<<20 {
			t.Errorf("%s: %d bytes are left, delivered to %d", s.id, size, s.spool.Acked())
		}
	}
}

// TestInvalidContainerEnvIgnoresNobody: with an invalid CONTAINER_ENV, no container is
// ignored that was not ignored before.
func TestInvalidContainerEnvIgnoresNobody(t *testing.T) {
	h := newHost(t, "CONTAINER_ENV=off")
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	must(t, h.startLogging(f.path, &container.Info{ID: "web", Name: "/web", Env: []string{"LOGSPOUT=ignore"}}))
	f.write("stdout", lines(1, 1000)...)
	f.waitUntilEmpty()
	h.stop()
	good := h.env
	h.env, h.badEnv = []string{"CONTAINER_ENV=offf"}, true
	h.start()
	for range 2 * ignoreStep >> 10 {
		f.write("stdout", strings.Repeat("x", 1<<10))
	}
	f.waitUntilEmpty()
	h.stop()
	h.env, h.badEnv = good, false
	h.shipper.setDown(false)
	h.start()
	const want = 1000 + 2*ignoreStep>>10
	if got := h.shipper.wait(t, "g/web", want); len(got) != want {
		t.Errorf("%d lines of %d were delivered", len(got), want)
	}
	h.stopContainer(f)
}

// TestForeignEnvSetsNoHost: with CONTAINER_ENV=off, a container's environment does not set
// its host name.
func TestForeignEnvSetsNoHost(t *testing.T) {
	for env, want := range map[string]string{"CONTAINER_ENV=on": "g/claimed", "CONTAINER_ENV=off": "g/0123456789ab"} {
		h := newHost(t, env, "LOGSPOUT_STREAM={{.Host}}")
		h.start()
		f := h.fifo("fifo")
		if err := h.startLogging(f.path, &container.Info{ID: "0123456789abcdef", Env: []string{"HOSTNAME=claimed"}}); err != nil {
			t.Fatal(err)
		}
		f.write("stdout", "a line")
		h.shipper.wait(t, want, 1)
		h.stopContainer(f)
		h.stop()
	}
}

// TestLabelsSetNamesButNotAccess: labels name the group and the stream. They say nothing about
// where lines go or as whom, because they may come from images that nobody on the host wrote.
func TestLabelsSetNamesButNotAccess(t *testing.T) {
	h := newHost(t, "ROUTE=cloudwatch://eu-west-1")
	h.start()
	labels := map[string]string{"logspool.group": "/shop/{{.Labels.team}}", "logspool.awslogs-stream": "{{.Env.STAGE}}/{{.Name}}", "team": "web"}
	for _, o := range config.OptionDocs() {
		for _, name := range []string{o.Name, o.Alias} {
			labels[name] = "other" // without the prefix
		}
	}
	for _, name := range []string{"region", "awslogs-endpoint", "role-arn", "kms-key-id", "create-group", "delay"} {
		labels["logspool."+name] = "true"
	}
	f := h.fifo("f")
	must(t, h.startLogging(f.path, &container.Info{ID: "web", Name: "/web", Labels: labels, Env: []string{"STAGE=prod", "LOGSPOUT_GROUP=g"}}))
	f.write("stdout", "a line")
	h.shipper.wait(t, "/shop/web/prod/web", 1)
	h.stopContainer(f)
	h.shipper.mu.Lock()
	defer h.shipper.mu.Unlock()
	want := []target.Target{{Access: target.Access{Region: "eu-west-1"}, Group: "/shop/web", Stream: "prod/web", Create: target.Create{Group: true, Stream: true, NewGroup: &target.NewGroup{}}}}
	if diff := cmp.Diff(want, h.shipper.shipped); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := strings.Count(h.logged(), "a label cannot set this option"); n != 5 {
		t.Errorf("%d warnings, want 5", n)
	}
	h.wantLogged("level=WARN", "ignored labels logspool.* that are not listed here: 1", "container=")
}

// TestInvalidLogOptsHoldsLines: with an invalid LOG_OPTS a container starts, and its lines wait
// until it is corrected. Then they go where it says.
func TestInvalidLogOptsHoldsLines(t *testing.T) {
	h := newHost(t, "ROUTE=cloudwatch://eu-west-1")
	h.env, h.badEnv = append(h.env, `LOG_OPTS={"endpoint":"http://logs.example","stream":"{{.ID}}"`), true
	h.start()
	f := h.fifo("f")
	h.startContainerAs("web", "/shop", f, nil)
	f.write("stdout", lines(1, 10)...)
	f.waitUntilEmpty()
	until(t, "the hold is logged", func() bool { return strings.Contains(h.logged(), "LOG_OPTS is invalid") })
	h.stop()
	h.env[len(h.env)-1] += "}"
	h.badEnv = false
	h.start()
	h.shipper.wait(t, "g/web", 10)
	h.stopContainer(f)
	h.shipper.mu.Lock()
	defer h.shipper.mu.Unlock()
	for _, to := range h.shipper.shipped {
		if to.Endpoint != "http://logs.example" {
			t.Errorf("lines went to %+v", to)
		}
	}
}

// TestOptionsAreParsedOnce: the plugin parses a container's log options once for each start,
// and once when it opens the container's session without a start.
func TestOptionsAreParsedOnce(t *testing.T) {
	var parsed atomic.Int64
	parse := parseOptions
	parseOptions = func(s *config.Settings, opts map[string]string, env []string, labels map[string]string) (*config.Container, error) {
		parsed.Add(1)
		return parse(s, opts, env, labels)
	}
	t.Cleanup(func() { parseOptions = parse })
	want := func(what string, n int64) {
		t.Helper()
		if got := parsed.Swap(0); got != n {
			t.Errorf("%s: parsed %d times, want %d", what, got, n)
		}
	}
	h := newHost(t)
	h.start()
	var f *fakeFIFO
	for i, what := range []string{"the first start", "a start of an archived container"} {
		f = h.fifo(fmt.Sprint("f", i))
		f.n = int64(i)
		h.startContainer("web", f, map[string]string{"delay": "1s"})
		f.write("stdout", "a line")
		h.shipper.wait(t, "g/web", i+1)
		want(what, 1)
		if i == 0 {
			h.stopContainer(f)
			h.gone()
		}
	}
	h.stop()
	h.start()
	want("a restart of the plugin", 1)
	h.stopContainer(f)
	h.gone()
	want("the stop", 0)
}
