package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// model is a spool with an oracle. Two readers share the frames like the two outputs of a
// container: the parity of a frame's time decides to which reader it belongs, and gaps belong
// to the first.
type model struct {
	disk *durabletest.Disk
	o    Options
	s    *Spool
	a    appender

	readers [2]modelReader
	rand    *rand.Rand

	exact   bool   // no garbage and no crash: every frame is counted once
	frames  int    // written so far; a frame's time is its number
	rest    []byte // the rest of a frame that has been appended in part
	chunks  []chunk
	acked   ackSet
	numbers map[int64]bool // acknowledged frames
	lost    int            // frames in acknowledged gaps
	last    *chunk         // what the last step appended
	before  Tracker        // the tracker before last
}

// chunk is what one Append kept.
type chunk struct {
	from uint64
	data []byte
}

type modelReader struct {
	*Reader
	handed []Item // not acknowledged yet
	at     uint64 // the least position of the next item
}

func (m *model) open(t fataler) {
	m.s = mustOpen(t, m.o)
	m.a.s = m.s
	for i := range m.readers {
		m.readers[i] = modelReader{Reader: m.s.NewReader()}
		m.readers[i].SetOwner(func(frame []byte) bool {
			gap := !bytes.HasPrefix(frame, []byte("\x0a\x06stdout\x10")) // or a rejected frame
			return i == 0 && gap || !gap && int(frameTime(frame)&1) == i
		})
	}
}

// block returns the next block: frames, perhaps garbage between them, perhaps cut anywhere.
func (m *model) block(t *rapid.T) []byte {
	p := m.rest
	least := 1
	if len(m.rest) > 0 {
		// A reader that is rewound to the middle of a frame cannot distinguish fewer bytes
		// from the beginning of a frame.
		least = frameHeaderSize + 1
	}
	m.rest = nil
	size := rapid.SampledFrom([]int{0, 10, 300, 3000, 17000}).Draw(t, "size")
	for range rapid.IntRange(1, 40).Draw(t, "frames") {
		if !m.exact && rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			g := rapid.SliceOfN(rapid.Byte(), 1, 60).Draw(t, "garbage")
			p = append(p, g...)
		}
		m.frames++
		p = append(p, testFrame("stdout", int64(m.frames), bytes.Repeat([]byte{'x'}, size))...)
	}
	cut := len(p)
	if rapid.IntRange(0, 3).Draw(t, "whole") == 0 {
		cut = rapid.IntRange(min(least, len(p)), len(p)).Draw(t, "cut")
	}
	m.rest = bytes.Clone(p[cut:])
	return p[:cut]
}

func (m *model) append(t *rapid.T, p []byte) {
	for len(p) > 0 {
		n := min(len(p), 256<<10)
		m.put(t, p[:n])
		p = p[n:]
	}
}

func (m *model) put(t *rapid.T, p []byte) {
	m.before = m.a.tracker
	info := m.a.tracker.All(p)
	m.a.tracker.Advance(info)
	err := m.s.Append(append(make([]byte, BlockHeaderSize), p...), m.a.epoch, info)
	if err != nil && !errors.Is(err, ErrFull) {
		t.Fatalf("Append: %v", err)
	}
	m.last = nil
	if err == nil {
		m.chunks = append(m.chunks, chunk{m.s.End() - uint64(len(p)), bytes.Clone(p)})
		m.last = &m.chunks[len(m.chunks)-1]
	}
	if m.s.Size()-m.s.HistorySize() > 1<<20+64*gapBlockSize { // Pending appends gaps beyond the limit
		t.Fatalf("%d bytes on disk, %d of them delivered", m.s.Size(), m.s.HistorySize())
	}
}

// at returns what was appended at r; false if not all of it was.
func (m *model) at(r stream.Range) ([]byte, bool) {
	var p []byte
	i, _ := slices.BinarySearchFunc(m.chunks, r.From+1, func(c chunk, pos uint64) int {
		if c.from < pos {
			return -1
		}
		return 1
	})
	for i--; i >= 0 && i < len(m.chunks) && m.chunks[i].from < r.To; i++ {
		c := m.chunks[i]
		from := r.From + uint64(len(p))
		if from < c.from || from >= c.from+uint64(len(c.data)) {
			return nil, false
		}
		p = append(p, c.data[from-c.from:min(uint64(len(c.data)), r.To-c.from)]...)
	}
	return p, uint64(len(p)) == r.To-r.From
}

// take reads up to most items and checks each.
func (m *model) take(t *rapid.T, r *modelReader, most int, giveUp bool) {
	for range most {
		item, ok := r.Next()
		if !ok && giveUp {
			item, ok = r.GiveUp()
		}
		if !ok {
			return
		}
		if item.From < r.at || item.From >= item.To || item.To > m.s.End() {
			t.Fatalf("item at %v, after %d; the end is %d", item.Range, r.at, m.s.End())
		}
		if item.Gap == nil {
			want, ok := m.at(item.Range)
			if !ok || !bytes.Equal(want[frameHeaderSize:], item.Frame) {
				t.Fatalf("what is read at %v was not appended there", item.Range)
			}
			if !bytes.HasPrefix(item.Frame, []byte("\x0a\x06stdout\x10")) {
				if item, ok = r.Reject(); !ok {
					continue
				}
			}
		}
		r.at = item.To
		if r.Reader != m.readers[m.owner(item)].Reader {
			continue
		}
		if m.acked.through(item.From) >= item.To {
			t.Fatalf("%v was acknowledged, and is read", item.Range)
		}
		item.Frame = bytes.Clone(item.Frame)
		r.handed = append(r.handed, item)
	}
}

func (m *model) owner(item Item) int {
	if item.Gap != nil {
		return 0
	}
	return int(frameTime(item.Frame) & 1)
}

// ack acknowledges the items for which which returns true.
func (m *model) ack(t *rapid.T, r *modelReader, which func() bool) {
	var ranges []stream.Range
	r.handed = slices.DeleteFunc(r.handed, func(item Item) bool {
		if !which() {
			return false
		}
		ranges = append(ranges, item.Range)
		m.acked.add(item.Range)
		if item.Gap != nil {
			m.lost += int(item.Gap.Frames)
		} else {
			n := frameTime(item.Frame)
			if m.numbers[n] {
				t.Fatalf("frame %d is delivered twice", n)
			}
			m.numbers[n] = true
		}
		return true
	})
	m.rand.Shuffle(len(ranges), func(i, j int) { ranges[i], ranges[j] = ranges[j], ranges[i] })
	if err := m.s.Ack(ranges); err != nil {
		t.Fatalf("Ack: %v", err)
	}
}

// history reads the history of the open spool and of its files. It contains everything that the
// delivery would return, nothing that was not appended, and only the newest of what was asked
// for.
func (m *model) history(t *rapid.T, tail int) {
	pending := map[uint64]bool{}
	r := m.s.NewReader()
	for _, item := range frames(r) {
		if item.Gap == nil {
			pending[item.From] = true
		}
	}
	r.Close()
	all := histories(t, m.s, HistoryOptions{Tail: -1})
	some := histories(t, m.s, HistoryOptions{Tail: tail})
	for i := range all {
		want := m.positions(t, all[i])
		if m.exact {
			for _, pos := range want {
				delete(pending, pos)
			}
			if len(pending) > 0 {
				t.Fatalf("%d: %d frames that wait to be delivered are not in the history", i, len(pending))
			}
			if got := m.positions(t, some[i]); !slices.Equal(got, want[max(0, len(want)-tail):]) {
				t.Fatalf("%d: the last %d frames of %v: %v", i, tail, want, got)
			}
		} else {
			m.positions(t, some[i])
		}
	}
}

// positions reads and closes h, checks each frame, and returns where the frames begin.
func (m *model) positions(t *rapid.T, h *History) (positions []uint64) {
	defer h.Close()
	for {
		frame, ok, err := h.Next()
		if err != nil {
			t.Fatalf("history: %v", err)
		}
		if !ok {
			return positions
		}
		at := stream.Range{From: h.r.last.from, To: h.r.last.from + uint64(frameHeaderSize+len(frame))}
		if want, ok := m.at(at); !ok || !bytes.Equal(want[frameHeaderSize:], frame) {
			t.Fatalf("what the history has at %v was not appended there", at)
		}
		if n := len(positions); n > 0 && at.From <= positions[n-1] {
			t.Fatalf("history: a frame at %d after one at %d", at.From, positions[n-1])
		}
		if !bytes.HasPrefix(frame, []byte("\x0a\x06stdout\x10")) {
			h.Reject()
			continue
		}
		positions = append(positions, at.From)
	}
}

func (r *modelReader) rewind() {
	r.Rewind()
	r.handed, r.at = nil, 0
}

// crash leaves the files of a killed process, with the last block torn if torn is true, and
// opens them.
func (m *model) crash(t *rapid.T, torn bool) {
	disk := m.disk.Killed()
	if torn && m.last != nil {
		seg := m.s.segments[len(m.s.segments)-1]
		cut := rapid.IntRange(1, len(m.last.data)+BlockHeaderSize).Draw(t, "torn")
		f, err := disk.OpenFile(m.s.segmentPath(seg.base), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Truncate(seg.size - int64(cut))
		f.Close()
	}
	again := m.last != nil && torn
	m.disk, m.o.FS = disk, disk
	m.open(t)
	// Like the intake, take the tracker from the last block.
	payload, info, epoch, ok := m.s.LastBlock()
	if again {
		p := m.last.data
		if torn := m.s.Torn(); torn != nil {
			if !torn.Matches(p, len(p)) || torn.Epoch != m.a.epoch {
				t.Fatalf("the torn block is not what was appended last")
			}
			m.s.RecoverTorn()
		}
		m.chunks = m.chunks[:len(m.chunks)-1]
		m.a.tracker = m.before
		m.put(t, p)
	} else if m.last != nil && (!ok || epoch != m.a.epoch || !bytes.Equal(payload, m.last.data) || info.Tracker() != m.a.tracker) {
		t.Fatalf("the last block is not what was appended last")
	}
	m.exact = false // after a kill, a loss may be counted twice
}

// finish reads and acknowledges everything, and checks that all of the stream is accounted for.
func (m *model) finish(t *rapid.T) {
	if len(m.rest) > 0 {
		m.append(t, m.rest)
		m.rest = nil
	}
	for rounds := 0; m.s.Pending(); rounds++ {
		if rounds > 100 {
			t.Fatalf("acknowledging does not end: acknowledged up to %d of %d", m.s.Acked(), m.s.End())
		}
		for i := range m.readers {
			r := &m.readers[i]
			r.rewind()
			m.take(t, r, 1<<20, true)
			m.ack(t, r, func() bool { return true })
		}
	}
	if m.exact && len(m.numbers)+m.lost != m.frames {
		t.Fatalf("%d delivered + %d reported as lost, %d were written", len(m.numbers), m.lost, m.frames)
	}
	if m.s.HistorySize() > m.o.History || m.s.stored.deliveredSegments != len(m.s.segments[:max(0, len(m.s.segments)-1)]) && m.s.active.appendable {
		t.Fatalf("%d bytes of history of %d, %d segments of %d", m.s.HistorySize(), m.o.History, m.s.stored.deliveredSegments, len(m.s.segments))
	}
	if len(m.s.segments)-m.s.stored.deliveredSegments > 1 || m.s.Fragments() > 0 || len(m.s.cursor.evicted) > 0 {
		t.Fatalf("left over: %d segments, %d fragments, %d evicted ranges", len(m.s.segments), m.s.Fragments(), len(m.s.cursor.evicted))
	}
	entries, err := m.disk.ReadDir(m.o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n := e.Name()
		if strings.HasSuffix(n, segmentSuffix) && !slices.ContainsFunc(m.s.segments, func(g segment) bool {
			return filepath.Join(m.o.Dir, n) == m.s.segmentPath(g.base)
		}) {
			t.Fatalf("left over: %s", n)
		}
	}
}

var historyBounds = rapid.SampledFrom([]int64{0, 40 << 10, 256 << 10, 1 << 30})

// TestSpoolAgreesWithModel does everything that can be done to a spool, in any order.
// What is read was appended at that position and was not acknowledged, and everything
// that is missing is reported.
func TestSpoolAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := durabletest.NewDisk()
		m := &model{
			disk:    disk,
			o:       Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20, DropNewest: rapid.Bool().Draw(t, "newest"), History: historyBounds.Draw(t, "history")},
			exact:   rapid.Bool().Draw(t, "exact"),
			numbers: map[int64]bool{},
			rand:    rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)),
		}
		exact := m.exact
		m.open(t)
		reader := func(t *rapid.T) *modelReader { return &m.readers[rapid.IntRange(0, 1).Draw(t, "reader")] }
		append1 := func(t *rapid.T) { m.append(t, m.block(t)) }
		forget := func(f func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) { m.last = nil; f(t) }
		}
		t.Repeat(map[string]func(*rapid.T){
			"append":  append1,
			"append2": append1,
			"append3": append1,
			"take": func(t *rapid.T) {
				m.take(t, reader(t), rapid.IntRange(1, 200).Draw(t, "most"), false)
			},
			"take all": func(t *rapid.T) { m.take(t, reader(t), 1<<20, false) },
			"ack": forget(func(t *rapid.T) {
				half := rapid.Bool().Draw(t, "half")
				m.ack(t, reader(t), func() bool { return !half || m.rand.IntN(2) == 0 })
			}),
			"history": func(t *rapid.T) { m.history(t, rapid.IntRange(0, 100).Draw(t, "tail")) },
			"rewind":  func(t *rapid.T) { reader(t).rewind() },
			"release": func(t *rapid.T) { reader(t).Release() },
			"sync": func(t *rapid.T) {
				if err := m.s.Sync(); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": forget(func(t *rapid.T) {
				for i := range m.readers {
					m.readers[i].Close()
				}
				if err := m.s.Close(); err != nil {
					t.Fatal(err)
				}
				if rapid.IntRange(0, 3).Draw(t, "other history") == 0 {
					m.o.History = historyBounds.Draw(t, "history")
				}
				m.open(t)
			}),
			"crash": func(t *rapid.T) {
				if exact {
					t.Skip()
				}
				m.crash(t, rapid.Bool().Draw(t, "torn"))
			},
			"evict prefix": func(t *rapid.T) { m.s.evictPrefix() },
			"evict history": forget(func(t *rapid.T) {
				m.s.Dropped()
				m.s.evictHistory()
			}),
			"close files": func(t *rapid.T) {
				m.s.mu.Lock()
				defer m.s.mu.Unlock()
				m.s.closeFilesLocked()
			},
			"another FIFO": func(t *rapid.T) {
				if len(m.rest) > 0 {
					t.Skip()
				}
				m.a.epoch++
				m.a.tracker = Tracker{}
				m.last = nil
			},
		})
		m.finish(t)
	})
}
