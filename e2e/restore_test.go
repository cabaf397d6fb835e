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

// TestLiveRestoreContinuesLogging: with live-restore, containers and plugins keep running
// without dockerd, and the next dockerd continues to log the containers. The plugin sees
// a FIFO that ends without StopLogging, with lines in it, and then another FIFO of the
// same container.
//
// What the first dockerd had written to the FIFO arrives once, and so does everything from
// the place where the next one continues. Between the two, lines are missing at one place,
// and one line may be cut off: a dockerd that ends while a container prints fast loses what
// it has read and not written, with any log driver.
func TestLiveRestoreContinuesLogging(t *testing.T) {
	s := newSecondEngine(t)
	conf := storage(t)
	conf["live-restore"] = true
	s.start(t, conf)
	p := s.install(t)
	t.Cleanup(func() { // otherwise, the plugin would outlive dockerd
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
			remote, quiet := s.quiet(t, "restored")
			process, plugin := flooding.pid(t), p.pid(t)

			before := remote.tell("print 300")
			quiet.waitFor(t, before)
			r.tell("flood 0")
			flood.waitFor(t, 20_000)
			sendSignal(t, plugin, unix.SIGSTOP)
			waitStopped(t, plugin)
			waitFilled(t, fifo)
			// With undelivered lines, the plugin still has the container's session when the
			// new FIFO arrives.
			outage := s.stand.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
			end.dead(t)
			last := lastLine(t, fifo, flooding.name)
			remote.tell("print 300")
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
			remote.tell("print 300")
			remote.end()

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
				t.Fatalf("the last of %d lines is missing", len(messages))
			}
			expectFinal(flood, len(messages))
			lost := checkOneHole(t, messages, lines, last)
			// dockerd's pipe to a log driver adds a buffer of 1 MB when it has a little
			// less than that (moby, pkg/ioutils/bytespipe.go), and its copiers have 32 KiB
			// before and after the pipe.
			if bytes := lost * 200; bytes > 2_100_000 {
				t.Errorf("%d bytes are missing, which is more than dockerd can have buffered", bytes)
			}
			t.Logf("of %d lines, dockerd wrote %d to the FIFO and then lost %d", n, last+1, lost)
		})
	}
}

// quiet starts a container that prints only what the remote tells it.
func (s *secondEngine) quiet(t *testing.T, group string) (*remote, stream) {
	r, docker, args := newRemote(t)
	c := start(t, spec{engine: &s.engine, docker: docker, args: args, opts: []string{"group=" + group}})
	r.connect()
	return r, stream{s.stand, region, group, c.name}
}

// checkOneHole fails the test unless the messages are the lines up to number last, perhaps
// a part of a line, and then the last lines of the sequence without a gap. It returns how
// many lines are missing in between.
func checkOneHole(t *testing.T, messages []string, lines dockertest.Sequence, last int) (missing int) {
	t.Helper()
	next := dockertest.Sequence{Container: lines.Container, Source: lines.Source}
	for i := range last + 1 {
		if line := next.Next(200); i >= len(messages) || messages[i] != line {
			t.Fatalf("line %d of the %d that dockerd wrote to the FIFO is not at its place", i, last+1)
		}
	}
	rest := messages[last+1:]
	if len(rest) > 0 && !strings.HasPrefix(rest[0], "c=") {
		t.Logf("cut off: %q", rest[0])
		rest = rest[1:]
	}
	missing = lines.N - (last + 1) - len(rest)
	for range missing {
		next.Next(200)
	}
	for i, m := range rest {
		if line := next.Next(200); m != line {
			t.Fatalf("after the hole, line %d is %q, want %q", i, m, line)
		}
	}
	return missing
}

// openFIFO opens the plugin's only FIFO, for reading its contents without removing them.
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

// waitDelivered waits until the plugin has delivered everything of stopped containers and
// has therefore moved their directories.
func (p *plugin) waitDelivered(t *testing.T) {
	t.Helper()
	dir := filepath.Join(p.dir(t), ".state", "containers")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // no event reports it
		left, err := os.ReadDir(dir)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d containers have something left in %s: %v", len(left), dir, err)
		}
		if len(left) == 0 {
			return
		}
	}
}

// waitStopped waits until SIGSTOP has stopped each thread of a process. A thread first
// finishes its system call.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // no event reports it
		stats, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/stat"))
		if err != nil || len(stats) == 0 || time.Now().After(deadline) {
			t.Fatalf("process %d is not stopped: %v", pid, err)
		}
		running := slices.ContainsFunc(stats, func(path string) bool {
			stat, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(stat), ") ") // after the name in parentheses (proc_pid_stat(5))
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
	for n := 0; n < size/2; time.Sleep(time.Millisecond) { // no event reports it
		if n, err = unix.IoctlGetInt(fifo, unix.TIOCINQ); err != nil || time.Now().After(deadline) {
			t.Fatalf("the FIFO of %d bytes has only %d: %v", size, n, err)
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

// lastLine returns the number of the last line in a FIFO that nobody writes to or reads
// from. A frame of less than PIPE_BUF bytes is in the FIFO either whole or not at all
// (pipe(7)).
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
		t.Fatalf("couldn't read the FIFO: %v", err)
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
		t.Fatalf("the FIFO has %d bytes and no line", n)
	}
	number, _, _ = strings.Cut(number, " ")
	last, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return last
}
