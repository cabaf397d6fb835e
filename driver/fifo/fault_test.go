package fifo

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

// TestKernelErrorEndsNothing checks that the intake reports an error of tee or splice
// and tries again. Nothing is lost or taken twice, and the FIFO ends only when its
// writer is gone.
func TestKernelErrorEndsNothing(t *testing.T) {
	for _, call := range []string{"tee", "splice"} {
		for _, kind := range []error{unix.EIO, unix.ENOMEM, unix.EINVAL} {
			t.Run(fmt.Sprintf("%s %v", call, kind), func(t *testing.T) {
				var failures atomic.Int32
				failures.Store(3)
				fails := func(c string) bool { return c == call && failures.Add(-1) >= 0 }
				sysTee = func(from, to, n, flags int) (int64, error) {
					if fails("tee") {
						return 0, kind
					}
					return unix.Tee(from, to, n, flags)
				}
				sysSplice = func(from int, fromAt *int64, to int, toAt *int64, n, flags int) (int64, error) {
					if fails("splice") {
						return 0, kind
					}
					return unix.Splice(from, fromAt, to, toAt, n, flags)
				}
				t.Cleanup(func() { sysTee, sysSplice = unix.Tee, unix.Splice })
				in := startIntake(t)
				path, w := makeFIFO(t, t.TempDir())
				want := append(frame(1, "one"), frame(2, "two")...)
				w.Write(want)
				sink := newMemorySink()
				f, err := in.Open(path, sink, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				more := frame(3, "three")
				w.Write(more)
				w.Close()
				<-sink.ended
				if got := string(sink.stream); got != string(want)+string(more) {
					t.Errorf("got %q", got)
				}
				if n := len(sink.faults); n != 4 || sink.faults[0] == nil || sink.faults[n-1] != nil {
					t.Errorf("reported: %v", sink.faults)
				}
			})
		}
	}
}

// TestSmallPrivatePipeNeedsNoMoreSleeps checks that the intake does not sleep more often
// for the same output if the kernel makes the private pipe small.
func TestSmallPrivatePipeNeedsNoMoreSleeps(t *testing.T) {
	sleeps := func(size int, line string) (naps, takes int) {
		defer func(size int) { privateSize = size }(privateSize)
		privateSize = size
		var count atomic.Int32
		nap = func(*time.Timer, <-chan struct{}, time.Duration) { count.Add(1) }
		path, w := makeFIFO(t, t.TempDir())
		if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, grownSize); err != nil {
			t.Fatal(err)
		}
		var want []byte
		for i := 0; len(want) < 60_000; i++ { // The FIFO can hold more, although its pages are not full.
			p := frame(int64(1e18)+int64(i), line)
			w.Write(p)
			want = append(want, p...)
		}
		in, err := New()
		if err != nil {
			t.Fatal(err)
		}
		sink := newMemorySink()
		f, err := in.Open(path, sink, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- in.Run(ctx) }()
		for drained := false; !drained; {
			in.mu.Lock()
			drained = len(in.commands) == 0
			in.mu.Unlock()
		}
		if err := f.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done
		in.Close()
		w.Close()
		if !bytes.Equal(sink.stream, want) {
			t.Errorf("took %d of %d bytes", len(sink.stream), len(want))
		}
		return int(count.Load()), sink.takes
	}
	realNap := nap
	t.Cleanup(func() { nap = realNap })
	for _, line := range []string{"a short line", strings.Repeat("x", 3000), strings.Repeat("x", 16384)} {
		// The last bytes are followed by empty rounds, and rounds with an unfinished
		// frame.
		if naps, takes := sleeps(8192, line); naps > stuckRounds+idleRounds || takes < 5 {
			t.Errorf("lines of %d bytes: %d sleeps for %d pieces", len(line), naps, takes)
		}
	}
}

// panickingSink panics on a piece that contains the word poison.
type panickingSink struct {
	*memorySink
	always bool // It also panics if the piece has no description.
}

func (s *panickingSink) Take(block []byte, info spool.BlockInfo) {
	if bytes.Contains(block, []byte("poison")) && (s.always || info.Frames > 0) {
		panic("a bug")
	}
	s.memorySink.Take(block, info)
}

// TestPanicLosesOnlyItsBytes checks that the sink gets bytes on which it panics once
// more without a description, and that they are lost if it panics again. The intake
// continues to read this FIFO and the others.
func TestPanicLosesOnlyItsBytes(t *testing.T) {
	for _, always := range []bool{false, true} {
		t.Run(fmt.Sprintf("always %v", always), func(t *testing.T) {
			in := startIntake(t)
			path, w := makeFIFO(t, t.TempDir())
			sink := &panickingSink{newMemorySink(), always}
			f, err := in.Open(path, sink, nil)
			if err != nil {
				t.Fatal(err)
			}
			poison, after := frame(1, "poison"), frame(2, "after")
			w.Write(poison)
			if err := f.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.Write(after)
			w.Close()
			<-sink.ended
			want, lost := append(bytes.Clone(poison), after...), 0
			if always {
				want, lost = after, len(poison)
			}
			if !bytes.Equal(sink.stream, want) || sink.lost != lost || len(sink.panics) != 1 {
				t.Errorf("got %q, %d bytes lost, panics %.300v", sink.stream, sink.lost, sink.panics)
			}
		})
	}
}

// TestReleasedFIFOIsLeftToTheNextReader checks that the bytes of a released FIFO wait
// for the next reader, and that its sink is no longer called.
func TestReleasedFIFOIsLeftToTheNextReader(t *testing.T) {
	in := startIntake(t)
	path, w := makeFIFO(t, t.TempDir())
	first := newMemorySink()
	f, err := in.Open(path, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(frame(1, "one"))
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Release()
	f.Release()
	w.Write(frame(2, "two"))
	second := newMemorySink()
	if _, err := in.Open(path, second, nil); err != nil {
		t.Fatal(err)
	}
	w.Close()
	<-second.ended
	select {
	case <-first.ended:
		t.Error("the first reader was ended, too")
	default:
	}
	if string(first.stream) != string(frame(1, "one")) || string(second.stream) != string(frame(2, "two")) {
		t.Errorf("first %q, second %q", first.stream, second.stream)
	}
}

// TestDrainWorksAfterRun checks that a FIFO can be drained after Run has ended, until
// Close.
func TestDrainWorksAfterRun(t *testing.T) {
	in, err := New()
	if err != nil {
		t.Fatal(err)
	}
	path, w := makeFIFO(t, t.TempDir())
	defer w.Close()
	sink := newMemorySink()
	f, err := in.Open(path, sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.Run(ctx); err != nil {
		t.Fatal(err)
	}
	p := append(bytes.Repeat(frame(1, "line"), 1000), frame(2, "cut short")[:12]...)
	w.Write(p)
	if err := f.Drain(t.Context()); err != nil || !bytes.Equal(sink.stream, p) {
		t.Errorf("took %d of %d bytes, %v", len(sink.stream), len(p), err)
	}
	in.Close()
	if err := f.Drain(t.Context()); err == nil {
		t.Error("a closed intake drained a FIFO")
	}
}

// TestReleasedFIFOIsNotReadAgain checks that the intake does not read a FIFO that was
// released while it was busy. Another FIFO soon has its descriptor.
func TestReleasedFIFOIsNotReadAgain(t *testing.T) {
	in := startIntake(t)
	path, w := makeFIFO(t, t.TempDir())
	defer w.Close()
	var want []byte
	var sinks []*memorySink
	for i := range 200 {
		sink := newMemorySink()
		f, err := in.Open(path, sink, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := frame(int64(1000+i), "a line")
		want = append(want, p...)
		w.Write(p)
		if err := f.Drain(t.Context()); err != nil { // It stays busy for some rounds.
			t.Fatal(err)
		}
		f.Release()
		sinks = append(sinks, sink)
	}
	for i, sink := range sinks {
		if got := len(sink.stream); got != len(want)/200 || len(sink.faults) > 0 {
			t.Errorf("reader %d took %d bytes, faults %v", i, got, sink.faults)
		}
	}
}
