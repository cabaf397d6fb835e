package fifo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("LOGSPOOL_TEST_INTAKE"); dir != "" {
		intakeProcess(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// frame returns a frame as dockerd writes it.
func frame(t int64, line string) []byte {
	p := []byte("\x0a\x06stdout\x10")
	p = binary.AppendUvarint(p, uint64(t))
	p = append(p, 0x1a)
	p = binary.AppendUvarint(p, uint64(len(line)))
	p = append(p, line...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// memorySink keeps the stream, and checks the description of each piece.
type memorySink struct {
	mu     sync.Mutex
	stream []byte
	frames int
	takes  int
	slow   chan struct{} // Take waits until it is closed.
	faults []error
	panics []error
	lost   int
	ended  chan struct{}
}

func newMemorySink() *memorySink { return &memorySink{ended: make(chan struct{})} }

func (s *memorySink) Take(block []byte, info spool.BlockInfo) {
	if s.slow != nil {
		<-s.slow
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes++
	s.frames += info.Frames
	s.stream = append(s.stream, block[spool.BlockHeaderSize:]...)
}

func (s *memorySink) Dropped() {}

func (s *memorySink) End() { close(s.ended) }

func (s *memorySink) Fault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, err)
}

func (s *memorySink) Panicked(err error, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.panics = append(s.panics, err)
	s.lost += lost
}

// makeFIFO makes a FIFO and opens it as dockerd does, for reading and writing.
func makeFIFO(t testing.TB, dir string) (path string, w *os.File) {
	path = filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path, openWriter(t, path)
}

func openWriter(t testing.TB, path string) *os.File {
	// The descriptor is blocking and not in the runtime's poller.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), path)
}

func startIntake(t testing.TB) *Intake {
	in, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- in.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		in.Close()
	})
	return in
}

// TestEverythingOnceInOrder writes frames of all sizes through pipes of several sizes.
// The intake takes exactly the bytes that were written, and the FIFO ends when its
// writer is gone.
func TestEverythingOnceInOrder(t *testing.T) {
	for _, pipeSize := range []int{4096, 8192, 65536, 262144} {
		t.Run(fmt.Sprintf("pipe of %d", pipeSize), func(t *testing.T) {
			in := startIntake(t)
			path, w := makeFIFO(t, t.TempDir())
			if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeSize); err != nil {
				t.Fatal(err)
			}
			sink := newMemorySink()
			f, err := in.Open(path, sink, nil)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			const frames = 1000
			for i := range frames {
				p := frame(int64(1e18)+int64(i), strings.Repeat("x", i*i%17000))
				want = append(want, p...)
				if _, err := w.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			sink.mu.Lock()
			if !bytes.Equal(sink.stream, want) || sink.frames != frames {
				t.Errorf("drained: %d bytes and %d frames, want %d and %d", len(sink.stream), sink.frames, len(want), frames)
			}
			sink.mu.Unlock()
			w.Close()
			<-sink.ended
			if !bytes.Equal(sink.stream, want) {
				t.Error("the stream changed at the end")
			}
		})
	}
}

// TestManyFIFOsAreReadCompletely serves many FIFOs at once. A goroutine of its own
// writes to each.
func TestManyFIFOsAreReadCompletely(t *testing.T) {
	in := startIntake(t)
	const fifos, frames = 40, 500
	var wg sync.WaitGroup
	for range fifos {
		path, w := makeFIFO(t, t.TempDir())
		sink := newMemorySink()
		if _, err := in.Open(path, sink, nil); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			var want []byte
			for i := range frames {
				p := frame(int64(i)+1, "a line of a container")
				want = append(want, p...)
				w.Write(p)
			}
			w.Close()
			<-sink.ended
			if !bytes.Equal(sink.stream, want) {
				t.Errorf("got %d bytes, want %d", len(sink.stream), len(want))
			}
		})
	}
	wg.Wait()
}

// TestUnfinishedFrameIsTaken checks that the intake also takes a frame whose end never
// comes, so that dockerd finds the FIFO empty.
func TestUnfinishedFrameIsTaken(t *testing.T) {
	in := startIntake(t)
	path, w := makeFIFO(t, t.TempDir())
	sink := newMemorySink()
	f, err := in.Open(path, sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := frame(1, "whole")
	p = append(p, frame(2, "cut short")[:10]...)
	w.Write(p)
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	<-sink.ended
	if !bytes.Equal(sink.stream, p) {
		t.Errorf("got %q", sink.stream)
	}
}

// TestAnyBytesAreTaken checks that the intake takes all bytes unchanged, also if they
// are not frames.
func TestAnyBytesAreTaken(t *testing.T) {
	in := startIntake(t)
	for _, p := range [][]byte{
		{0}, {0xff}, bytes.Repeat([]byte{0}, 70000), bytes.Repeat([]byte{0xff}, 70000),
		append(frame(1, "x"), bytes.Repeat([]byte{0, 0, 1}, 30000)...),
		append([]byte{0, 0x0f, 0xff, 0xff}, bytes.Repeat([]byte{0x0a}, 1000)...),
	} {
		path, w := makeFIFO(t, t.TempDir())
		sink := newMemorySink()
		if _, err := in.Open(path, sink, nil); err != nil {
			t.Fatal(err)
		}
		w.Write(p)
		w.Close()
		<-sink.ended
		if !bytes.Equal(sink.stream, p) {
			t.Errorf("wrote %d bytes that begin % x, got %d", len(p), p[:1], len(sink.stream))
		}
	}
}

// TestOpenRefusesOtherFiles checks that Open refuses everything that is not a FIFO, and
// does not hang.
func TestOpenRefusesOtherFiles(t *testing.T) {
	in := startIntake(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("x"), 0o600)
	path, w := makeFIFO(t, dir)
	defer w.Close()
	link := filepath.Join(dir, "link")
	os.Symlink(path, link)
	for _, p := range []string{file, dir, filepath.Join(dir, "missing"), link} {
		if _, err := in.Open(p, newMemorySink(), nil); err == nil {
			t.Errorf("%s was opened", filepath.Base(p))
		}
	}
}

// TestOpenDropsLastBlockOnce checks that after a crash Open drops the last block if, and
// only if, it is at the head of the FIFO.
func TestOpenDropsLastBlockOnce(t *testing.T) {
	a, b, c := frame(1001, "a"), frame(1002, "b"), frame(1003, "c")
	same := bytes.Repeat([]byte("same "), 2000)
	long := frame(1004, string(same))
	middle := long[2000:4000] // repeats every 5 bytes
	describe := func(before, p []byte) *Last {
		var tr spool.Tracker
		if len(before) > 0 {
			tr.Advance(tr.All(before))
		}
		return &Last{Payload: p, Info: tr.All(p)}
	}
	join := func(p ...[]byte) []byte { return bytes.Join(p, nil) }
	for _, tc := range []struct {
		name string
		head []byte
		last *Last
		want []byte
	}{
		{"nothing was ever taken", join(a, b), nil, join(a, b)},
		{"appended, not dropped", join(a, b, c), describe(nil, join(a, b)), c},
		{"dropped", c, describe(nil, join(a, b)), c},
		{"dropped, and nothing came after", nil, describe(nil, join(a, b)), nil},
		{"not dropped, and nothing came after", join(a, b), describe(nil, join(a, b)), nil},
		{"the same text with another time", join(frame(2001, "a"), b), describe(nil, a), join(frame(2001, "a"), b)},
		{"from the middle, not dropped, a frame after it", join(middle, long[4000:], c), describe(long[:2000], middle), join(long[4000:], c)},
		{"from the middle, dropped, a frame after it", join(long[4000:], c), describe(long[:2000], middle), join(long[4000:], c)},
		{"from the middle, not dropped, idle", join(middle, long[4000:]), describe(long[:2000], middle), long[4000:]},
		{"from the middle, dropped, idle", long[4000:], describe(long[:2000], middle), long[4000:]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := startIntake(t)
			path, w := makeFIFO(t, t.TempDir())
			w.Write(tc.head)
			sink := newMemorySink()
			if _, err := in.Open(path, sink, tc.last); err != nil {
				t.Fatal(err)
			}
			w.Close()
			<-sink.ended
			if !bytes.Equal(sink.stream, tc.want) {
				t.Errorf("took %d bytes, want %d", len(sink.stream), len(tc.want))
			}
		})
	}
}

// TestOpenDropsLastBlockOnceWithSmallPipe checks that Open finds the block at the head
// of the FIFO even if the private pipe is too small for all of it.
func TestOpenDropsLastBlockOnceWithSmallPipe(t *testing.T) {
	defer func(size int) { privateSize = size }(privateSize)
	in := startIntake(t)
	privateSize = 4096
	var block []byte
	for i := range 500 {
		block = append(block, frame(int64(1e18)+int64(i), "the same line again and again")...)
	}
	after := frame(2e18, "after")
	info := new(spool.Tracker).All(block)
	for _, tc := range []struct {
		name       string
		head, want []byte
	}{
		{"not dropped", append(bytes.Clone(block), after...), after},
		{"dropped", after, after},
		{"dropped, and as much is there again", bytes.Repeat(after, 800), bytes.Repeat(after, 800)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path, w := makeFIFO(t, t.TempDir())
			w.Write(tc.head)
			sink := newMemorySink()
			if _, err := in.Open(path, sink, &Last{Payload: block, Info: info}); err != nil {
				t.Fatal(err)
			}
			w.Close()
			<-sink.ended
			if !bytes.Equal(sink.stream, tc.want) {
				t.Errorf("took %d bytes, want %d", len(sink.stream), len(tc.want))
			}
		})
	}
}

// TestStoppingIntakeTakesDrainedFIFO checks that an intake that stops takes the contents
// of a FIFO that is being drained, because the caller of Drain removes the FIFO
// afterwards.
func TestStoppingIntakeTakesDrainedFIFO(t *testing.T) {
	for range 20 {
		in, err := New()
		if err != nil {
			t.Fatal(err)
		}
		path, w := makeFIFO(t, t.TempDir())
		sink := newMemorySink()
		f, err := in.Open(path, sink, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := bytes.Repeat(frame(1, "line"), 1000)
		p = append(p, frame(2, "cut short")[:12]...)
		w.Write(p)
		drained := make(chan error, 1)
		go func() { drained <- f.Drain(t.Context()) }()
		for queued := 0; queued < 2; { // both commands are queued before Run begins
			in.mu.Lock()
			queued = len(in.commands)
			in.mu.Unlock()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := in.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-drained; err != nil || !bytes.Equal(sink.stream, p) {
			t.Errorf("took %d of %d bytes, %v", len(sink.stream), len(p), err)
		}
		w.Close()
	}
}

// TestStoppedIntakeLeavesBytesInFIFO checks that an intake that stops leaves the
// contents of a FIFO to the next one.
func TestStoppedIntakeLeavesBytesInFIFO(t *testing.T) {
	path, w := makeFIFO(t, t.TempDir())
	defer w.Close()
	first := newMemorySink()
	in, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	f, err := in.Open(path, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(frame(1, "first"))
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.Write(frame(2, "second"))
	if _, err := in.Open(path, first, nil); err == nil {
		t.Error("a stopped intake took a FIFO")
	}
	second := newMemorySink()
	in2 := startIntake(t)
	f, err = in2.Open(path, second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.mu.Lock()
	defer second.mu.Unlock()
	if !bytes.Equal(first.stream, frame(1, "first")) || !bytes.Equal(second.stream, frame(2, "second")) {
		t.Errorf("first %q, second %q", first.stream, second.stream)
	}
}

// TestIdleFIFOWaitsInEpoll checks that the intake waits in the kernel when nothing is
// written.
func TestIdleFIFOWaitsInEpoll(t *testing.T) {
	in := startIntake(t)
	path, w := makeFIFO(t, t.TempDir())
	defer w.Close()
	f, err := in.Open(path, newMemorySink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(frame(1, "x"))
	for deadline := time.Now().Add(10 * time.Second); ; {
		looked := make(chan bool)
		in.do(func() { looked <- f.state == busy })
		if !<-looked {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still busy")
		}
	}
}
