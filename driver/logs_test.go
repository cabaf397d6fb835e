package driver

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"golang.org/x/time/rate"

	"github.com/logspool/logspool/internal/dockertest"
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

// begin starts logging for a container.
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

// entry is an entry of an answer to docker logs.
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

// next returns the next entry; the error is io.EOF if the answer ended well.
func (r *answerReader) next() (entry, error) {
	var e logdriver.LogEntry
	err := r.dec.Decode(&e)
	return entry{e.TimeNano, e.Source, string(e.Line)}, err
}

// rest returns the entries up to the end. The answer must end well.
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

// jsonFile returns json-file's answer (moby, daemon/logger/loggerutils, LogFile.ReadLogs).
// It counts the tail first, then skips entries that are too early, and ends at the first
// one that is too late.
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

// TestReadLogsAnswersLikeJSONFile: a running, a stopped and a restarted container, and a
// restarted plugin, give the same answers as json-file.
func TestReadLogsAnswersLikeJSONFile(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	long := strings.Repeat("0123456789abcdef", 3*1024) // dockerd divides it into three pieces and a last one without text
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
			if time.Now().After(deadline) { // the intake has not read it yet
				t.Fatalf("%s: not all is there", state)
			}
		}
		times := []time.Time{{}, time.Unix(0, want[0].at), time.Unix(0, want[len(want)/2].at), time.Unix(0, want[len(want)-1].at),
			time.Unix(0, want[len(want)/2].at+1), time.Unix(0, 0), time.Unix(1<<37, 0), time.Unix(-1<<35, 0)}
		tails := []int{-1, -7, 0, 1, 2, 10, len(want) - 1, len(want), len(want) + 1, 1 << 62}
		if state != "running" { // each question opens it and archives it again
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
	ask("archived")
	h.stop()
	h.start()
	d = h.docker()
	ask("another plugin")
	c = run()
	ask("started again")
	must(t, c.Stop(t.Context()))
	ask("stopped again")
}

// TestFollowEndsWhenTheContainerStops: a follow gets each line at once. It ends when the
// container stops, with all lines of that run and none of the next.
func TestFollowEndsWhenTheContainerStops(t *testing.T) {
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
	// No FIFO is attached: dockerd asks like this when the container has just stopped.
	if got := readLogs(t, d, "web", follow).rest(); len(got) != 13 {
		t.Errorf("of a stopped container %d entries", len(got))
	}
}

// TestSlowFollowGetsItsRunOnly: a follow whose client is slow gets all lines of its run,
// and none of the next run, which has begun before the client has read the end of the
// first.
func TestSlowFollowGetsItsRunOnly(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web"}
	c := begin(t, d, info)
	r := readLogs(t, d, "web", dockertest.ReadConfig{Tail: -1, Follow: true})
	const n = 5000 // more than the connection buffers
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

// TestReadEndsWhereTheLogEndedWhenAsked: an answer without follow ends with the last line
// that was there when it was asked for, even if the container writes faster than the client
// reads.
func TestReadEndsWhereTheLogEndedWhenAsked(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	const n = 5000 // more than the connection buffers
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

// TestSlowedFollowerGetsTheRestWhenTheContainerStops: a follower that the throttle slows
// gets its share and no more. It gets the rest when the container stops. An answer without
// follow is never slowed.
func TestSlowedFollowerGetsTheRestWhenTheContainerStops(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	limiter := rate.NewLimiter(1e-9, 2048)
	h.throttle.Limiter = limiter
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
	until(t, "it waits", func() bool { return limiter.Tokens() < 0 })
	if most := int64(limiter.Burst() + 64); got.Load() > most {
		t.Errorf("it got %d entries, want %d at most", got.Load(), most)
	}
	must(t, c.Stop(t.Context()))
	if err := <-ended; err != io.EOF || got.Load() != n {
		t.Errorf("it got %d entries of %d, and %v", got.Load(), n, err)
	}
}

// TestSessionEndsAfterItsFollowersLeave: a follow frees what it holds when its client
// leaves, and the session can end.
func TestSessionEndsAfterItsFollowersLeave(t *testing.T) {
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
	h.answers.wg.Wait()
	must(t, c.Stop(t.Context()))
	h.gone()
}

// TestStopBreaksEveryAnswer: when the plugin stops, every answer ends, even if its client
// does not read, and no answer looks complete.
func TestStopBreaksEveryAnswer(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	// One entry that is larger than what the connection buffers: an answer that has begun
	// is stuck.
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

// TestLogIsNotArchivedWhileRead: the files of a log are neither archived nor removed while
// a client reads it.
func TestLogIsNotArchivedWhileRead(t *testing.T) {
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
	// A session ends when everything is delivered and no FIFO is attached.
	for range 200 {
		if len(h.containers()) == 0 {
			t.Fatal("it was archived")
		}
		time.Sleep(time.Millisecond)
	}
	if got := len(r.rest()); got != 4999 {
		t.Errorf("%d entries follow the first, want 4999", got)
	}
	h.gone()
}

// TestArchivedLogIsReadWhole: a client gets an archived log as a whole, even if the
// container is restarted or the log expires meanwhile.
func TestArchivedLogIsReadWhole(t *testing.T) {
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
			const n = 12_000 // several segments, and more than the connection buffers
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
