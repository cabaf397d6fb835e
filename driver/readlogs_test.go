package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"golang.org/x/time/rate"

	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// docker serves the driver and returns a dockerd that uses it.
func (h *host) docker() *dockertest.Daemon {
	h.t.Helper()
	socket := filepath.Join(h.t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		h.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.Handler().Serve(l) }()
	d, err := dockertest.NewDaemon(dockertest.Options{Socket: socket, Dir: filepath.Join(h.dir, "fifos"), Backoff: time.Millisecond})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { d.Kill(); l.Close(); <-served })
	return d
}

// begin begins a container's log.
func begin(t *testing.T, d *dockertest.Daemon, info dockertest.Info) *dockertest.Container {
	t.Helper()
	c, err := d.Start(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// all asks for everything there is.
var all = dockertest.ReadConfig{Tail: -1}

// entry is one of an answer to docker logs.
type entry struct {
	at     int64
	source string
	text   string
}

// answerReader reads an answer as dockerd does.
type answerReader struct {
	t    *testing.T
	body io.ReadCloser
	dec  logdriver.LogEntryDecoder
}

func readLogs(t *testing.T, d *dockertest.Daemon, id string, config dockertest.ReadConfig) *answerReader {
	t.Helper()
	body, err := d.ReadLogs(t.Context(), dockertest.Info{ContainerID: id}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { body.Close() })
	return &answerReader{t, body, logdriver.NewLogEntryDecoder(body)}
}

// next returns the next entry; the error is io.EOF at a good end.
func (r *answerReader) next() (entry, error) {
	var e logdriver.LogEntry
	err := r.dec.Decode(&e)
	return entry{e.TimeNano, e.Source, string(e.Line)}, err
}

// rest returns the entries until the end, which must be a good one.
func (r *answerReader) rest() (got []entry) {
	r.t.Helper()
	for {
		e, err := r.next()
		if err == io.EOF {
			return got
		}
		if err != nil {
			r.t.Fatalf("after %d entries: %v", len(got), err)
		}
		got = append(got, e)
	}
}

func texts(entries []entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.text)
	}
	return out
}

// writeLast writes a line to the container called web, and waits until it can be read.
func writeLast(t *testing.T, d *dockertest.Daemon, c *dockertest.Container, line string) {
	t.Helper()
	must(t, c.Write("stdout", line))
	r := readLogs(t, d, "web", dockertest.ReadConfig{Tail: -1, Follow: true})
	defer r.body.Close()
	for {
		if e, err := r.next(); err != nil {
			t.Fatal(err)
		} else if e.text == line {
			return
		}
	}
}

// jsonFile is what json-file answers from these entries (moby, daemon/logger/loggerutils, LogFile.ReadLogs): first the
// tail is counted, then what is too early passed over, and at the first that is too late it ends.
func jsonFile(entries []entry, c dockertest.ReadConfig) (want []entry) {
	if c.Tail >= 0 {
		entries = entries[max(0, len(entries)-c.Tail):]
	}
	for _, e := range entries {
		at := time.Unix(0, e.at)
		if !c.Since.IsZero() && at.Before(c.Since) {
			continue
		}
		if !c.Until.IsZero() && at.After(c.Until) {
			break
		}
		want = append(want, e)
	}
	return want
}

// TestReadLogs: what docker logs asks for is answered as json-file would, while the container runs, when it has
// stopped, when the plugin was started again, and when the container was.
func TestReadLogs(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	long := strings.Repeat("0123456789abcdef", 3*1024) // of three pieces, and a last one without text
	var want []entry
	at := time.Unix(1_700_000_000, 0)
	write := func(c *dockertest.Container, source, output string, pieces ...string) {
		t.Helper()
		at = at.Add(time.Millisecond)
		must(t, c.WriteAt(at, source, output))
		for _, p := range pieces {
			want = append(want, entry{at.UnixNano(), source, p})
		}
	}
	run := func() *dockertest.Container {
		t.Helper()
		c := begin(t, d, dockertest.Info{ContainerID: "web", ContainerName: "/web"})
		for i := range 500 {
			line := fmt.Sprintf("line %d\n", i)
			write(c, []string{"stdout", "stderr"}[i%3%2], line, line)
		}
		write(c, "stdout", "\n", "\n")
		write(c, "stdout", long+"\n", long[:16<<10], long[:16<<10], long[:16<<10], "\n")
		write(c, "stderr", "bin\xffary\x00\r\n", "bin\ufffdary\x00\r\n")
		return c
	}
	ask := func(state string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); len(readLogs(t, d, "web", all).rest()) < len(want); {
			if time.Now().After(deadline) { // the intake has not been there yet
				t.Fatalf("%s: not all is there", state)
			}
		}
		times := []time.Time{{}, time.Unix(0, want[0].at), time.Unix(0, want[len(want)/2].at), time.Unix(0, want[len(want)-1].at),
			time.Unix(0, want[len(want)/2].at+1), time.Unix(0, 0), time.Unix(1<<37, 0), time.Unix(-1<<35, 0)}
		tails := []int{-1, -7, 0, 1, 2, 10, len(want) - 1, len(want), len(want) + 1, 1 << 62}
		if state != "running" { // each question opens it and puts it away
			tails, times = []int{-1, 0, 10}, times[:5]
		}
		for _, tail := range tails {
			for _, since := range times {
				for _, until := range times {
					c := dockertest.ReadConfig{Tail: tail, Since: since, Until: until}
					if got := readLogs(t, d, "web", c).rest(); !slices.Equal(got, jsonFile(want, c)) {
						t.Fatalf("%s: %+v: got %d entries, want %d: %.200v", state, c, len(got), len(jsonFile(want, c)), got)
					}
				}
			}
		}
	}
	c := run()
	ask("running")
	at = at.Add(time.Millisecond)
	begun := time.Now()
	must(t, c.Write("stdout", "no newline"))
	must(t, c.Stop(t.Context()))
	got := readLogs(t, d, "web", dockertest.ReadConfig{Tail: 1}).rest()
	if len(got) != 1 || got[0].text != "no newline" || got[0].at < begun.UnixNano() {
		t.Fatalf("the end is %v", got)
	}
	want, at = append(want, got...), time.Unix(0, got[0].at)
	ask("stopped")
	h.gone()
	ask("put away")
	h.stop()
	h.start()
	d = h.docker()
	ask("another plugin")
	c = run()
	ask("started again")
	must(t, c.Stop(t.Context()))
	ask("stopped again")
}

// TestFollow: a follow gets each line when it is there, and ends when the container's logging does, with all of that
// and nothing of the next run.
func TestFollow(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	follow := dockertest.ReadConfig{Tail: -1, Follow: true}
	r := readLogs(t, d, "web", follow) // returns although there is nothing yet
	for i := range 10 {
		line := fmt.Sprintf("line %d\n", i)
		must(t, c.Write("stdout", line))
		if e, err := r.next(); err != nil || e.text != line {
			t.Fatalf("%v, %v", e, err)
		}
	}
	late := readLogs(t, d, "web", dockertest.ReadConfig{Since: time.Now().Add(time.Hour), Tail: -1, Follow: true})
	end := readLogs(t, d, "web", dockertest.ReadConfig{Until: time.Unix(0, 1), Follow: true})
	must(t, c.WriteAt(time.Unix(0, 1), "stdout", "in time\n"))
	must(t, c.Write("stdout", "last\nwords"))
	if got := texts(end.rest()); !slices.Equal(got, []string{"in time\n"}) {
		t.Errorf("until a moment: %q", got)
	}
	must(t, c.Stop(t.Context()))
	c = begin(t, d, dockertest.Info{ContainerID: "web"})
	if got := texts(r.rest()); !slices.Equal(got, []string{"in time\n", "last\n", "words"}) {
		t.Errorf("the end: %q", got)
	}
	if got := late.rest(); len(got) != 0 {
		t.Errorf("since the future: %v", got)
	}
	must(t, c.Stop(t.Context()))
	h.gone()
	// Nothing is attached: dockerd asks so when the container has just stopped.
	if got := readLogs(t, d, "web", follow).rest(); len(got) != 13 {
		t.Errorf("of a stopped container %d entries", len(got))
	}
}

// TestFollowEndsWithItsRun: a follow whose client is slow gets all of the run, and nothing of the next one, although that
// is there before the end of the first is read.
func TestFollowEndsWithItsRun(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web"}
	c := begin(t, d, info)
	r := readLogs(t, d, "web", dockertest.ReadConfig{Tail: -1, Follow: true})
	const n = 5000 // more than the connection takes
	for range n {
		must(t, c.Write("stdout", strings.Repeat("x", 1000)+"\n"))
	}
	must(t, c.Stop(t.Context()))
	c = begin(t, d, info)
	next := readLogs(t, d, "web", dockertest.ReadConfig{Follow: true})
	must(t, c.Write("stdout", "the next run\n"))
	if e, err := next.next(); err != nil || e.text != "the next run\n" {
		t.Fatalf("%v, %v", e, err)
	}
	if got := r.rest(); len(got) != n || got[n-1].text == "the next run\n" {
		t.Errorf("got %d entries, want %d; the last is %.20q", len(got), n, got[len(got)-1].text)
	}
	must(t, c.Stop(t.Context()))
}

// TestReadEnds: an answer that does not follow ends with what there was when it was asked for, also while the container
// writes faster than it is read.
func TestReadEnds(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	const n = 5000 // more than the connection takes
	for range n {
		must(t, c.Write("stdout", strings.Repeat("x", 1000)+"\n"))
	}
	writeLast(t, d, c, "the last when asked\n")
	r := readLogs(t, d, "web", dockertest.ReadConfig{Tail: n})
	if _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	writeLast(t, d, c, "one more\n")
	if got := r.rest(); len(got) != n-1 || got[n-2].text != "the last when asked\n" {
		t.Errorf("%d entries follow the first, want %d; the last is %.20q", len(got), n-1, got[len(got)-1].text)
	}
	must(t, c.Stop(t.Context()))
}

// TestFollowerIsSlowedDown: in a flood a follower gets its share and no more, and the rest when the container has stopped.
// Who does not follow gets all there is.
func TestFollowerIsSlowedDown(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	o, written := h.all()[0].outrun, atomic.Uint64{}
	o.end = func() uint64 { return written.Add(1 << 30) } // a flood, in which nobody keeps up
	o.easy = rate.NewLimiter(0, 0)
	o.after.add(time.Now(), 0, time.Hour)
	o.limiter = rate.NewLimiter(1e-9, slowEntries)
	const n = 5000
	for range n - 1 {
		must(t, c.Write("stdout", "a line\n"))
	}
	must(t, c.Write("stdout", "the last\n"))
	until(t, "all of it is there", func() bool { return len(readLogs(t, d, "web", all).rest()) == n })
	r := readLogs(t, d, "web", dockertest.ReadConfig{Tail: -1, Follow: true})
	var got atomic.Int64
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := r.next(); err != nil {
				ended <- err
				return
			}
			got.Add(1)
		}
	}()
	until(t, "it waits", func() bool { return o.limiter.Tokens() < 0 })
	if most := int64(answerEntries + 2*slowEntries); got.Load() > most {
		t.Errorf("it got %d entries, want %d at most", got.Load(), most)
	}
	must(t, c.Stop(t.Context()))
	if err := <-ended; err != io.EOF || got.Load() != n {
		t.Errorf("it got %d entries of %d, and %v", got.Load(), n, err)
	}
}

// TestFollowerLeaves: what a follow holds is given back when its client goes, and the session ends.
func TestFollowerLeaves(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	ctx, leave := context.WithCancel(t.Context())
	for range 20 {
		if _, err := d.ReadLogs(ctx, dockertest.Info{ContainerID: "web"}, dockertest.ReadConfig{Tail: -1, Follow: true}); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	h.readers.Wait()
	must(t, c.Stop(t.Context()))
	h.gone()
}

// TestStopBreaksOff: the plugin's stop ends every answer, also of a client that does not read, and none of these looks
// like the whole.
func TestStopBreaksOff(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	// More than the connection takes, in one entry: when an answer has begun, it is stuck.
	must(t, c.WriteEntry(&logdriver.LogEntry{Source: "stdout", TimeNano: 1, Line: make([]byte, 1<<20)}))
	writeLast(t, d, c, "the last\n")
	idle := readLogs(t, d, "web", dockertest.ReadConfig{Tail: 1, Follow: true})
	if _, err := idle.next(); err != nil {
		t.Fatal(err)
	}
	stuck := readLogs(t, d, "web", all)
	h.stop()
	for _, r := range []*answerReader{idle, stuck} {
		var err error
		for err == nil {
			_, err = r.next()
		}
		if err == io.EOF {
			t.Error("an answer that was cut ends well")
		}
	}
}

// TestReaderKeepsSession: what is being read is not put away or removed.
func TestReaderKeepsSession(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	line := strings.Repeat("x", 1000) + "\n"
	for range 4999 {
		must(t, c.Write("stdout", line))
	}
	writeLast(t, d, c, "the last\n")
	r := readLogs(t, d, "web", all)
	if _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	must(t, c.Stop(t.Context()))
	h.shipper.wait(t, "g/web", 5000)
	// All is delivered and nothing is attached, which is when a session ends.
	for range 200 {
		if len(h.containers()) == 0 {
			t.Fatal("it was put away")
		}
		time.Sleep(time.Millisecond)
	}
	if got := len(r.rest()); got != 4999 {
		t.Errorf("%d entries follow the first, want 4999", got)
	}
	h.gone()
}

// TestReadWhileTakenAway: what is at rest is given whole, although the container is started again or its age comes
// while it is read.
func TestReadWhileTakenAway(t *testing.T) {
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	for name, during := range map[string]func(*host, *dockertest.Daemon) (end func()){
		"started again": func(h *host, d *dockertest.Daemon) func() {
			c := begin(h.t, d, info)
			return func() { must(h.t, c.Stop(h.t.Context())) }
		},
		"too old": func(h *host, _ *dockertest.Daemon) func() {
			h.Driver.archive.Expire(time.Now().Add(1000 * time.Hour))
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.start()
			d := h.docker()
			c := begin(t, d, info)
			const n = 12_000 // of several segments, and more than the connection takes
			for range n {
				must(t, c.Write("stdout", strings.Repeat("x", 1000)+"\n"))
			}
			must(t, c.Stop(t.Context()))
			h.shipper.wait(t, "g/web", n)
			h.gone()
			r := readLogs(t, d, "web", all)
			if _, err := r.next(); err != nil {
				t.Fatal(err)
			}
			end := during(h, d)
			if got := len(r.rest()); got != n-1 {
				t.Errorf("%d entries follow the first, want %d", got, n-1)
			}
			end()
			h.gone()
		})
	}
}

// TestReadRefused: what cannot be answered is told as an error, before any entry.
func TestReadRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		env    string
		info   dockertest.Info
		status int
		want   string
	}{
		{"no container", "", dockertest.Info{}, 500, "not a container's ID"},
		{"a path", "", dockertest.Info{ContainerID: "../../etc"}, 500, "not a container's ID"},
		{"no history", "", dockertest.Info{ContainerID: "x", Config: map[string]string{"history-size": "0"}}, 500, "history-size is 0 for this container"},
		{"none at all", "HISTORY_SIZE=0", dockertest.Info{ContainerID: "x"}, 500, "HISTORY_SIZE is 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t, tc.env)
			h.start()
			d := h.docker()
			_, err := d.ReadLogs(t.Context(), tc.info, all)
			refused, ok := errors.AsType[*dockertest.Error](err)
			if !ok || refused.Status != tc.status || !strings.Contains(refused.Msg, tc.want) {
				t.Errorf("got %v, want status %d and %q", err, tc.status, tc.want)
			}
			capability, err := d.Capabilities(t.Context())
			if err != nil || capability.ReadLogs != (tc.env == "") {
				t.Errorf("capabilities %+v, %v", capability, err)
			}
		})
	}
	h := newHost(t)
	h.start()
	d := h.docker()
	if got := readLogs(t, d, "unknown", all).rest(); len(got) != 0 {
		t.Errorf("of an unknown container: %v", got)
	}
	for body, want := range map[string]int{
		``: 400, `{`: 400, `{"Config":{"Tail":1e99}}`: 400, `{"Config":{"Since":"yesterday"}}`: 400, `{"Info":{"ContainerID":"x"}}`: 200,
		`{"Info":{"ContainerID":"x"},"Config":null}`: 200, `{"Info":null}`: 500,
	} {
		status, answer, err := d.Post(t.Context(), "LogDriver.ReadLogs", []byte(body))
		if err != nil || status != want || (status == 200) != (len(answer) == 0) {
			t.Errorf("%s: status %d, %q, %v; want %d", body, status, answer, err, want)
		}
	}
}

// TestReadDamaged: what is left of a damaged history is given, and neither a hang nor a crash.
func TestReadDamaged(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	var want []string
	for i := range 30_000 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 100))
		want = append(want, line)
		must(t, c.Write("stdout", line))
	}
	must(t, c.Stop(t.Context()))
	h.shipper.wait(t, "g/web", len(want))
	h.gone()
	segments, _ := filepath.Glob(filepath.Join(h.dir, "state", "stopped", "web", "spool", "*.seg"))
	if len(segments) < 2 {
		t.Fatalf("segments: %q", segments)
	}
	f, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damaged"), 100_000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got := texts(readLogs(t, d, "web", all).rest())
	if len(got) == len(want) || len(got) < len(want)/2 || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("%d of %d lines are left, the last is %.20q", len(got), len(want), got[len(got)-1])
	}
	h.gone()
	for _, path := range segments {
		if err := os.WriteFile(path, []byte("nothing of the kind"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, config := range []dockertest.ReadConfig{all, {Tail: 10}, {Tail: -1, Follow: true}} {
		if got := readLogs(t, d, "web", config).rest(); len(got) != 0 {
			t.Errorf("of nothing: %.100v", got)
		}
	}
}

// TestReadBreaksOff: an answer that cannot be read on does not look like the whole.
func TestReadBreaksOff(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	for range 10_000 {
		must(t, c.Write("stdout", strings.Repeat("x", 1000)+"\n"))
	}
	r := readLogs(t, d, "web", all)
	if _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	disk.Before(durabletest.Fail(durabletest.OpenToRead, "", syscall.EMFILE))
	var err error
	for err == nil {
		_, err = r.next()
	}
	if err == io.EOF {
		t.Error("an answer that broke off ends well")
	}
	for _, config := range []dockertest.ReadConfig{{Tail: 5}, all, {Tail: -1, Follow: true}, {Tail: -1, Since: time.Unix(1, 0)}} {
		_, err = d.ReadLogs(t.Context(), dockertest.Info{ContainerID: "web"}, config)
		if refused, ok := errors.AsType[*dockertest.Error](err); !ok || refused.Status != 500 || !strings.Contains(refused.Msg, "too many open files") {
			t.Errorf("of a history that cannot be opened, %+v: %v", config, err)
		}
	}
	disk.Before(nil)
	must(t, c.Stop(t.Context()))
}

// TestReadOverNoEntry: what has the form of an entry and is none costs no other, also none that begins within it.
func TestReadOverNoEntry(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	must(t, c.Write("stdout", "one\n"))
	must(t, c.WriteRaw([]byte{0, 0, 0, 100, 0x0a, 0x7f, 1, 1}))
	must(t, c.Write("stdout", "two\nthree\nfour\nfive\nsix\n"))
	writeLast(t, d, c, "seven\n")
	if got := strings.Join(texts(readLogs(t, d, "web", all).rest()), ""); got != "one\ntwo\nthree\nfour\nfive\nsix\nseven\n" {
		t.Errorf("read %q", got)
	}
	must(t, c.Stop(t.Context()))
}

// TestIgnoredIsNotBounded: how much may wait to be delivered does not bound the log of a container that is not shipped;
// its history's size does.
func TestIgnoredIsNotBounded(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	const n = 50_000
	for id, size := range map[string]string{"all": "20m", "few": "64k"} {
		config := map[string]string{"spool-max-size": "64k", "spool-full": "drop-newest", "history-size": size}
		c := begin(t, d, dockertest.Info{ContainerID: id, ContainerEnv: []string{"LOGSPOUT=ignore"}, Config: config})
		for range n {
			must(t, c.Write("stdout", "a short line\n"))
		}
		must(t, c.Stop(t.Context()))
		h.gone()
		got, used := len(readLogs(t, d, id, all).rest()), h.budget.Used()
		if id == "all" && got != n || id == "few" && (got == 0 || got > n/10) {
			t.Errorf("%s: %d entries of %d", id, got, n)
		}
		t.Logf("%s: %d entries, %d bytes in all", id, got, used)
	}
}

// TestIgnored: of a container that asks to be ignored nothing is shipped, and docker logs has all of it, also after a
// restart.
func TestIgnored(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerEnv: []string{"LOGSPOUT=ignore"}}
	c := begin(t, d, info)
	r := readLogs(t, d, "web", dockertest.ReadConfig{Tail: -1, Follow: true})
	line := strings.Repeat("x", 1000) + "\n"
	for range 3000 {
		must(t, c.Write("stdout", line))
	}
	for range 3000 {
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
	}
	h.stop()
	h.start()
	d = h.docker()
	if err := d.StopLogging(t.Context(), c.File); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	h.gone()
	if got := len(readLogs(t, d, "web", all).rest()); got != 3000 {
		t.Errorf("%d entries, want 3000", got)
	}
	h.shipper.mu.Lock()
	defer h.shipper.mu.Unlock()
	if len(h.shipper.delivered) != 0 {
		t.Errorf("shipped: %.200v", h.shipper.delivered)
	}
}
