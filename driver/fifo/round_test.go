package fifo

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

// calls counts the system calls of the intake.
type calls struct{ tees, reads, splices, waits, ctls int }

// countCalls counts until the end of the test.
func countCalls(t testing.TB) *calls {
	c := &calls{}
	sysTee = func(from, to, n, flags int) (int64, error) {
		c.tees++
		return unix.Tee(from, to, n, flags)
	}
	sysRead = func(fd int, p []byte) (int, error) {
		c.reads++
		return unix.Read(fd, p)
	}
	sysSplice = func(from int, fromAt *int64, to int, toAt *int64, n, flags int) (int64, error) {
		c.splices++
		return unix.Splice(from, fromAt, to, toAt, n, flags)
	}
	sysEpollWait = func(fd int, events []unix.EpollEvent, timeout int) (int, error) {
		c.waits++
		return unix.EpollWait(fd, events, timeout)
	}
	sysEpollCtl = func(fd, op, of int, event *unix.EpollEvent) error {
		c.ctls++
		return unix.EpollCtl(fd, op, of, event)
	}
	t.Cleanup(func() {
		sysTee, sysRead, sysSplice, sysEpollWait, sysEpollCtl = unix.Tee, unix.Read, unix.Splice, unix.EpollWait, unix.EpollCtl
	})
	return c
}

// steppedIntake is an intake whose rounds the test runs.
func steppedIntake(t testing.TB) *Intake {
	in, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return in
}

// openIdle opens a new FIFO and makes it idle.
func openIdle(t testing.TB, in *Intake, sink Sink) (f *FIFO, w *os.File) {
	path, w := makeFIFO(t, t.TempDir())
	t.Cleanup(func() { w.Close() })
	f, err := in.Open(path, sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	in.runCommands()
	untilIdle(t, in, f)
	return f, w
}

// untilIdle returns after how many rounds the FIFO is idle.
func untilIdle(t testing.TB, in *Intake, f *FIFO) (rounds int) {
	for ; f.state != idle; rounds++ {
		if rounds > 2*longIdleRounds {
			t.Fatal("the FIFO is still busy")
		}
		in.round(nil)
	}
	return rounds
}

// gatherNow gathers once, as if the time had come, and takes what is there.
func gatherNow(t testing.TB, in *Intake) (ready int) {
	list, err := in.gather(in.gatherAt)
	if err != nil {
		t.Fatal(err)
	}
	in.round(list)
	return len(list)
}

// gatherAll gathers until the next gathering is due, and takes what is there.
func gatherAll(t testing.TB, in *Intake) {
	for number := in.number; in.number == number; {
		gatherNow(t, in)
	}
}

// TestQuietLineNeedsThreeCalls checks that a line of a quiet container costs a tee, an append
// and a splice, and a small part of the other system calls. It also checks that FIFOs for
// which there is no event in the first epoll_wait do not wait for the next gathering.
func TestQuietLineNeedsThreeCalls(t *testing.T) {
	const fifos = maxReady + 88
	in := steppedIntake(t)
	var sinks []*memorySink
	var writers []*os.File
	for range fifos {
		sink := newMemorySink()
		_, w := openIdle(t, in, sink)
		sinks, writers = append(sinks, sink), append(writers, w)
	}
	want := frame(1e18, strings.Repeat("x", 100))
	for _, w := range writers {
		w.Write(want)
	}
	c := countCalls(t)
	due := in.gatherAt
	first := gatherNow(t, in)
	if first != maxReady || in.gatherAt != due {
		t.Errorf("took from %d FIFOs, and the next gathering is %v later", first, in.gatherAt.Sub(due))
	}
	if n := first + gatherNow(t, in); n != fifos || in.gatherAt != due.Add(gatherInterval) {
		t.Errorf("took from %d FIFOs, and the next gathering is %v later", n, in.gatherAt.Sub(due))
	}
	for i, s := range sinks {
		if !bytes.Equal(s.stream, want) || s.takes != 1 {
			t.Fatalf("FIFO %d: %q in %d pieces", i, s.stream, s.takes)
		}
	}
	if c.tees != fifos || c.splices != fifos || c.waits != 2 || c.ctls != 0 || c.reads > fifos/20 || len(in.busy) > 0 {
		t.Errorf("for %d lines: %+v, and %d FIFOs are busy", fifos, *c, len(in.busy))
	}
}

// TestFIFOsWithLittleWaitOnBusyHosts checks that lines of many quiet FIFOs are taken together,
// how late they are at most, and that a FIFO with more is not passed over.
func TestFIFOsWithLittleWaitOnBusyHosts(t *testing.T) {
	for _, tc := range []struct{ fifos, passed int }{{manyReady - 1, 0}, {manyReady, maxPassed}, {maxReady + 88, maxPassed}} {
		in := steppedIntake(t)
		var sinks []*memorySink
		var writers []*os.File
		for range tc.fifos {
			sink := newMemorySink()
			_, w := openIdle(t, in, sink)
			sinks, writers = append(sinks, sink), append(writers, w)
		}
		line := frame(1e18, strings.Repeat("x", 100))
		writeAll := func() {
			for _, w := range writers {
				w.Write(line)
			}
		}
		writeAll()
		gatherAll(t, in) // None waits yet, because the one before found none.
		writeAll()
		much := frame(1e18, strings.Repeat("y", (64<<10)/littlePart))
		writers[0].Write(much)
		for range tc.passed {
			gatherAll(t, in)
			writeAll()
		}
		if tc.passed > 0 && (sinks[0].takes < 2 || sinks[1].takes != 1) {
			t.Errorf("%d FIFOs: took %d times from one with much, %d times from one with little", tc.fifos, sinks[0].takes, sinks[1].takes)
		}
		c := countCalls(t)
		gatherAll(t, in)
		want := bytes.Repeat(line, 2+tc.passed)
		for i, s := range sinks[1:] {
			if !bytes.Equal(s.stream, want) || s.takes != 2 {
				t.Fatalf("%d FIFOs: took %d bytes in %d pieces from FIFO %d", tc.fifos, len(s.stream), s.takes, i+1)
			}
		}
		if c.waits > 3 {
			t.Errorf("%d FIFOs: %d calls of epoll_wait", tc.fifos, c.waits)
		}
	}
}

// TestFIFOWithoutWriterDoesNotWait checks that the end of a FIFO is noticed at once.
func TestFIFOWithoutWriterDoesNotWait(t *testing.T) {
	in := steppedIntake(t)
	sink := newMemorySink()
	_, w := openIdle(t, in, sink)
	in.many = true
	w.Close()
	gatherNow(t, in)
	select {
	case <-sink.ended:
	default:
		t.Error("the FIFO has not ended")
	}
}

// TestQuarterFullFIFOStaysBusy checks which idle FIFOs become busy, and for how many rounds with
// nothing.
func TestQuarterFullFIFOStaysBusy(t *testing.T) {
	for _, tc := range []struct {
		size, written int
		unfinished    bool
		rounds        int
	}{
		{64 << 10, 1 << 10, false, 0},
		{64 << 10, 15 << 10, false, 0},
		{64 << 10, 17 << 10, false, longIdleRounds},
		{4 << 10, 500, false, 0},
		{4 << 10, 1500, false, longIdleRounds},
		{64 << 10, 1 << 10, true, stuckRounds - 1 + idleRounds},
	} {
		in := steppedIntake(t)
		sink := newMemorySink()
		f, w := openIdle(t, in, sink)
		size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, tc.size)
		if err != nil {
			t.Fatal(err)
		}
		f.size = size
		want := frame(1e18, strings.Repeat("x", tc.written))
		if tc.unfinished {
			want = want[:tc.written]
		}
		w.Write(want)
		gatherNow(t, in)
		if rounds := untilIdle(t, in, f); rounds != tc.rounds || !bytes.Equal(sink.stream, want) {
			t.Errorf("%+v: busy for %d rounds, took %d bytes", tc, rounds, len(sink.stream))
		}
	}
}

// writingSink writes to its own FIFO once, while a piece is taken.
type writingSink struct {
	*memorySink
	write func()
}

func (s *writingSink) Take(block []byte, info spool.BlockInfo) {
	s.memorySink.Take(block, info)
	s.write()
	s.write = func() {}
}

// TestLineWrittenDuringTakeIsNotMissed checks that a line that is written between the tee and
// the splice is taken at the next gathering.
func TestLineWrittenDuringTakeIsNotMissed(t *testing.T) {
	in := steppedIntake(t)
	first, second := frame(1e18, "first"), frame(1e18+1, "second")
	sink := &writingSink{memorySink: newMemorySink()}
	_, w := openIdle(t, in, sink)
	sink.write = func() { w.Write(second) }
	w.Write(first)
	for range 2 { // whatever a kernel counts as an edge
		if ready, err := in.epollWait(0); err != nil || len(ready) != 1 {
			t.Fatalf("%d FIFOs are reported, %v", len(ready), err)
		}
	}
	for _, want := range []string{string(first), string(first) + string(second)} {
		if n := gatherNow(t, in); n != 1 || string(sink.stream) != want {
			t.Errorf("took from %d FIFOs, %q", n, sink.stream)
		}
	}
}

// TestFirstLineAfterSilenceMakesFIFOBusy checks that the intake looks at a FIFO at once if
// nothing was to do before, and soon again, because its writer may go on.
func TestFirstLineAfterSilenceMakesFIFOBusy(t *testing.T) {
	in := steppedIntake(t)
	sink := newMemorySink()
	f, w := openIdle(t, in, sink)
	want := frame(1e18, "a line")
	sysEpollWait = func(fd int, events []unix.EpollEvent, timeout int) (int, error) {
		if timeout != 0 {
			w.Write(want)
		}
		return unix.EpollWait(fd, events, timeout)
	}
	t.Cleanup(func() { sysEpollWait = unix.EpollWait })
	if n := gatherNow(t, in); n != 0 || f.state != busy || !bytes.Equal(sink.stream, want) {
		t.Errorf("state %v, took %q", f.state, sink.stream)
	}
	if rounds := untilIdle(t, in, f); rounds != idleRounds-1 {
		t.Errorf("busy for %d rounds", rounds)
	}
}

// TestFailingFIFOLeavesTheEpollSet checks that the epoll set does not report a FIFO that
// cannot be read, because the intake would not wait between its tries.
func TestFailingFIFOLeavesTheEpollSet(t *testing.T) {
	in := steppedIntake(t)
	sink := newMemorySink()
	f, w := openIdle(t, in, sink)
	sysTee = func(int, int, int, int) (int64, error) { return 0, unix.EIO }
	t.Cleanup(func() { sysTee = unix.Tee })
	w.Write(frame(1e18, "a line"))
	if n := gatherNow(t, in); n != 1 || f.state != failing {
		t.Fatalf("looked at %d FIFOs, state %v", n, f.state)
	}
	if ready, err := in.epollWait(0); err != nil || len(ready) > 0 {
		t.Errorf("%d FIFOs are reported, %v", len(ready), err)
	}
	sysTee = unix.Tee
	in.retryFailing(f.retry.at)
	in.round(nil)
	if string(sink.stream) != string(frame(1e18, "a line")) || untilIdle(t, in, f) != idleRounds-1 {
		t.Errorf("took %q", sink.stream)
	}
}

// TestCommandsDoNotWaitForTheGathering checks that Drain and Open are served at once while the
// intake waits for the next gathering, which never comes here.
func TestCommandsDoNotWaitForTheGathering(t *testing.T) {
	in := startIntake(t)
	never := func() { in.gatherAt = time.Now().Add(time.Hour) }
	in.do(never)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	path, w := makeFIFO(t, t.TempDir())
	defer w.Close()
	first, second := frame(1e18, "first"), frame(1e18+1, "second")
	w.Write(first)
	sink := newMemorySink()
	f, err := in.Open(path, sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{string(first), string(first) + string(second)} {
		if err := f.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		sink.mu.Lock()
		if string(sink.stream) != want {
			t.Errorf("took %q", sink.stream)
		}
		sink.mu.Unlock()
		for isIdle := make(chan bool); ; {
			in.do(func() { never(); isIdle <- f.state == idle })
			if <-isIdle {
				break
			}
		}
		w.Write(second)
	}
}

// TestDrainedFIFOStaysBusy checks that Drain ends when the FIFO is empty, also if little was found
// in many rounds before: the intake does not look at an idle FIFO that is empty.
func TestDrainedFIFOStaysBusy(t *testing.T) {
	in := steppedIntake(t)
	f, w := openIdle(t, in, newMemorySink())
	drained := make(chan struct{})
	f.drainers = append(f.drainers, drained)
	in.makeBusy(f)
	for range 2 * longIdleRounds {
		w.Write(frame(1e18, "a line"))
		in.round(nil)
	}
	in.round(nil)
	select {
	case <-drained:
	default:
		t.Error("the FIFO is empty, and Drain does not end")
	}
	untilIdle(t, in, f)
}

// TestPausesFollowTheWriter lets a FIFO be written at a constant rate. The writer never finds
// the pipe full, and the intake does not look into it more often than it has to.
func TestPausesFollowTheWriter(t *testing.T) {
	line := frame(1e18, strings.Repeat("x", 100))
	for _, tc := range []struct {
		rate int           // in bytes a second
		want time.Duration // the pause in the end
	}{
		{1e6, quietInterval}, {5e6, quietInterval}, {38e6, 3 * time.Millisecond}, {150e6, busyInterval},
	} {
		in := steppedIntake(t)
		sink := newMemorySink()
		f, w := openIdle(t, in, sink)
		unix.SetNonblock(int(w.Fd()), true)
		in.makeBusy(f)
		for range 200 {
			part := bytes.Repeat(line, int(int64(tc.rate)*int64(in.interval+timerSlack)/int64(time.Second))/len(line))
			full := f.capacity() - len(part) // At first, the pipe of a fast writer is too small.
			if n, _ := w.Write(part); n < len(part) && full > 0 {
				t.Errorf("%d bytes/s: the writer finds the pipe of %d bytes full after %d", tc.rate, f.capacity(), n)
			}
			in.round(nil)
		}
		if in.interval != tc.want || f.grown != (tc.rate > 4e6) {
			t.Errorf("%d bytes/s: the pause is %v, the pipe has %d bytes", tc.rate, in.interval, f.capacity())
		}
	}
}
