package events

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is a slow and plain account of what must come out of an Assembler: it keeps whole lines,
// and divides them when they have ended.
type model struct {
	max    int
	wait   time.Duration
	open   map[Source]*modelLine
	want   map[Source][]string // events, in order
	pushed []Range
}

type modelLine struct {
	id    string
	time  int64
	since time.Time
	text  []byte
}

func (m *model) push(f Frame, at Range, now time.Time) {
	m.pushed = append(m.pushed, at)
	l := m.open[f.Source]
	if l != nil && !(f.Partial && l.id == string(f.PartialID) || !f.Partial && l.id == "") {
		m.end(f.Source)
		l = nil
	}
	if l == nil {
		l = &modelLine{id: string(f.PartialID), time: f.Time}
		m.open[f.Source] = l
	}
	l.text = append(l.text, f.Line...)
	l.since = now
	if !f.Partial || f.Last || len(f.PartialID) == 0 && len(f.Line) < pieceBytes {
		m.end(f.Source)
	}
}

func (m *model) end(src Source) {
	l := m.open[src]
	delete(m.open, src)
	for {
		n, cost := 0, 0
		for n < len(l.text) {
			r, size := utf8.DecodeRune(l.text[n:])
			if cost += len(string(r)); cost > m.max { // An invalid byte is U+FFFD.
				break
			}
			n += size
		}
		m.want[src] = append(m.want[src], fmt.Sprintf("%d %q", l.time, l.text[:n]))
		if l.text = l.text[n:]; len(l.text) == 0 {
			return
		}
	}
}

func (m *model) flush(now time.Time) {
	for src, l := range m.open {
		if now.Sub(l.since) >= m.wait {
			m.end(src)
		}
	}
}

func (m *model) close() {
	for src := range m.open {
		m.end(src)
	}
}

func (m *model) due() (due time.Time) {
	for _, l := range m.open {
		if d := l.since.Add(m.wait); due.IsZero() || d.Before(due) {
			due = d
		}
	}
	return due
}

// drawFrame draws a frame such as dockerd writes, and such as it never would.
func drawFrame(t *rapid.T) Frame {
	text := rapid.OneOf(
		rapid.Map(rapid.StringN(0, 6, 12), func(s string) []byte { return []byte(s) }),
		rapid.SliceOfN(rapid.SampledFrom([]byte("a\xe6\x97\xa5\xf0\x9f\x98\x80\xff")), 0, 12),
		rapid.Map(rapid.IntRange(0, 5), func(n int) []byte { return bytes.Repeat([]byte("x"), n) }),
	)
	f := Frame{
		Source: rapid.SampledFrom([]Source{Stdout, Stderr, Unknown}).Draw(t, "source"),
		Time:   rapid.Int64Range(1, 1000).Draw(t, "time"),
		Line:   text.Draw(t, "line"),
	}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1, 2:
	case 3:
		f.Partial = true
		if rapid.Bool().Draw(t, "full") {
			f.Line = append(f.Line, bytes.Repeat([]byte("y"), pieceBytes-len(f.Line))...)
		}
	case 4:
		f.Partial, f.Last, f.PartialID = true, true, drawID(t)
	default:
		f.Partial, f.PartialID = true, drawID(t)
	}
	return f
}

func drawID(t *rapid.T) []byte {
	return rapid.SampledFrom([][]byte{[]byte("i"), []byte("j")}).Draw(t, "id")
}

// TestAssemblerLosesNothing holds, for any frames of all sources in any order, and flushes and ends
// at any time: the events of each source are those of the model, which hold each byte once and in
// order; each frame is in the ranges of exactly one event; and where an event's text ends inside a
// frame, the frame is not yet among the ranges handed out.
func TestAssemblerLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{4, 5, 7, 12, 64, 40_000, MaxBytes}).Draw(t, "limit")
		m := &model{max: limit, wait: time.Minute, open: map[Source]*modelLine{}, want: map[Source][]string{}}
		a := NewAssembler(Options{Wait: m.wait, MaxBytes: limit})
		now := time.Unix(1000, 0)
		var pos uint64
		var acked []Range
		got := map[Source][]string{}
		var in, out, whole [Stderr + 1]int // bytes pushed, bytes in events, bytes of frames in ranges
		size := map[uint64]int{}           // of a frame's text, by its position

		take := func() {
			for e, ok := a.Next(); ok; e, ok = a.Next() {
				got[e.Source] = append(got[e.Source], fmt.Sprintf("%d %q", e.Time, e.Message))
				out[e.Source] += len(e.Message)
				for _, r := range e.Ranges {
					acked = append(acked, r)
					for p, n := range size {
						if p >= r.From && p < r.To {
							whole[e.Source] += n
						}
					}
				}
				if whole[e.Source] > out[e.Source] {
					t.Fatalf("%v: %d bytes acknowledged, %d handed out", e.Source, whole[e.Source], out[e.Source])
				}
				if rapid.Bool().Draw(t, "release") {
					a.Release()
				}
			}
			if want := m.due(); !a.Due().Equal(want) {
				t.Fatalf("Due is %v, want %v", a.Due(), want)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 15).Draw(t, "step") {
			case 0:
				m.flush(now)
				a.Flush(now)
			case 1:
				m.close()
				a.Close()
			default:
				f := drawFrame(t)
				pos += uint64(rapid.SampledFrom([]int{0, 0, 0, 7}).Draw(t, "gap"))
				at := Range{pos, pos + uint64(len(f.Line)) + 9}
				size[at.From] = len(f.Line)
				in[f.Source] += len(f.Line)
				pos = at.To
				m.push(f, at, now)
				f.Line, f.PartialID = bytes.Clone(f.Line), bytes.Clone(f.PartialID)
				a.Push(f, at.From, at.To, now)
				take()
				for _, b := range [][]byte{f.Line, f.PartialID} { // The caller's buffer is used again.
					for i := range b {
						b[i] = '#'
					}
				}
				continue
			}
			take()
		}
		m.close()
		a.Close()
		take()

		if d := cmp.Diff(m.want, got); d != "" {
			t.Fatalf("events (-want +got):\n%s", d)
		}
		if in != out || in != whole {
			t.Fatalf("bytes: in %v, out %v, acknowledged %v", in, out, whole)
		}
		slices.SortFunc(acked, func(a, b Range) int { return int(a.From) - int(b.From) })
		for i := 1; i < len(acked); i++ {
			if acked[i].From < acked[i-1].To {
				t.Fatalf("%v and %v overlap", acked[i-1], acked[i])
			}
		}
		if d := cmp.Diff(join(m.pushed), join(acked)); d != "" {
			t.Fatalf("ranges (-pushed +acknowledged):\n%s", d)
		}
	})
}

// join merges adjacent ranges.
func join(sorted []Range) []Range {
	var joined []Range
	for _, r := range sorted {
		if n := len(joined); n > 0 && joined[n-1].To == r.From {
			joined[n-1].To = r.To
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

// FuzzAssembler runs the property on inputs that the fuzzer chooses.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte("\x00\x03abc\x41\x02de\x81\x01f"), uint8(4))
	f.Add([]byte("\x41\x04ab\xe6\x97\x42\x01\xa5\xc1\x00"), uint8(6))
	f.Fuzz(func(t *testing.T, data []byte, limit uint8) {
		a := NewAssembler(Options{MaxBytes: int(limit)})
		var in, out [Stderr + 1][]byte
		var frames, covered uint64
		take := func() {
			for e, ok := a.Next(); ok; e, ok = a.Next() {
				out[e.Source] = append(out[e.Source], e.Message...)
				if n := len(string([]rune(string(e.Message)))); n > max(int(limit), utf8.UTFMax) && limit != 0 {
					t.Fatalf("an event of %d bytes, the limit is %d", n, limit)
				}
				for _, r := range e.Ranges {
					covered += r.To - r.From
				}
			}
		}
		for len(data) >= 2 { // A frame is a byte of flags, a byte of length, and the text.
			flags, n := data[0], min(int(data[1]), len(data)-2)
			fr := Frame{Source: Source(flags % 3), Line: data[2 : 2+n], Partial: flags&0x40 != 0, Last: flags&0x80 != 0}
			if flags&0x20 != 0 {
				fr.PartialID = []byte{flags & 0x1c}
			}
			data = data[2+n:]
			in[fr.Source] = append(in[fr.Source], fr.Line...)
			a.Push(fr, frames, frames+1, time.Time{})
			frames++
			take()
		}
		a.Close()
		take()
		for src := range in {
			if !bytes.Equal(in[src], out[src]) {
				t.Errorf("%v:\n in %q\nout %q", Source(src), in[src], out[src])
			}
		}
		if frames != covered {
			t.Errorf("%d frames, %d in ranges", frames, covered)
		}
	})
}
