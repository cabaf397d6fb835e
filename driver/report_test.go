package driver

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

// one returns the only container in the report.
func (h *host) one() status.Container {
	h.t.Helper()
	r := h.report()
	if len(r.Containers) != 1 {
		h.t.Fatalf("%d containers: %+v", len(r.Containers), r.Containers)
	}
	return r.Containers[0]
}

// size returns the bytes of the frames of lines in a FIFO.
func size(source string, lines ...string) (n int64) {
	for _, line := range lines {
		n += int64(len(dockertest.Frame(source, 1e18+1, line, nil)))
	}
	return n
}

func ptr(n int64) *int64 { return &n }

// TestReportDescribesAContainer: the report has a running container with its traffic, its
// stream and where the names come from. When the container has stopped and everything is
// delivered, its traffic is in the sum of what has ended.
func TestReportDescribesAContainer(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, map[string]string{"stream": "s-{{.Name}}", "role-arn": "arn:aws:iam::123456789012:role/logs", "credentials-endpoint": "/secret"})
	begun := time.Now()
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(t, "g/s-web", 10)
	until(t, "the lines are acknowledged", func() bool { return h.one().Undelivered.Bytes == 0 })
	delivered := status.Counter{Lines: 10, Bytes: int64(len(strings.Join(lines(1, 10), "")) + 260)}
	read := status.Counter{Lines: 10, Bytes: size("stdout", lines(1, 10)...)}
	c := h.one()
	if at := c.Streams[0].LastBatch; at == nil || at.Time.Before(begun.Add(-time.Second)) || at.Events != 1 {
		t.Errorf("the last batch is %+v", at)
	}
	c.Streams[0].LastBatch = nil
	given := slices.DeleteFunc(c.Options, func(o status.Option) bool { return o.From == "default" })
	c.Options = nil
	want := status.Container{
		ID: "web", Name: "web", State: status.ContainerRunning,
		Streams: []status.Stream{{
			Region: "r", RegionFrom: lookedUp, Role: "arn:aws:iam::123456789012:role/logs", Credentials: status.EndpointCredentials,
			Group: "g", GroupFrom: "LOGSPOUT_GROUP", Stream: "s-web", StreamFrom: "log option stream", Delivered: delivered,
		}},
		Traffic:     status.Traffic{Read: read, Delivered: delivered},
		Undelivered: status.Backlog{Lines: ptr(0)},
		Spool:       status.Spool{Bytes: c.Spool.Bytes, Limit: 256 << 20, HistoryLimit: 20 << 20, Full: "drop-oldest"},
		LastEvent:   time.Unix(0, 1e18+10).UTC(),
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	options := []status.Option{
		{Name: "group", Value: "g", From: "LOGSPOUT_GROUP"},
		{Name: "stream", Value: "s-{{.Name}}", From: "log option stream"},
		{Name: "role-arn", Value: "arn:aws:iam::123456789012:role/logs", From: "log option role-arn"},
		{Name: "credentials-endpoint", Value: "(not shown)", From: "log option credentials-endpoint"},
	}
	if diff := cmp.Diff(options, given); diff != "" {
		t.Errorf("the options that were given (-want +got):\n%s", diff)
	}
	if c.Spool.Bytes < 4096 {
		t.Errorf("%d bytes are on disk", c.Spool.Bytes)
	}
	h.stopContainer(f)
	h.gone()
	r := h.report()
	if diff := cmp.Diff(want.Traffic, r.Ended); len(r.Containers) > 0 || diff != "" {
		t.Errorf("after the end: %d containers, and what has ended, -want +got:\n%s", len(r.Containers), diff)
	}
}

// TestReportIsInTheOrderOfNames: the containers are in the order of their names, and those of
// one name in the order of their IDs.
func TestReportIsInTheOrderOfNames(t *testing.T) {
	h := newHost(t)
	h.start()
	for i, name := range []string{"c", "a", "c", "b"} {
		f := h.fifo(fmt.Sprint("f", i))
		if err := h.startLogging(f.path, &container.Info{ID: fmt.Sprint(9 - i), Name: "/" + name}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, c := range h.report().Containers {
		got = append(got, c.Name+c.ID)
	}
	if want := []string{"a8", "b6", "c7", "c9"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestReportShowsTheBacklog: while CloudWatch is down, the report has the number, the size and
// the time of the undelivered lines, and what stops the delivery. It has them again after a
// restart of the plugin, and nothing waits after the delivery.
func TestReportShowsTheBacklog(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	f.waitUntilEmpty()
	want := status.Backlog{Lines: ptr(10), Bytes: size("stdout", lines(1, 10)...), Oldest: time.Unix(0, 1e18+1).UTC()}
	check := func(what string) {
		t.Helper()
		until(t, "the backlog is known", func() bool { return h.one().Undelivered.Lines != nil })
		c := h.one()
		if diff := cmp.Diff(want, c.Undelivered); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		until(t, "the delivery fails", func() bool { c := h.one(); return len(c.Streams) == 1 && c.Streams[0].Error != nil })
	}
	check("during an outage")
	h.stop()
	h.start()
	check("after a restart")
	if c := h.one(); c.LastEvent.UnixNano() != 1e18+10 || c.Read != (status.Counter{}) {
		t.Errorf("after a restart, the last event is of %v, and %+v were read", c.LastEvent, c.Read)
	}
	h.stopContainer(f)
	until(t, "it has stopped", func() bool { return h.one().State == status.ContainerStopped })
	f = h.fifo("f2")
	h.startContainer("web", f, nil)
	h.shipper.setDown(false)
	h.shipper.wait(t, "g/web", 10)
	until(t, "all is delivered", func() bool { return h.one().Undelivered.Bytes == 0 })
	if c := h.one(); *c.Undelivered.Lines != 0 || !c.Undelivered.Oldest.IsZero() || c.Streams[0].Error != nil || c.Delivered.Lines != 10 {
		t.Errorf("after the delivery: %+v", c)
	}
	h.stopContainer(f)
}

// TestReportSaysWhyLinesAreHeld: a container whose lines are held has the reason in the
// report, and the first line's time although nothing is being read. The failure is in the set
// with a hint until the session ends.
func TestReportSaysWhyLinesAreHeld(t *testing.T) {
	for name, k := range map[string]struct {
		env     string
		locator Locator
		text    string
		remedy  string
	}{
		"region": {"DELAY=1", &noRegionLocator{}, "no AWS region found: no route to host", "set AWS_REGION"},
		"held":   {"KMS_KEY_ID=a key", fakeLocator{}, "KMS_KEY_ID is invalid", ""}, // the fault of the setting has it
		"group":  {"ALLOW_GROUPS=x", fakeLocator{}, "no log group is allowed: ALLOW_GROUPS", "set LOGSPOUT_GROUP"},
	} {
		t.Run(name, func(t *testing.T) {
			h, f := startHeld(t, k.env, k.locator)
			until(t, "it is held", func() bool { return h.one().State == status.ContainerHeld })
			until(t, "it is a failure", func() bool { return len(h.faults.Ongoing()) > 0 })
			check := func(what string) {
				c := h.one()
				u := c.Undelivered
				if !strings.HasPrefix(c.Held, k.text) || !strings.HasPrefix(c.HeldRemedy, k.remedy) || u.Lines == nil || *u.Lines != 100 || u.Oldest.UnixNano() != 1e18+1 {
					t.Errorf("%s: held because of %q, remedy %q, undelivered: %+v", what, c.Held, c.HeldRemedy, u)
				}
			}
			check("held")
			if o := h.faults.Ongoing()[0]; o.Attrs["hint"] == "" || !strings.Contains(o.Attrs["err"], strings.TrimPrefix(k.text, "no AWS region found: ")) {
				t.Errorf("the failure is %+v", o)
			}
			h.stop()
			if left := h.faults.Ongoing(); len(left) > 0 {
				t.Errorf("after the stop: %+v", left)
			}
			h.start()
			until(t, "the backlog is known", func() bool { u := h.one().Undelivered; return u.Lines != nil && !u.Oldest.IsZero() })
			until(t, "it is held again", func() bool { return strings.HasPrefix(h.one().Held, k.text) })
			check("after a restart")
			h.stopContainer(f)
		})
	}
}

// TestReportShowsAnIgnoredContainer: what an ignored container prints is read, and never
// undelivered.
func TestReportShowsAnIgnoredContainer(t *testing.T) {
	for _, history := range []string{"20m", "0"} {
		h := newHost(t, "HISTORY_SIZE="+history)
		h.start()
		f := h.fifo("f")
		must(t, h.startLogging(f.path, &container.Info{ID: "web", Name: "/web", Env: []string{"LOGSPOUT=ignore"}}))
		f.write("stdout", lines(1, 10)...)
		f.waitUntilEmpty()
		until(t, "it is counted", func() bool { return h.one().Read.Lines == 10 })
		if c := h.one(); c.State != status.ContainerIgnored || c.Undelivered.Bytes != 0 || *c.Undelivered.Lines != 0 {
			t.Errorf("%+v", c)
		}
		h.stopContainer(f)
		h.gone()
		h.stop()
	}
}

// TestReportCountsAcrossDeliveries: the totals of a container include its earlier runs, with
// other names and without a restart of the plugin.
func TestReportCountsAcrossDeliveries(t *testing.T) {
	h := newHost(t)
	h.start()
	keeper := h.fifo("keeper") // keeps the session
	h.startContainer("web", keeper, nil)
	for i, stream := range []string{"a", "a", "b", "a"} {
		f := h.fifo(fmt.Sprint("f", i))
		f.n = int64(i * 100)
		h.startContainer("web", f, map[string]string{"stream": stream})
		f.write("stdout", lines(1, 10)...)
		f.waitUntilEmpty()
		until(t, "it is delivered", func() bool { c := h.one(); return c.Undelivered.Bytes == 0 && c.Delivered.Lines == int64(10*i+10) })
		h.stopContainer(f)
	}
	c := h.one()
	if c.Read.Lines != 40 || c.Delivered.Lines != 40 || len(c.Streams) != 1 || c.Streams[0].Stream != "a" {
		t.Errorf("%+v", c)
	}
	h.stopContainer(keeper)
	h.gone()
	if r := h.report(); r.Ended.Delivered.Lines != 40 || r.Ended.Read.Lines != 40 {
		t.Errorf("ended: %+v", r.Ended)
	}
}

// TestReportHasAStreamPerOutput: if the outputs go to two streams, each has its own counters.
func TestReportHasAStreamPerOutput(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, map[string]string{"stream": "{{.Source}}"})
	f.write("stdout", lines(1, 10)...)
	f.write("stderr", lines(1, 5)...)
	until(t, "it is delivered", func() bool { return h.one().Delivered.Lines == 15 })
	c := h.one()
	if len(c.Streams) != 2 || c.Streams[0].Output != "stdout" || c.Streams[0].Delivered.Lines != 10 ||
		c.Streams[1].Output != "stderr" || c.Streams[1].Stream != "stderr" || c.Streams[1].Delivered.Lines != 5 {
		t.Errorf("%+v", c.Streams)
	}
	h.wantLogged("level=INFO", "delivering a container's lines", "group=g", "stream=stdout", "stderr_stream=stderr")
	h.stopContainer(f)
}

// TestReportCountsLosses: losses count by the reason in the marker, whether the spool or the
// delivery loses the lines or reading finds that they are damaged, and each once.
func TestReportCountsLosses(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, map[string]string{"spool-max-size": "1m"})
	f.raw(append([]byte(strings.Repeat("garbage ", 10)), dockertest.Frame("stdout", 1e18, "a line", nil)...)) // one write(2)
	h.shipper.wait(t, "g/web", 2)
	until(t, "the damage is counted", func() bool { return len(h.one().Losses) == 1 })
	until(t, "the marker is acknowledged", func() bool { return h.one().PendingGaps == 0 })
	c := h.one()
	want := []status.Loss{{Reason: "unreadable", Text: "what was written to the FIFO could not be read", Counter: status.Counter{Bytes: 80}}}
	if diff := cmp.Diff(want, c.Losses, cmpopts.IgnoreFields(status.Loss{}, "Last")); diff != "" || time.Since(c.Losses[0].Last) > time.Minute {
		t.Errorf("-want +got:\n%s", diff)
	}
	until(t, "the intake has counted it", func() bool { return h.report().Intake.Resyncs > 0 })
	// The intake may see the damage in two reads.
	if i := h.report().Intake; i.Resyncs > 2 || i.ResyncBytes == 0 || i.ResyncBytes > 80 || i.Reads == 0 || i.FIFOs != 1 {
		t.Errorf("intake: %+v", i)
	}
	h.shipper.setDown(true)
	for range 300 {
		f.write("stdout", strings.Repeat("x", 10_000))
	}
	f.waitUntilEmpty()
	until(t, "lines are lost", func() bool { return h.one().Dropped["spool_full"].Lines > 0 && h.one().Read.Lines >= 300 })
	c = h.one()
	u := c.Undelivered
	if c.PendingGaps == 0 || u.Lines == nil || *u.Lines+c.Dropped["spool_full"].Lines+c.Delivered.Lines-2 != 300 || u.Bytes > 1<<20 {
		t.Errorf("%+v", c)
	}
	if !slices.ContainsFunc(h.faults.Ongoing(), func(o faultlog.Ongoing) bool {
		return o.Attrs["reason"] == "spool_full" && o.Attrs["hint"] == hintSpoolFull && o.Attrs["container"] == "web (web)"
	}) {
		t.Errorf("the loss is not a failure with a hint: %+v", h.faults.Ongoing())
	}
	h.shipper.setDown(false)
	until(t, "all is delivered", func() bool { c := h.one(); return c.Undelivered.Bytes == 0 && c.PendingGaps == 0 })
	if c = h.one(); c.Losses[len(c.Losses)-1].Reason != "spool_full" || c.Delivered.Lines-2-(300-c.Dropped["spool_full"].Lines) < 1 {
		t.Errorf("delivered %d, lost %+v", c.Delivered.Lines, c.Losses)
	}
	h.stopContainer(f)
	h.gone()
	if got := h.report().Ended.Dropped["unreadable"].Bytes; got != 80 {
		t.Errorf("%d unreadable bytes have ended", got)
	}
}

// TestReportAnswersWhileTheDiskHangs: whatever operation of the disk hangs, the report has the
// containers as they were.
func TestReportAnswersWhileTheDiskHangs(t *testing.T) {
	for _, op := range []string{"WriteAt", "OpenFile", "ReadAt", "Rename", "Remove", "ReadDir", "MkdirAll", "ReadFile"} {
		t.Run(op, func(t *testing.T) {
			h := newHost(t, "HISTORY_SIZE=0")
			disk := h.onHangingDisk()
			h.start()
			f := h.fifo("web")
			h.startContainer("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			h.shipper.wait(t, "g/web", 10)
			stopped := h.fifo("stopped")
			h.startContainer("stopped", stopped, nil)
			until(t, "all is delivered", func() bool { return h.report().Containers[1].Undelivered.Bytes == 0 })
			disk.hang(func(o, _ string) bool { return o == op })
			var wg sync.WaitGroup
			wg.Go(func() { // something of this hangs
				f.write("stdout", lines(11, 20)...)
			})
			wg.Go(func() { h.stopLogging(t.Context(), stopped.path); stopped.close() })
			late := h.fifo("late")
			wg.Go(func() { _ = h.startLogging(late.path, &container.Info{ID: "late", Name: "/late"}) })
			until(t, "something hangs", func() bool { return disk.hung.Load() > 0 })
			for range 20 {
				done := make(chan *status.Report)
				go func() { done <- h.report() }()
				select {
				case r := <-done:
					i := slices.IndexFunc(r.Containers, func(c status.Container) bool { return c.ID == "web" })
					if i < 0 || r.Containers[i].State != status.ContainerRunning || r.Containers[i].Read.Lines < 10 {
						t.Fatalf("%+v", r.Containers)
					}
				case <-time.After(time.Minute):
					t.Fatal("the report waits for the disk")
				}
				time.Sleep(time.Millisecond)
			}
			disk.release()
			wg.Wait()
			h.shipper.wait(t, "g/web", 20)
			h.stopContainer(f)
			h.stopContainer(late)
			h.waitForNoSession()
		})
	}
}

// TestReportAnswersWhileAnAppendHangs: while Append waits for the disk with the spool's lock
// held, the report is not delayed by the start of the delivery or of the next container run,
// which wait for that lock.
func TestReportAnswersWhileAnAppendHangs(t *testing.T) {
	h := newHost(t)
	region := &noRegionLocator{}
	h.locator = region
	disk := h.onHangingDisk()
	h.start()
	f := h.fifo("web")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	until(t, "it is held", func() bool { return h.one().State == status.ContainerHeld })
	f.waitUntilEmpty()
	disk.hang(func(op, name string) bool { return op == "WriteAt" && strings.HasSuffix(name, ".seg") })
	f.write("stdout", lines(11, 20)...)
	until(t, "Append hangs", func() bool { return disk.hung.Load() > 0 })
	answers := func(what string) {
		t.Helper()
		for range 50 {
			done := make(chan status.Container)
			go func() { done <- h.one() }()
			select {
			case c := <-done:
				if c.Read.Lines < 10 || c.Undelivered.Lines == nil || *c.Undelivered.Lines < 10 {
					t.Fatalf("%s: %+v", what, c)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: the report waits", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	answers("Append hangs")
	var wg sync.WaitGroup
	next := h.fifo("next")
	wg.Go(func() { h.startContainer("web", next, map[string]string{"delay": "1s"}) })
	answers("the next run begins")
	region.mu.Lock()
	region.found = true
	region.mu.Unlock()
	until(t, "the delivery begins", func() bool { return strings.Contains(h.logged(), "delivering a container's lines") })
	answers("the delivery begins")
	disk.release()
	wg.Wait()
	h.shipper.wait(t, "g/web", 20)
	h.stopContainer(f)
	h.stopContainer(next)
}

// TestNamesAreAnnouncedOnce: one line per container run says where its lines go and why. It
// comes with the first line, and not after each restart of the container.
func TestNamesAreAnnouncedOnce(t *testing.T) {
	h := newHost(t)
	h.start()
	const message = "delivering a container's lines"
	count := func() int { return strings.Count(h.logged(), message) }
	env := []string{"LOGSPOUT_GROUP={{.Bad"}
	start := func(f *fakeFIFO, stream string) {
		must(t, h.startLogging(f.path, &container.Info{ID: "web", Name: "/web", Env: env, Config: map[string]string{"stream": stream}}))
	}
	var s *session
	for i := range 3 {
		f := h.fifo(fmt.Sprint("f", i))
		f.n = int64(100 * i)
		start(f, "a")
		if i == 0 {
			if s = h.all()[0]; count() != 0 {
				t.Error("announced before there is a line")
			}
			s.hold() // so that the session does not end between the starts
		}
		f.write("stdout", "a line")
		h.shipper.wait(t, "host/a", i+1)
		h.stopContainer(f)
		until(t, "the delivery has ended", func() bool { return s.deliveries.Load() == nil })
	}
	if n := count(); n != 1 {
		t.Errorf("announced %d times", n)
	}
	h.wantLogged("level=INFO", message, `container="web (web)"`, "region=r", "group=host", "stream=a",
		`group_from="default, instead of the container's LOGSPOUT_GROUP: `, `stream_from="log option stream"`)
	f := h.fifo("other")
	f.n = 1000
	start(f, "b")
	f.write("stdout", "a line")
	h.shipper.wait(t, "host/b", 1)
	h.wantLogged("level=INFO", message, "stream=b")
	if n := count(); n != 2 {
		t.Errorf("announced %d times", n)
	}
	h.stopContainer(f)
	s.release()
}

// TestFailuresOfAContainerEndWithIt: a failure to spool is in the set with a hint while it
// lasts, and not after its container has stopped.
func TestFailuresOfAContainerEndWithIt(t *testing.T) {
	for _, recovers := range []bool{true, false} {
		h := newHost(t)
		disk := h.onHookedDisk()
		h.start()
		f := h.fifo("f")
		h.startContainer("web", f, nil)
		disk.Before(durabletest.Fail("WriteAt", ".seg", unix.ENOSPC))
		f.write("stdout", "lost")
		const message = "cannot spool a container's output"
		until(t, "it fails", func() bool { return h.ongoing(message) != nil })
		if o := h.ongoing(message); o.Attrs["hint"] != hintDiskFull || o.Attrs["container"] != "web (web)" {
			t.Errorf("%+v", o)
		}
		if recovers {
			disk.Before(nil)
			f.write("stdout", "kept")
			until(t, "it works again", func() bool { return h.ongoing(message) == nil })
			until(t, "that is logged", func() bool { return strings.Contains(h.logged(), "a container's output can be spooled again") })
			h.wantLogged("level=INFO", "a container's output can be spooled again", `container="web (web)"`)
		}
		h.stopContainer(f)
		until(t, "the FIFO is closed", func() bool { return h.report().Intake.FIFOs == 0 })
		if o := h.ongoing(message); o != nil {
			t.Errorf("after the end: %+v", o)
		}
		disk.Before(nil)
		h.gone()
		if o := h.ongoing("a container's lines are lost"); o != nil {
			t.Errorf("after the end: %+v", o)
		}
	}
}

// TestUnopenedContainerIsAFailure: a container that cannot be opened at the start is in the
// set until it is open.
func TestUnopenedContainerIsAFailure(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	f := h.stopUndelivered()
	disk.Before(durabletest.Fail("ReadFile", "attachments.json", errors.New("bad sector")))
	h.start()
	const message = "cannot read a container's record"
	until(t, "it fails", func() bool { return h.ongoing(message) != nil })
	if o := h.ongoing(message); o.Attrs["hint"] != hintDisk || o.Attrs["container"] != "web" || o.Attrs["err"] == "" {
		t.Errorf("%+v", o)
	}
	disk.Before(nil)
	if _, ok := h.reattachOne("web", true); !ok || h.ongoing(message) != nil {
		t.Errorf("it is not open: %+v", h.ongoing(message))
	}
	h.wantLogged("level=INFO", "a container's spool is open", "container=web")
	h.shipper.setDown(false)
	h.shipper.wait(t, "g/web", 10)
	h.stopContainer(f)
}

// TestRefusedContainersAreAFailure: containers for which there is no descriptor are counted,
// and are a failure until none was refused for ten minutes.
func TestRefusedContainersAreAFailure(t *testing.T) {
	h := newHost(t)
	h.openFiles = 4
	h.start()
	var last *fakeFIFO
	for i := range 3 {
		last = h.fifo(fmt.Sprint("f", i))
		err := h.startLogging(last.path, &container.Info{ID: fmt.Sprint("c", i), Name: fmt.Sprint("/c", i)})
		if (err != nil) != (i == 2) {
			t.Fatalf("container %d: %v", i, err)
		}
	}
	const message = "containers are refused because too many files are open"
	if o := h.ongoing(message); o == nil || o.Attrs["container"] != "c2 (c2)" || o.Attrs["hint"] != hintFiles {
		t.Errorf("%+v", o)
	}
	r := h.report()
	if r.Intake.Refused != 1 || r.Process.MaxContainers != 2 {
		t.Errorf("%+v, %+v", r.Intake, r.Process)
	}
	h.refused.check(time.Now().Add(refusedTime - time.Second))
	if h.ongoing(message) == nil {
		t.Error("it ends too early")
	}
	h.refused.check(time.Now().Add(refusedTime))
	if h.ongoing(message) != nil {
		t.Error("it does not end")
	}
	if _, err := parseOptions(h.settings, map[string]string{"delay": "x"}, nil, nil); err == nil {
		t.Fatal("the option is valid")
	}
	if err := h.startLogging(last.path, &container.Info{ID: "typo", Config: map[string]string{"delay": "x"}}); err == nil {
		t.Error("a bad option is accepted")
	}
	if h.report().Intake.Refused != 2 || h.ongoing(message) != nil {
		t.Errorf("after a typo: %+v, %v", h.report().Intake, h.ongoing(message))
	}
}

// TestReportShowsTheDisk: the report has the last sample of the file system, also while
// statfs hangs. A full disk is a failure with a hint.
func TestReportShowsTheDisk(t *testing.T) {
	var free, inodes, hangs atomic.Uint64
	release := make(chan struct{})
	free.Store(1 << 20)
	inodes.Store(100)
	statfs = func(_ string, s *unix.Statfs_t) error {
		if hangs.Load() > 0 {
			hangs.Add(1)
			<-release
		}
		*s = unix.Statfs_t{Bavail: free.Load(), Blocks: 4 << 20, Frsize: 4096, Files: 1000, Ffree: inodes.Load()}
		return nil
	}
	h := newHost(t, "SPOOL_TOTAL_SIZE=1g")
	t.Cleanup(func() { statfs = unix.Statfs })
	h.start()
	until(t, "there is a sample", func() bool { return h.report().Disk.Size > 0 })
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	f.write("stdout", "a line")
	h.shipper.wait(t, "g/web", 1)
	d := h.report().Disk
	want := status.Disk{StateDir: filepath.Join(h.dir, "state"), Limit: 1 << 30, Used: d.Used, Free: 4 << 30, Size: 16 << 30, FreeInodes: 100, Inodes: 1000}
	if diff := cmp.Diff(want, d); diff != "" || d.Used != h.one().Spool.Bytes {
		t.Errorf("%d bytes used, -want +got:\n%s", d.Used, diff)
	}
	h.stopContainer(f)
	h.gone()
	if d := h.report().Disk; d.Archived == 0 || d.Archived != d.Used {
		t.Errorf("after the end: %+v", d)
	}

	const message = "the disk of the state directory is full"
	for _, full := range []struct{ free, inodes uint64 }{{10, 100}, {1 << 20, 0}} {
		free.Store(full.free)
		inodes.Store(full.inodes)
		h.space.sample(t.Context())
		if o := h.ongoing(message); o == nil || o.Attrs["hint"] == "" {
			t.Errorf("%+v: %+v", full, o)
		}
		free.Store(1 << 20)
		inodes.Store(100)
		h.space.sample(t.Context())
		if o := h.ongoing(message); o != nil {
			t.Errorf("with space: %+v", o)
		}
	}
	hangs.Store(1)
	go h.space.sample(t.Context())
	until(t, "statfs hangs", func() bool { return hangs.Load() > 1 })
	if d := h.report().Disk; d.Size == 0 {
		t.Errorf("while statfs hangs: %+v", d)
	}
	h.stop()
	close(release)
}
