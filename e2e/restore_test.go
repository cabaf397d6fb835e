//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// With live-restore, containers and plugins run on while dockerd is away, and the next dockerd takes up the containers'
// output again. To the plugin the FIFO ends without a StopLogging, with lines in it, and another one of the same
// container comes.
//
// What the dead dockerd had handed over arrives once, and so does everything behind the place where the next one goes
// on. Between the two a dockerd that ends in a flood loses what it has read and not handed over, with any log driver:
// at one place lines are missing, and one may be torn.
func TestLiveRestore(t *testing.T) {
	s := newSecondEngine(t)
	conf := storage(t)
	conf["live-restore"] = true
	s.start(t, conf)
	p := s.install(t)
	t.Cleanup(func() { // it would outlive its dockerd
		if err := p.disable(); err != nil {
			t.Error(err)
		}
	})
	for _, end := range []struct {
		name string
		dead func(*testing.T)
	}{{"killed", s.crash}, {"stopped", s.end}} {
		t.Run(end.name, func(t *testing.T) {
			r, docker, args := newRemote(t)
			flooding := start(t, spec{engine: &s.engine, docker: docker, args: append(args, "-size", "200"), opts: []string{"group=restored"}})
			r.connect()
			flood := stream{s.stand, region, "restored", flooding.name}
			fifo := s.openFIFO(t, p)
			told, quiet := s.quiet(t, "restored")
			process, plugin := flooding.pid(t), p.pid(t)

			before := told.tell("print 300")
			quiet.waitFor(t, before)
			r.tell("flood 0")
			flood.waitFor(t, 20_000)
			sendSignal(t, plugin, unix.SIGSTOP)
			waitStopped(t, plugin)
			waitFilled(t, fifo)
			// What is not delivered yet keeps the container's old FIFO in the plugin's mind when the new one comes.
			outage := s.stand.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
			end.dead(t)
			last := lastLine(t, fifo, flooding.name)
			told.tell("print 300")
			sendSignal(t, plugin, unix.SIGCONT)
			s.start(t, conf)
			if now := flooding.pid(t); now != process {
				t.Fatalf("the container's process is %d, and was %d: it did not outlive dockerd", now, process)
			}
			if now := p.pid(t); now != plugin {
				t.Errorf("the plugin's process is %d, and was %d: it did not outlive dockerd", now, plugin)
			}
			s.stand.ClearFault(outage)
			flood.waitFor(t, last+20_000)
			r.tell("stop")
			n := r.end()
			told.tell("print 300")
			told.end()

			quiet.has(t, printed(quiet.stream, "stdout", before+600))
			flooding.finish(t)
			lines := dockertest.Sequence{Container: flooding.name, Source: "stdout"}
			for lines.N < n-1 {
				lines.Next(200)
			}
			final := lines.Next(200)
			p.waitDelivered(t)
			messages := flood.messages()
			if len(messages) == 0 || messages[len(messages)-1] != final {
				t.Fatalf("the last of %d lines is not there", len(messages))
			}
			settle(flood, len(messages))
			lost := checkOneHole(t, messages, lines, last)
			// Its pipe to a log driver takes another buffer of 1 MB when it holds a little less than that
			// (moby, pkg/ioutils/bytespipe.go), and its copiers have 32 KiB on either side.
			if bytes := lost * 200; bytes > 2_100_000 {
				t.Errorf("%d bytes are missing, which is more than dockerd may have held", bytes)
			}
			t.Logf("of %d lines, dockerd handed over %d and then lost %d", n, last+1, lost)
		})
	}
}

// quiet is a container that prints when it is told.
func (s *secondEngine) quiet(t *testing.T, group string) (*remote, stream) {
	r, docker, args := newRemote(t)
	c := start(t, spec{engine: &s.engine, docker: docker, args: args, opts: []string{"group=" + group}})
	r.connect()
	return r, stream{s.stand, region, group, c.name}
}

// checkOneHole fails the test unless the messages are the lines up to number last, and the last ones up to the
// sequence's end; between them may be a part of a line. It returns how many lines are missing there.
func checkOneHole(t *testing.T, messages []string, lines dockertest.Sequence, last int) (missing int) {
	t.Helper()
	next := dockertest.Sequence{Container: lines.Container, Source: lines.Source}
	for i := range last + 1 {
		if line := next.Next(200); i >= len(messages) || messages[i] != line {
			t.Fatalf("line %d of the %d that dockerd handed over is not in its place", i, last+1)
		}
	}
	rest := messages[last+1:]
	if len(rest) > 0 && !strings.HasPrefix(rest[0], "c=") {
		t.Logf("torn: %q", rest[0])
		rest = rest[1:]
	}
	missing = lines.N - (last + 1) - len(rest)
	for range missing {
		next.Next(200)
	}
	for i, m := range rest {
		if line := next.Next(200); m != line {
			t.Fatalf("behind the hole, line %d is %q, want %q", i, m, line)
		}
	}
	return missing
}

// openFIFO opens the plugin's only FIFO, to look into it without taking anything out of it.
func (s *secondEngine) openFIFO(t *testing.T, p *plugin) int {
	t.Helper()
	fifos := p.fifos(t)
	if len(fifos) != 1 {
		t.Fatalf("the FIFOs are %q, want one", fifos)
	}
	fd, err := unix.Open(filepath.Join(p.dir(t), fifos[0]), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// waitDelivered waits until all that the plugin has of containers that have ended is delivered: their directories
// are not among those of the others any more.
func (p *plugin) waitDelivered(t *testing.T) {
	t.Helper()
	dir := filepath.Join(p.dir(t), ".state", "containers")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // there is no event for that
		left, err := os.ReadDir(dir)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("there is something of %d containers left in %s: %v", len(left), dir, err)
		}
		if len(left) == 0 {
			return
		}
	}
}

// waitStopped waits until each thread of a process has stopped: one that is in a system call first finishes that.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // there is no event for that
		stats, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/stat"))
		if err != nil || len(stats) == 0 || time.Now().After(deadline) {
			t.Fatalf("process %d has not stopped: %v", pid, err)
		}
		running := slices.ContainsFunc(stats, func(path string) bool {
			stat, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(stat), ") ") // proc(5): behind the name, in parentheses
			return err == nil && !strings.HasPrefix(state, "T")
		})
		if !running {
			return
		}
	}
}

// waitFilled waits until a FIFO that nobody reads is half full.
func waitFilled(t *testing.T, fifo int) {
	t.Helper()
	size, err := unix.FcntlInt(uintptr(fifo), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for n := 0; n < size/2; time.Sleep(time.Millisecond) { // there is no event for that
		if n, err = unix.IoctlGetInt(fifo, unix.TIOCINQ); err != nil || time.Now().After(deadline) {
			t.Fatalf("of its %d bytes the FIFO has %d: %v", size, n, err)
		}
	}
}

// sendSignal sends a signal to a process.
func sendSignal(t *testing.T, pid int, s unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// lastLine is the number of the last line in a FIFO that nobody writes to or reads from. dockerd writes a frame of less
// than PIPE_BUF at once or not at all (pipe(7)).
func lastLine(t *testing.T, fifo int, name string) int {
	t.Helper()
	var copied [2]int
	if err := unix.Pipe2(copied[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied[0])
	defer unix.Close(copied[1])
	size, err := unix.FcntlInt(uintptr(fifo), unix.F_GETPIPE_SZ, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(copied[1]), unix.F_SETPIPE_SZ, size)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Tee(fifo, copied[1], size, unix.SPLICE_F_NONBLOCK); err != nil {
		t.Fatalf("couldn't look into the FIFO: %v", err)
	}
	content := make([]byte, size)
	n, err := unix.Read(copied[0], content)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content[:n])
	header := "c=" + name + " s=stdout n="
	_, number, ok := strings.Cut(text[max(0, strings.LastIndex(text, header)):], header)
	if !ok {
		t.Fatalf("no line is in the FIFO, but %d bytes", n)
	}
	number, _, _ = strings.Cut(number, " ")
	last, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return last
}
