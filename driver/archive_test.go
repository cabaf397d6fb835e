package driver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// archived reports whether the driver knows the container's log as archived.
func (h *host) archived(id string) bool {
	_, ok := h.Driver.archive.Since(id)
	return ok
}

// stoppedDirs are the histories at rest that are on disk.
func stoppedDirs(t *testing.T, state string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(state, "stopped"))
	if err != nil && !notExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestHistoryAge: a history goes at its age, neither before nor long after, also one that an earlier run left behind,
// and what was being removed when that ended.
func TestHistoryAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		live := filepath.Join(dir, "containers")
		budget := spool.NewBudget(1 << 30)
		x := archive.New(dir, live, durable.OS, 10*time.Hour, budget, slog.New(slog.DiscardHandler))
		begin := func(id string, stoppedAt time.Time) {
			must(t, os.MkdirAll(filepath.Join(live, id, archive.SpoolName), dirPerm))
			r := archive.Record{Stopped: &archive.StoppedRecord{At: stoppedAt}}
			must(t, r.Write(durable.OS, filepath.Join(live, id), false))
		}
		put := func(id string) {
			begin(id, time.Now())
			must(t, x.Put(id, time.Now()))
		}
		left := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := stoppedDirs(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after %v there are %q, want %q", time.Now(), got, want)
			}
		}
		begin("before", time.Now().Add(-9*time.Hour))
		must(t, os.MkdirAll(filepath.Join(dir, "stopped", "unknown"), dirPerm))
		must(t, os.MkdirAll(filepath.Join(dir, "stopped", ".gone-"+"x", archive.SpoolName), dirPerm))
		must(t, os.Rename(filepath.Join(live, "before"), filepath.Join(dir, "stopped", "before")))
		done := make(chan struct{})
		go func() { defer close(done); x.Run(t.Context()) }()
		put("a")
		time.Sleep(time.Hour - time.Nanosecond)
		put("b")
		left("a", "b", "before", "unknown")
		time.Sleep(time.Nanosecond)
		left("a", "b", "unknown")
		time.Sleep(9 * time.Hour)
		left("b")
		if was, err := x.Take("b"); was != archive.Archived || err != nil {
			t.Errorf("b is not taken back: %v, %v", was, err)
		}
		time.Sleep(2 * time.Hour)
		left()
		if _, err := os.Stat(filepath.Join(live, "b")); err != nil {
			t.Errorf("a history that was taken back: %v", err)
		}
		put("b") // again
		put("b") // without having been taken back, which failed
		left("b")
		time.Sleep(10 * time.Hour)
		left()
		if used := budget.Used(); used != 0 {
			t.Errorf("%d bytes are counted of nothing", used)
		}
	})
}

// TestLoadFitsTheRoom: what an earlier run has left goes as far as there is no room for it, the oldest first, before
// anybody asks for room.
func TestLoadFitsTheRoom(t *testing.T) {
	dir := t.TempDir()
	budget := spool.NewBudget(3*4*4096 + 1000)
	x := archive.New(dir, filepath.Join(dir, "containers"), durable.OS, time.Hour, budget, slog.New(slog.DiscardHandler))
	for id, age := range map[string]time.Duration{"a": 5, "b": 1, "c": 4, "d": 2, "e": 3} {
		at := filepath.Join(x.Dir, id)
		must(t, os.MkdirAll(filepath.Join(at, archive.SpoolName), dirPerm))
		must(t, os.WriteFile(filepath.Join(at, archive.SpoolName, "0000000000000000.seg"), make([]byte, 100), 0o600))
		r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now().Add(-age * time.Minute)}}
		must(t, r.Write(durable.OS, at, false))
	}
	x.Load(t.Context())
	if got := stoppedDirs(t, dir); fmt.Sprint(got) != "[b d e]" || budget.Used() != 3*4*4096 {
		t.Errorf("left are %q, %d bytes are counted", got, budget.Used())
	}
}

// TestHistoryGivesWay: when the room of all spools is full, histories at rest give way, and the container that writes
// loses nothing.
func TestHistoryGivesWay(t *testing.T) {
	h := newHost(t, "SPOOL_TOTAL_SIZE=2m", "SPOOL_MAX_SIZE=1m", "HISTORY_SIZE=1m")
	h.start()
	d := h.docker()
	line := strings.Repeat("x", 1000) + "\n"
	for i := range 6 {
		c := begin(t, d, dockertest.Info{ContainerID: fmt.Sprint("c", i), ContainerName: fmt.Sprint("/c", i)})
		for range 500 {
			must(t, c.Write("stdout", line))
		}
		must(t, c.Stop(t.Context()))
		if got := h.shipper.wait(t, fmt.Sprint("g/c", i), 500); len(got) != 500 {
			t.Errorf("container %d: %d lines", i, len(got))
		}
		h.gone()
	}
	state := filepath.Join(h.dir, "state")
	got := stoppedDirs(t, state)
	if len(got) == 0 || len(got) == 6 || got[0] == "c0" || got[len(got)-1] != "c5" {
		t.Errorf("left are %q", got)
	}
	used := h.budget.Used()
	h.stop()
	h.start()
	until(t, "as much is counted after a restart as before", func() bool { return h.budget.Used() == used })
	if got := stoppedDirs(t, state); len(got) == 0 {
		t.Error("the restart removed them")
	}
}

// TestAskingRenewsNothing: docker logs of a container that has stopped attaches it for a moment, and makes its history
// no younger. Another run does.
func TestAskingRenewsNothing(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	run := func(text string) *archive.StoppedRecord {
		t.Helper()
		c := begin(t, d, info)
		if text != "" {
			must(t, c.Write("stdout", text))
		}
		want := strings.Count(text, "\n")
		for deadline := time.Now().Add(time.Minute); len(readLogs(t, d, "web", all).rest()) < want; {
			if time.Now().After(deadline) {
				t.Fatal("nothing to read")
			}
		}
		must(t, c.Stop(t.Context()))
		h.gone()
		r, err := archive.ReadRecord(h.fs, filepath.Join(h.dir, "state", "stopped", "web"))
		if err != nil {
			t.Fatal(err)
		}
		return r.Stopped
	}
	first := run("one\n")
	second := run("")
	h.stop()
	h.start()
	d = h.docker()
	third := run("")
	if !first.At.Equal(second.At) || !first.At.Equal(third.At) {
		t.Errorf("since %v, then %v and %v", first.At, second.At, third.At)
	}
	if fourth := run("two\n"); !fourth.At.After(first.At) {
		t.Errorf("another run: since %v as before", fourth.At)
	}
	if got := h.shipper.wait(t, "g/web", 2); len(got) != 2 {
		t.Errorf("shipped: %q", got)
	}
}

// TestManyStopped: of containers at rest nothing is opened at the start.
func TestManyStopped(t *testing.T) {
	h := newHost(t)
	state := filepath.Join(h.dir, "state")
	for i := range 1000 {
		dir := filepath.Join(state, "stopped", fmt.Sprint("c", i))
		must(t, os.MkdirAll(dir, dirPerm))
		must(t, os.WriteFile(filepath.Join(dir, archive.SpoolName), []byte("cannot be opened"), 0o600))
		r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now()}}
		must(t, r.Write(durable.OS, dir, false))
	}
	h.start()
	if n := len(h.all()); n != 0 {
		t.Errorf("%d sessions", n)
	}
	h.stop()
	if log := h.log.String(); strings.Contains(log, "cannot be opened") || strings.Contains(log, "reattached") {
		t.Errorf("%.500s", log)
	}
	if got := stoppedDirs(t, state); len(got) != 1000 {
		t.Errorf("%d are left", len(got))
	}
}

// TestBadSettingsDeleteNothing: a bound that cannot be read removes nothing of what is there, be it more than the default
// of that setting.
func TestBadSettingsDeleteNothing(t *testing.T) {
	h := newHost(t, "SPOOL_MAX_SIZE=3g", "SPOOL_TOTAL_SIZE=6g", "HISTORY_SIZE=100m", "HISTORY_AGE=1000h")
	h.start()
	waits, ignored := h.fifo("waits"), h.fifo("ignored")
	h.run("waits", waits, map[string]string{"delay": "1h"})
	must(t, h.startLogging(ignored.path, &container.Info{ID: "ignored", Env: []string{"LOGSPOUT=ignore"}}))
	h.stop()

	fill := func(id string, bytes int64) (end uint64) {
		s, _, err := spool.Open(spool.Options{Dir: filepath.Join(h.dir, "state", "containers", id, archive.SpoolName), History: 1 << 30})
		must(t, err)
		var tracker spool.Tracker
		frame := fakeFrame("stdout", 1e18, strings.Repeat("x", 60<<10), nil)
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
	must(t, os.MkdirAll(filepath.Join(old, archive.SpoolName), dirPerm))
	segment := filepath.Join(old, archive.SpoolName, "0000000000000000.seg")
	must(t, os.WriteFile(segment, nil, 0o600))
	must(t, os.Truncate(segment, 5<<30))                                                       // 4g
	r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now().Add(-900 * time.Hour)}} // 168h
	must(t, r.Write(durable.OS, old, false))

	h.shipper.setDown(true) // what is delivered need not be kept
	h.env, h.bad = []string{"SPOOL_MAX_SIZE=3gg", "SPOOL_TOTAL_SIZE=6gg", "HISTORY_SIZE=100mm", "HISTORY_AGE=1000hh"}, true
	h.start()
	until(t, "what was kept of a stopped container is known", func() bool {
		return h.archived("old")
	})
	waits.write("stdout", "another")
	for range 2 * ignoreStep >> 10 {
		ignored.write("stdout", strings.Repeat("x", 1<<10))
	}
	waits.empty()
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

// TestKeptNothing: of a container that wrote nothing, or has no history, nothing stays.
func TestKeptNothing(t *testing.T) {
	h := newHost(t)
	h.start()
	for id, config := range map[string]map[string]string{"quiet": nil, "none": {"history-size": "0"}} {
		f := h.fifo(id)
		h.run(id, f, config)
		if id == "none" {
			f.write("stdout", lines(1, 10)...)
		}
		h.end(f)
	}
	h.shipper.wait(t, "g/none", 10)
	h.gone()
	if got := stoppedDirs(t, filepath.Join(h.dir, "state")); len(got) > 0 {
		t.Errorf("left are %q", got)
	}
}

// TestSickDisk: what a disk does not do once costs no history, whoever asks for it then is told, and it is as before when
// the disk is well again.
func TestSickDisk(t *testing.T) {
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	const n = 100
	for _, test := range []struct {
		name  string
		fails func(op, name string) error
	}{
		{"it cannot be moved", durabletest.Fail("Rename", "containers/web", syscall.EIO)},
		{"it cannot be opened", durabletest.Fail("ReadFile", "cursor", syscall.EMFILE)},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			disk := h.onHookedDisk()
			h.start()
			d := h.docker()
			c := begin(t, d, info)
			for i := range n {
				must(t, c.Write("stdout", fmt.Sprintf("line %d\n", i)))
			}
			h.shipper.wait(t, "g/web", n)
			must(t, c.Stop(t.Context()))
			h.gone()
			used := h.budget.Used()
			disk.Before(test.fails)
			_, err := d.ReadLogs(t.Context(), info, all)
			if refused, ok := errors.AsType[*dockertest.Error](err); !ok || refused.Status != 500 {
				t.Errorf("ReadLogs: %v", err)
			}
			if _, err := d.Start(t.Context(), info); err == nil {
				t.Error("the container's log begins anew")
			}
			if got := h.budget.Used(); got != used || !h.archived("web") {
				t.Errorf("%d bytes are counted, want %d", got, used)
			}
			disk.Before(nil)
			if got := len(readLogs(t, d, "web", all).rest()); got != n {
				t.Errorf("%d entries when the disk is well, want %d", got, n)
			}
			h.gone()
			if got := h.budget.Used(); got != used {
				t.Errorf("%d bytes are counted afterwards, want %d", got, used)
			}
			c = begin(t, d, info)
			must(t, c.Write("stdout", "another\n"))
			h.shipper.wait(t, "g/web", n+1)
			must(t, c.Stop(t.Context()))
			h.gone()
			if got := len(readLogs(t, d, "web", all).rest()); got != n+1 {
				t.Errorf("%d entries after another run, want %d", got, n+1)
			}
		})
	}
}

// TestPutAwayLater: what cannot be put away is there all the same, and is put away when somebody has asked for it.
func TestPutAwayLater(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web", ContainerName: "/web"})
	must(t, c.Write("stdout", "a line\n"))
	h.shipper.wait(t, "g/web", 1)
	disk.Before(durabletest.Fail("Rename", "stopped/web", syscall.ENOSPC))
	must(t, c.Stop(t.Context()))
	h.ended()
	disk.Before(nil)
	if len(h.containers()) != 1 {
		t.Fatal("it was put away")
	}
	if got := texts(readLogs(t, d, "web", all).rest()); len(got) != 1 {
		t.Errorf("read %q", got)
	}
	h.gone()
	if got := stoppedDirs(t, filepath.Join(h.dir, "state")); fmt.Sprint(got) != "[web]" {
		t.Errorf("at rest are %q", got)
	}
}

// TestDeliveredStaysDelivered: what was delivered before a container stopped is not delivered again where the file that
// says so is lost.
func TestDeliveredStaysDelivered(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	c := begin(t, d, info)
	must(t, c.Write("stdout", "one\ntwo\n"))
	h.shipper.wait(t, "g/web", 2)
	must(t, c.Stop(t.Context()))
	h.gone()
	must(t, os.RemoveAll(filepath.Join(h.dir, "state", "stopped", "web", archive.SpoolName, "cursor")))
	if got := len(readLogs(t, d, "web", all).rest()); got != 2 {
		t.Errorf("%d entries, want 2", got)
	}
	h.gone()
	c = begin(t, d, info)
	must(t, c.Write("stdout", "three\n"))
	if got := h.shipper.wait(t, "g/web", 3); fmt.Sprint(got) != "[one two three]" {
		t.Errorf("shipped: %q", got)
	}
	must(t, c.Stop(t.Context()))
}

// TestMovesSurviveACrash: wherever the plugin is killed while a history is put away, taken back or read, all of it is there
// afterwards, in one place.
func TestMovesSurviveACrash(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	c := begin(t, d, info)
	const n = 20
	for i := range n {
		must(t, c.Write("stdout", fmt.Sprintf("line %d\n", i)))
	}
	h.shipper.wait(t, "g/web", n)
	killed := h.copyBefore(disk, "Rename", "Remove", "MkdirAll", "OpenFile")
	must(t, c.Stop(t.Context()))
	h.gone()
	c = begin(t, d, info) // as docker logs does
	must(t, c.Stop(t.Context()))
	h.gone()
	readLogs(t, d, "web", all).rest()
	h.gone()
	h.stop()
	if n := killed.len(); n < 10 {
		t.Fatalf("%d moments", n)
	}
	for i := range killed.before {
		after := newHost(t)
		after.dir = killed.at(i)
		after.start()
		d := after.docker()
		if got := readLogs(t, d, "web", all).rest(); len(got) != n {
			t.Errorf("moment %d: %d entries, want %d", i, len(got), n)
		}
		after.gone()
		if got := stoppedDirs(t, filepath.Join(after.dir, "state")); fmt.Sprint(got) != "[web]" {
			t.Errorf("moment %d: at rest are %q", i, got)
		}
		after.stop()
	}
}
