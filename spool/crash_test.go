package spool

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// world is a spool on a disk that fails or loses what was not synced, with an oracle: what was
// appended, what was refused, and what has been acknowledged.
type world struct {
	t    *testing.T
	disk *durabletest.Disk
	o    Options
	s    *Spool
	r    *Reader

	tracker Tracker
	n       int64                  // frames written so far; a frame's time is its number
	kept    map[int64]bool         // frames that Append took
	refused map[int64]bool         // frames that Append did not take
	acked   map[int64]bool         // frames whose Ack was tried
	synced  map[int64]bool         // frames that a Sync covered
	handed  map[stream.Range]int64 // handed out and not acknowledged
}

func newWorld(t *testing.T, disk *durabletest.Disk, o Options) *world {
	o.Dir, o.FS = "/state/spool", disk
	return &world{t: t, disk: disk, o: o, kept: map[int64]bool{}, refused: map[int64]bool{},
		acked: map[int64]bool{}, synced: map[int64]bool{}, handed: map[stream.Range]int64{}}
}

func (w *world) open() error {
	s, _, err := Open(w.o)
	if err != nil {
		return err
	}
	w.s, w.r = s, s.NewReader()
	w.tracker = Tracker{}
	return nil
}

// append writes a block of frames, as the intake does, and records whether it was kept.
func (w *world) append(frames, size int) {
	var p []byte
	first := w.n + 1
	for range frames {
		w.n++
		p = append(p, testFrame("stdout", w.n, []byte(strings.Repeat("x", size)))...)
	}
	info := w.tracker.All(p)
	err := w.s.Append(append(make([]byte, BlockHeaderSize), p...), 1, info)
	for n := first; n <= w.n; n++ {
		if err == nil {
			w.kept[n] = true
		} else {
			w.refused[n] = true
		}
	}
}

// take reads up to most frames, and checks that each is one that was kept, or a gap.
func (w *world) take(most int) {
	for range most {
		item, ok := w.r.Next()
		if !ok {
			return
		}
		if item.Gap != nil {
			w.handed[item.Range] = 0
			continue
		}
		n := frameTime(item.Frame)
		if !w.kept[n] {
			w.t.Fatalf("frame %d was read, and was not kept", n)
		}
		w.handed[item.Range] = n
	}
}

func (w *world) ack() {
	var ranges []stream.Range
	for r, n := range w.handed {
		ranges = append(ranges, r)
		w.acked[n] = true
	}
	clear(w.handed)
	_ = w.s.Ack(ranges)
}

func (w *world) sync() {
	if w.s.Sync() == nil {
		for n := range w.kept {
			w.synced[n] = true
		}
	}
}

// script is the workload of the sweep. It makes every kind of call that a spool makes.
func (w *world) script() {
	if w.open() != nil {
		return
	}
	for i := range 14 {
		w.append(30, 200)
		if i%3 == 1 {
			w.take(40)
		}
		if i%4 == 3 {
			w.ack()
		}
		if i == 5 {
			w.sync()
		}
	}
	w.take(1 << 20)
	w.ack()
	w.append(5, 20000) // starts a segment and removes one
	w.take(1 << 20)
	w.ack()
	w.append(3, 100)
	w.sync()
	w.append(2, 100)
	_ = w.s.Close()
}

// check opens what is left on the disk and reads all of it. Every frame in must that was not
// acknowledged is there, in order, and no frame is there that was not kept.
func (w *world) check(what string, disk *durabletest.Disk, must, acked map[int64]bool) {
	w.t.Helper()
	o := w.o
	o.FS = disk
	s, _, err := Open(o)
	if err != nil {
		w.t.Fatalf("%s: Open: %v", what, err)
	}
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	for i, h := range histories(w.t, s, HistoryOptions{Tail: -1}) {
		all := h.all(w.t)
		h.Close()
		if !slices.IsSorted(all) || len(all) > 0 && (all[0] < 1 || all[len(all)-1] > w.n) {
			w.t.Fatalf("%s: history %d: %s", what, i, spans(all))
		}
		for n := range must {
			if _, found := slices.BinarySearch(all, n); !acked[n] && !found {
				w.t.Fatalf("%s: frame %d is not in history %d", what, n, i)
			}
		}
		last := histories(w.t, s, HistoryOptions{Tail: 10})[i]
		if got, want := last.all(w.t), all[max(0, len(all)-10):]; !slices.Equal(got, want) {
			w.t.Fatalf("%s: the last of history %d: %s of %s", what, i, spans(got), spans(all))
		}
		last.Close()
	}
	found := map[int64]bool{}
	last := int64(0)
	for items := 0; ; items++ {
		if items > 100_000 {
			w.t.Fatalf("%s: reading does not end: at %d of %d", what, r.Position(), s.End())
		}
		item, ok := r.Next()
		if !ok {
			break
		}
		if item.Gap != nil {
			continue
		}
		n := frameTime(item.Frame)
		switch {
		case n < 1 || n > w.n || !bytes.Contains(item.Frame, []byte("xx")):
			w.t.Fatalf("%s: read something that was never written: %.60q", what, item.Frame)
		case n <= last:
			w.t.Fatalf("%s: frame %d after %d", what, n, last)
		}
		last = n
		found[n] = true
	}
	for n := range must {
		if !acked[n] && !found[n] {
			w.t.Fatalf("%s: frame %d is lost", what, n)
		}
	}
	// The spool continues: what is appended now is read.
	p := testFrame("stdout", w.n+1, []byte("xx"))
	var tr Tracker
	if err := s.Append(append(make([]byte, BlockHeaderSize), p...), 9, tr.All(p)); err != nil {
		w.t.Fatalf("%s: Append: %v", what, err)
	}
	for {
		item, ok := r.Next()
		if !ok {
			w.t.Fatalf("%s: what was appended after Open is not read", what)
		}
		if item.Gap == nil && frameTime(item.Frame) == w.n+1 {
			return
		}
	}
}

var sweeps = []Options{
	{MaxSize: 1 << 20, Durable: true},                     // segments of 64 KiB
	{MaxSize: 1 << 20, Durable: true, History: 100 << 10}, // and of 16 KiB
}

func sweep(t *testing.T, f func(*testing.T, Options)) {
	for _, o := range sweeps {
		t.Run(fmt.Sprintf("history=%d", o.History), func(t *testing.T) { f(t, o) })
	}
}

// TestCrashAtEveryCall kills the process, and cuts the power, before and after each call that
// changes the disk. A frame that was kept survives the kill; a frame that was synced survives
// the power cut.
func TestCrashAtEveryCall(t *testing.T) { sweep(t, crashAtEveryCall) }

func crashAtEveryCall(t *testing.T, o Options) {
	w := newWorld(t, durabletest.NewDisk(), o)
	w.script()
	calls := w.disk.Calls()
	if calls < 40 {
		t.Fatalf("only %d calls: the script makes too few", calls)
	}
	for call := 1; call <= calls; call++ {
		for _, after := range []bool{false, true} {
			w := newWorld(t, durabletest.NewDisk(), o)
			var killed, cut *durabletest.Disk
			var kept, synced, acked map[int64]bool
			crashed := errors.New("the process is dead")
			w.disk.FailWhen(func(n int, _, _ string) durabletest.Failure {
				switch {
				case n < call:
					return durabletest.Failure{}
				case n == call && kept == nil:
					kept, synced, acked = clone(w.kept), clone(w.synced), clone(w.acked)
					return durabletest.Failure{Err: crashed, After: after}
				}
				return durabletest.Failure{Err: crashed}
			})
			w.script()
			// Nothing was done after the failing call, so the disk is in the state of that
			// moment.
			killed, cut = w.disk.Killed(), w.disk.PowerCut()
			w.check(fmt.Sprintf("killed at call %d, after=%v", call, after), killed, kept, acked)
			w.check(fmt.Sprintf("power cut at call %d, after=%v", call, after), cut, synced, acked)
		}
	}
	t.Logf("%d calls", calls)
}

// TestErrorAtEveryCall fails each call once, with and without its effect, and continues. What
// was kept is read, what was not kept is in a gap, and nothing else is missing.
func TestErrorAtEveryCall(t *testing.T) { sweep(t, errorAtEveryCall) }

func errorAtEveryCall(t *testing.T, o Options) {
	w := newWorld(t, durabletest.NewDisk(), o)
	w.script()
	calls := w.disk.Calls()
	for call := 1; call <= calls; call++ {
		for _, after := range []bool{false, true} {
			w := newWorld(t, durabletest.NewDisk(), o)
			var op string
			w.disk.FailWhen(func(n int, what, name string) durabletest.Failure {
				if n != call {
					return durabletest.Failure{}
				}
				op = what + " " + name
				return durabletest.Failure{Err: durabletest.ErrInjected, After: after}
			})
			w.script()
			if w.s == nil {
				// Open failed. The next try must not.
				if err := w.open(); err != nil {
					t.Fatalf("call %d, %s, after=%v: Open failed twice: %v", call, op, after, err)
				}
				continue
			}
			w.check(fmt.Sprintf("call %d, %s, after=%v", call, op, after), w.disk, w.kept, w.acked)
		}
	}
}

func clone(m map[int64]bool) map[int64]bool {
	out := make(map[int64]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}
