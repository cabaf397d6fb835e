package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/stream"
)

var texts = []string{
	"BEGIN", "BEGIN a", "  at x.y(Z.java:1)", "a.BError: c", "goroutine 1 [running]:", "Traceback (most recent call last):", "", "", "no", "drop", "keep", "é日本", "😀", "\xff", "\xf0\x9f", "\xe6\x97", "\"", "\\\t\x01", "\u0085",
	"\x1b[31m", "\x1b[", "\x1b", "31m", "\x1b]0;title\x07", "\x1b]8;;u\x1b\\", "\x1b]", "\u009b1m", "\u009d0\u009c", "\xc2", "\x9b1", "\x1b(B", "\x1b7", "\x1bPq",
	"\x1b\\", "\x1b[1;2 q", "°",
	`{"a":1.10,"a":2}`, ` {"b":{"c":["é"]}} `, `{"a":`, "}", "{}",
}

// drawFrame draws a frame as dockerd writes it, or as it never would.
func drawFrame(t *rapid.T) Frame {
	text := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom(texts), 0, 6), func(s []string) []byte { return []byte(strings.Join(s, "")) }),
		rapid.Map(rapid.SampledFrom(texts), func(s string) []byte { return []byte(s) }),
		rapid.SliceOfN(rapid.SampledFrom([]byte("a\xe6\x97\xa5\xf0\x9f\x98\x80\xff")), 0, 12),
		rapid.Map(rapid.IntRange(0, 300), func(n int) []byte { return bytes.Repeat([]byte("x"), n) }),
		rapid.Map(rapid.IntRange(0, 100), func(n int) []byte { return bytes.Repeat([]byte("\"é\xff"), n) }),
	)
	f := Frame{
		Source: rapid.SampledFrom([]Source{Stdout, Stderr, Unknown}).Draw(t, "source"),
		Time:   rapid.SampledFrom([]int64{1, 2, 3, 59e9, 61e9, 719e9, 721e9}).Draw(t, "time"),
		Line:   text.Draw(t, "line"),
	}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1, 2, 3:
	case 4:
		f.Partial = true
		if rapid.IntRange(0, 9).Draw(t, "full") == 0 {
			f.Line = append(f.Line, bytes.Repeat([]byte("y"), pieceBytes-len(f.Line))...)
		}
	case 5:
		f.Partial, f.Last, f.PartialID = true, true, drawID(t)
	default:
		f.Partial, f.PartialID = true, drawID(t)
	}
	return f
}

func drawID(t *rapid.T) []byte {
	return rapid.SampledFrom([][]byte{[]byte("i"), []byte("j")}).Draw(t, "id")
}

// drawOptions draws options. A third of the cases has none.
func drawOptions(t *rapid.T) Options {
	o := Options{Wait: time.Minute, MaxBytes: rapid.SampledFrom([]int{128, 129, 140, 200, 400, 40_000, MaxBytes}).Draw(t, "limit")}
	if rapid.IntRange(0, 2).Draw(t, "plain") == 0 {
		return o
	}
	is := rapid.Bool()
	switch rapid.IntRange(0, 3).Draw(t, "multiline") {
	case 0:
		o.Traces = Runtimes()
	case 1, 2:
		o.Pattern = regexp.MustCompile(`^BEGIN|^\s*{`)
	}
	o.StripANSI = is.Draw(t, "strip")
	if rapid.IntRange(0, 3).Draw(t, "include") == 0 {
		o.Include = regexp.MustCompile(`x|keep|BEGIN|{`)
	}
	if rapid.IntRange(0, 3).Draw(t, "exclude") == 0 {
		o.Exclude = regexp.MustCompile(`drop$`)
	}
	if is.Draw(t, "json") {
		o.JSON = &JSON{ContainerID: "c0ffee", ContainerName: "na\"me", ImageName: "i"}
	}
	return o
}

// TestPipelineLosesNothing checks, with any options, any frames of all sources in any
// order, and flushes and ends at any time:
//   - The events of each source, joined from their parts, are those of the model, which have each
//     byte once and in order.
//   - Each message is within the limit.
//   - Each frame is in the ranges of exactly one event.
//   - If an event's text ends inside a frame, the frame is not in the ranges handed out so far.
func TestPipelineLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOptions(t)
		o.Budget = NewBudget(rapid.SampledFrom([]int64{0, 100_000, BudgetBytes}).Draw(t, "budget"))
		m, r := newModel(o), newReader(o)
		m.tore = o.Budget.size < BudgetBytes
		p := NewPipeline(o)
		now := time.Unix(1000, 0)
		var pos uint64
		var acked []stream.Range
		var in, whole [Stderr + 1]int // bytes pushed, and bytes of the frames in ranges
		size := map[uint64]int{}      // of a frame's text, by its position
		counts := !o.StripANSI && o.Include == nil && o.Exclude == nil && o.JSON == nil

		take := func() {
			for e, ok := p.Next(); ok; e, ok = p.Next() {
				if err := r.read(e); err != nil {
					t.Fatal(err)
				}
				for _, at := range e.Ranges {
					acked = append(acked, at)
					for pos, n := range size {
						if pos >= at.From && pos < at.To {
							whole[e.Source] += n
						}
					}
				}
				if counts && whole[e.Source] > r.out[e.Source] {
					t.Fatalf("%v: %d bytes acknowledged, %d handed out", e.Source, whole[e.Source], r.out[e.Source])
				}
				switch rapid.IntRange(0, 2).Draw(t, "release") {
				case 0:
					p.Release()
				case 1:
					want := Event{e.Time, e.Source, bytes.Clone(e.Message), slices.Clone(e.Ranges)}
					if got := p.Keep(); !sameEvent(got, want) {
						t.Fatalf("%v is kept as %v", want, got)
					}
				}
			}
			if want := m.due(); m.decided() && !p.Due().Equal(want) {
				t.Fatalf("Due is %v, want %v", p.Due(), want)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 15).Draw(t, "step") {
			case 0:
				m.flush(now)
				p.Flush(now)
			case 1:
				m.close()
				p.Close()
			default:
				f := drawFrame(t)
				pos += uint64(rapid.SampledFrom([]int{0, 0, 0, 7}).Draw(t, "gap"))
				at := stream.Range{From: pos, To: pos + uint64(len(f.Line)) + 9}
				size[at.From] = len(f.Line)
				in[f.Source] += len(f.Line)
				pos = at.To
				m.push(f, at, now)
				f.Line, f.PartialID = bytes.Clone(f.Line), bytes.Clone(f.PartialID)
				before := bytes.Clone(f.Line)
				p.Push(f, at.From, at.To, now)
				take()
				if !bytes.Equal(f.Line, before) {
					t.Fatalf("the caller's %q has become %q", before, f.Line)
				}
				for _, b := range [][]byte{f.Line, f.PartialID} { // The caller reuses its buffer.
					for i := range b {
						b[i] = '#'
					}
				}
				continue
			}
			take()
		}
		m.close()
		p.Close()
		take()

		if err := r.check(m); m.decided() && err != nil {
			t.Fatal(err)
		}
		if p.Reset(); o.Budget.Used() != 0 {
			t.Fatalf("%d bytes are held by nothing", o.Budget.Used())
		}
		if in != whole {
			t.Fatalf("bytes: in %v, acknowledged %v", in, whole)
		}
		if err := exactlyOnce(m.pushed, acked); err != nil {
			t.Fatal(err)
		}
	})
}

// exactlyOnce checks that the ranges handed out are those that were pushed.
func exactlyOnce(pushed, acked []stream.Range) error {
	slices.SortFunc(acked, func(a, b stream.Range) int { return int(a.From) - int(b.From) })
	for i := 1; i < len(acked); i++ {
		if acked[i].From < acked[i-1].To {
			return fmt.Errorf("%v and %v overlap", acked[i-1], acked[i])
		}
	}
	if d := cmp.Diff(join(pushed), join(acked)); d != "" {
		return fmt.Errorf("ranges (-pushed +acknowledged):\n%s", d)
	}
	return nil
}

// join merges adjacent ranges.
func join(sorted []stream.Range) []stream.Range {
	var joined []stream.Range
	for _, r := range sorted {
		joined = addRange(joined, r)
	}
	return joined
}

// TestPipelineRewinds rewinds the stream at any time, also between an event's parts,
// and reads again what is not acknowledged. In the end each frame was acknowledged
// once, after its text was handed out.
func TestPipelineRewinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOptions(t)
		o.Include, o.Exclude = nil, nil
		p := NewPipeline(o)
		now := time.Unix(1000, 0)
		frames := rapid.SliceOfN(rapid.Custom(drawFrame), 1, 30).Draw(t, "frames")
		var pushed []stream.Range
		for i := range frames {
			frames[i].Line = fmt.Appendf(frames[i].Line, "\x01<%d>", i)
			pushed = append(pushed, stream.Range{From: uint64(i) * 10, To: uint64(i)*10 + 10})
		}
		at, acked, said := 0, map[int]bool{}, map[Source]*strings.Builder{}
		for src := range Stderr + 1 {
			said[src] = &strings.Builder{}
		}
		var ranges []stream.Range
		for rewinds := 0; ; {
			e, ok := p.Next()
			switch step := rapid.IntRange(0, 30).Draw(t, "step"); {
			case step == 0 && rewinds < 5: // The event that was handed out last is not acknowledged.
				rewinds++
				p.Reset()
				at = 0
				continue
			case step == 1:
				if ok {
					e.Message, e.Ranges = bytes.Clone(e.Message), slices.Clone(e.Ranges)
				}
				p.Release()
			}
			if ok {
				text := string(e.Message)
				text = regexp.MustCompile(`^\[logspool: part \d+\] | \[logspool: continued in part \d+\]$`).ReplaceAllString(text, "")
				if v := (struct{ Log string }{}); o.JSON != nil && json.Unmarshal([]byte(text), &v) == nil {
					text = v.Log
				}
				said[e.Source].WriteString(text)
				for _, r := range e.Ranges {
					ranges = append(ranges, r)
					for i := int(r.From / 10); i < int(r.To/10); i++ {
						acked[i] = true
						if s := said[frames[i].Source].String(); !strings.Contains(s, fmt.Sprintf("\x01<%d>", i)) {
							t.Fatalf("frame %d is acknowledged after %q", i, s)
						}
					}
				}
				continue
			}
			for at < len(frames) && acked[at] {
				at++
			}
			switch {
			case at < len(frames):
				p.Push(frames[at], pushed[at].From, pushed[at].To, now)
				at++
			case len(acked) < len(frames):
				p.Close()
			default:
				if err := exactlyOnce(pushed, ranges); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	})
}

func sameEvent(a, b Event) bool {
	return a.Time == b.Time && a.Source == b.Source && bytes.Equal(a.Message, b.Message) && slices.Equal(a.Ranges, b.Ranges)
}

// FuzzPipeline runs the property on inputs that the fuzzer chooses.
func FuzzPipeline(f *testing.F) {
	f.Add([]byte("\x00\x03abc\x41\x02de\x81\x01f"), uint8(0), uint8(4))
	f.Add([]byte("\x41\x04ab\xe6\x97\x42\x01\xa5\xc1\x00"), uint8(0), uint8(6))
	f.Add([]byte("\x01\x05BEGIN\x01\x03 at\x02\x04else\x01\x05BEGIN"), uint8(1), uint8(200))
	f.Add([]byte("\x61\x05\x1b[31m\xe1\x02ab\x01\x03\x1b[1"), uint8(2), uint8(140))
	f.Add([]byte("\x01\x07{\"a\":1}\x01\x02\"\xff\x01\x00"), uint8(4), uint8(128))
	f.Add(append([]byte("\x01\xc8"), bytes.Repeat([]byte("\"\n\x1b["), 50)...), uint8(15), uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, flags, limit uint8) {
		o := Options{Wait: time.Minute, MaxBytes: max(int(limit), 128)}
		switch {
		case flags&1 != 0:
			o.Pattern = regexp.MustCompile(`^B`)
		case flags&32 != 0:
			o.Traces = Runtimes()
		}
		o.StripANSI = flags&2 != 0
		if flags&4 != 0 {
			o.JSON = &JSON{ContainerID: "c"}
		}
		if flags&8 != 0 {
			o.Include = regexp.MustCompile(`[a-z]`)
		}
		if flags&16 != 0 {
			o.Exclude = regexp.MustCompile(`drop`)
		}
		m, r, p := newModel(o), newReader(o), NewPipeline(o)
		var now time.Time
		var frames, covered uint64
		take := func() {
			for e, ok := p.Next(); ok; e, ok = p.Next() {
				if err := r.read(e); err != nil {
					t.Fatal(err)
				}
				for _, at := range e.Ranges {
					covered += at.To - at.From
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
			if bytes.Contains(fr.Line, []byte("logspool")) || bytes.IndexByte(fr.Line, '\n') >= 0 {
				continue // dockerd's lines have no newline, and the reader would take the text for a mark.
			}
			m.push(fr, stream.Range{From: frames, To: frames + 1}, now)
			p.Push(fr, frames, frames+1, now)
			frames++
			take()
			if now = now.Add(time.Duration(flags>>2) * time.Second); flags&0x1c == 0x1c {
				m.flush(now)
				p.Flush(now)
				take()
			}
		}
		m.close()
		p.Close()
		take()
		if err := r.check(m); m.decided() && err != nil {
			t.Error(err)
		}
		if frames != covered {
			t.Errorf("%d frames, %d in ranges", frames, covered)
		}
	})
}
