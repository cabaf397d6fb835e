package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// budgeted is a spool under a budget, and the number of frames that were written to it.
type budgeted struct {
	*appender
	n, refused int
}

func newBudgeted(t testing.TB, b *Budget, o Options) *budgeted {
	o.Budget = b
	if o.FS == nil {
		o.FS = durabletest.NewDisk()
	}
	if o.Dir == "" {
		o.Dir = "/s"
	}
	s := mustOpen(t, o)
	t.Cleanup(func() { s.Close() })
	return &budgeted{appender: &appender{s: s}}
}

// write appends a block of frames of a little over 100 bytes.
func (b *budgeted) write(frames int) {
	p := numbered(b.n+1, b.n+frames, 100)
	b.n += frames
	if b.s.Append(append(make([]byte, BlockHeaderSize), p...), 0, b.tracker.All(p)) != nil {
		b.refused += frames
	}
}

// account reads everything. It returns how many frames there are and how many gaps record
// as lost.
func (b *budgeted) account(t testing.TB) (read, lost int) { return b.accountAfter(t, 0) }

// accountAfter is account if the first frames are delivered. delivered is their number.
func (b *budgeted) accountAfter(t testing.TB, delivered int) (read, lost int) {
	r := b.s.NewReader()
	defer r.Close()
	for _, item := range frames(r) {
		if item.Gap != nil {
			lost += int(item.Gap.Frames)
		} else {
			read++
		}
	}
	if n := b.n - delivered; read+lost+b.refused < n || read+lost > n {
		t.Errorf("%d read, %d recorded as lost, %d refused of %d", read, lost, b.refused, n)
	}
	return read, lost
}

// takeItems reads at most limit items. It returns their ranges and how many frames gaps record as
// lost. It calls frame with each frame.
func takeItems(r *Reader, limit int, frame func([]byte)) (ranges []stream.Range, lost int) {
	for range limit {
		item, ok := r.Next()
		if !ok {
			break
		}
		ranges = append(ranges, item.Range)
		if item.Gap != nil {
			lost += int(item.Gap.Frames)
		} else {
			frame(item.Frame)
		}
	}
	return ranges, lost
}

// handOut reads n items and returns their ranges.
func handOut(t *testing.T, r *Reader, n int) []stream.Range {
	t.Helper()
	handed, _ := takeItems(r, n, func([]byte) {})
	if len(handed) < n {
		t.Fatal("too few frames")
	}
	return handed
}

// TestNoisySpoolsLoseLinesQuietOnesDoNot: if all together have more than the budget allows, the
// spools that write much lose lines, and one that writes little loses none. It does not matter
// which one appends when the budget is full.
func TestNoisySpoolsLoseLinesQuietOnesDoNot(t *testing.T) {
	for _, tc := range []struct{ noisy, quiet bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		t.Run(fmt.Sprintf("noisy drop-newest=%v, quiet drop-newest=%v", tc.noisy, tc.quiet), func(t *testing.T) {
			const limit = 3 << 20
			b := NewBudget(limit)
			var noisy []*budgeted
			for range 2 {
				noisy = append(noisy, newBudgeted(t, b, Options{MaxSize: limit, DropNewest: tc.noisy}))
			}
			quiet := newBudgeted(t, b, Options{MaxSize: limit, DropNewest: tc.quiet})
			for i := range 1500 {
				noisy[0].write(20)
				noisy[1].write(30)
				if i%10 == 0 {
					quiet.write(1)
				}
				if b.Used() > limit {
					t.Fatalf("%d bytes on disk", b.Used())
				}
			}
			if read, _ := quiet.account(t); read != quiet.n {
				t.Errorf("%d of %d frames of the quiet spool are left", read, quiet.n)
			}
			for _, n := range noisy {
				read, lost := n.account(t)
				if lost+n.refused == 0 || read < limit/4/200 {
					t.Errorf("%d frames of a noisy spool are left, %d were evicted, %d were refused", read, lost, n.refused)
				}
			}
		})
	}
}

// TestHistoryIsEvictedFirst: no line is lost while there is history. Archived logs are removed
// first, the oldest first; then the delivered data of running containers.
func TestHistoryIsEvictedFirst(t *testing.T) {
	b := NewBudget(4 << 20)
	running := newBudgeted(t, b, Options{History: 1 << 20, MaxSize: 1 << 20})
	for running.s.HistorySize() < 800<<10 {
		running.write(50)
		if err := running.s.Ack([]stream.Range{{From: 0, To: running.s.End()}}); err != nil {
			t.Fatal(err)
		}
	}
	var removed []string
	now := time.Now()
	for _, r := range []struct {
		name string
		age  time.Duration
	}{{"younger", 1}, {"oldest", 9}, {"stubborn", 5}, {"young", 3}} {
		b.AddArchived(500<<10, now.Add(-r.age*time.Hour), func() error {
			removed = append(removed, r.name)
			if running.s.HistorySize() < 800<<10 {
				t.Errorf("%s was removed after the history of a running container", r.name)
			}
			if r.name == "stubborn" {
				return errors.New("no")
			}
			return nil
		})
	}
	released := b.AddArchived(100<<10, now.Add(-99*time.Hour), func() error { t.Error("removed after its release"); return nil })
	used := b.Used()
	released.Release()
	released.Release()
	if b.Used() != used-100<<10 {
		t.Errorf("%d bytes are counted, there were %d", b.Used(), used)
	}
	w := newBudgeted(t, b, Options{MaxSize: 64 << 20})
	for i := 0; len(removed) < 4 || running.s.HistorySize() > 0; i++ {
		before, history := len(removed), running.s.HistorySize()
		w.write(50)
		if i%20 > 0 && len(removed) == before && running.s.HistorySize() == history {
			continue // lost lines stay lost, so not each write needs a check
		}
		if read, lost := w.account(t); read != w.n || lost > 0 {
			t.Fatalf("%d lost of %d with %v removed and %d bytes of history left", lost, w.n, removed, running.s.HistorySize())
		}
	}
	if got := strings.Join(removed, " "); got != "oldest stubborn young younger" {
		t.Errorf("removed: %s", got)
	}
	for range 500 {
		w.write(50)
	}
	if _, lost := w.account(t); lost == 0 || b.Used() > 4<<20 {
		t.Errorf("%d frames were evicted, %d bytes are on disk", lost, b.Used())
	}
}

// TestBudgetHoldsUnderConcurrentUse: spools that append, acknowledge, read, are archived and
// opened again at the same time keep to the budget, and at the end it counts what is there.
func TestBudgetHoldsUnderConcurrentUse(t *testing.T) {
	const limit = 2 << 20
	b := NewBudget(limit)
	disk := durabletest.NewDisk()
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			o := Options{Dir: fmt.Sprintf("/%d", i), FS: disk, MaxSize: 1 << 20, History: int64(i%3) * 64 << 10, DropNewest: i%5 == 0, Budget: b}
			for range 3 {
				s, _, err := Open(o)
				if err != nil {
					t.Error(err)
					return
				}
				x := &budgeted{appender: &appender{s: s}}
				r := s.NewReader()
				for k := range 40 {
					x.write(1 + i*3)
					// Open counts the directory and the cursor before there is space for
					// them.
					if used := b.Used(); used > limit+24*3*allocationUnit {
						t.Errorf("%d bytes on disk", used)
					}
					if k%7 == 6 {
						for _, item := range frames(r) {
							if err := s.Ack([]stream.Range{item.Range}); err != nil {
								t.Error(err)
							}
						}
					}
				}
				r.Close()
				size := s.Size()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				resting := b.AddArchived(size, time.Now(), func() error { return errors.New("not now") })
				resting.Release()
			}
			s := mustOpen(t, o)
			if i%2 == 0 {
				s.Remove()
			}
			s.Close()
		})
	}
	wg.Wait()
	if b.Used() != 0 || len(b.open) != 0 || len(b.archived) != 0 {
		t.Errorf("%d bytes, %d open and %d archived logs are left", b.Used(), len(b.open), len(b.archived))
	}
}

// TestBudgetCountsFromOpen: a spool's bytes count from Open on, without the bytes that a repair
// cut off.
func TestBudgetCountsFromOpen(t *testing.T) {
	dir := t.TempDir()
	b := NewBudget(1 << 30)
	o := Options{Dir: dir, Budget: b}
	s := mustOpen(t, o)
	a := &appender{s: s}
	a.append(t, numbered(1, 100, 100))
	s.Close()
	path := filepath.Join(dir, "0000000000000000.seg")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(make([]byte, 5000))
	f.Close()
	info, err := Inspect(nil, dir)
	st, _ := os.Stat(path)
	if err != nil || info.Bytes != st.Size() || !info.Written.Equal(st.ModTime()) {
		t.Errorf("%+v, %v; the file has %d bytes of %v", info, err, st.Size(), st.ModTime())
	}
	s = mustOpen(t, o)
	// A segment, the cut bytes, the directory, and the cursor, which records the loss of the
	// cut bytes.
	cut := int64(3 * allocationUnit)
	if want := Allocated(s.Size()) + cut + allocationUnit; b.Used() != want || s.Size() != st.Size()-5000 {
		t.Errorf("%d bytes are counted, want %d; %d are in segments", b.Used(), want, s.Size())
	}
	if info, err := Inspect(nil, dir); err != nil || info.Allocated != b.Used() {
		t.Errorf("%+v, %v: %d are counted", info, err, b.Used())
	}
	s.Close()
	if b.Used() != 0 {
		t.Errorf("%d bytes are counted without a spool", b.Used())
	}
	if info, err := Inspect(nil, filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) || info.Bytes != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}
