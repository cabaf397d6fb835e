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

// model is a slow and plain account of what must come out of a Pipeline: it keeps whole
// lines and whole events of any length. What a part is, reader knows.
type model struct {
	o      Options
	open   map[Source]*modelLine
	joined map[Source]*modelEvent
	want   map[Source][]said
	pushed []stream.Range

	// A part of an unfinished line may have gone out. It decided what the filters want,
	// and whether an event begins.
	tore bool
}

type modelLine struct {
	id          string
	time, begun int64
	born, since time.Time
	text        []byte
}

// decided returns whether the model knows the events, and not only their text.
func (m *model) decided() bool {
	return !m.tore || m.o.Pattern == nil && m.o.Include == nil && m.o.Exclude == nil
}

type modelEvent struct {
	lines        [][]byte
	time, latest int64
	born, since  time.Time
}

// said is an event without regard to its parts.
type said struct {
	Time int64
	Text string
}

func newModel(o Options) *model {
	return &model{o: o, open: map[Source]*modelLine{}, joined: map[Source]*modelEvent{}, want: map[Source][]said{}}
}

func (m *model) push(f Frame, at stream.Range, now time.Time) {
	m.pushed = append(m.pushed, at)
	for src, ev := range m.joined {
		if m.open[src] == nil && m.outlived(ev, f.Time) {
			m.endEvent(src)
		}
	}
	l := m.open[f.Source]
	continued := l != nil && (f.Partial && l.id == string(f.PartialID) || !f.Partial && l.id == "")
	for src, l := range m.open {
		if time.Duration(f.Time-l.begun) >= 12*m.o.Wait && (src != f.Source || continued) {
			m.tore, l.born, l.begun = true, now, f.Time
		}
	}
	if l != nil && !continued {
		m.endLine(f.Source)
		l = nil
	}
	if l == nil {
		l = &modelLine{id: string(f.PartialID), time: f.Time, begun: f.Time, born: now}
		m.open[f.Source] = l
	}
	l.text = append(l.text, f.Line...)
	l.since = now
	if !f.Partial || f.Last || len(f.PartialID) == 0 && len(f.Line) < pieceBytes {
		m.endLine(f.Source)
	}
}

// sequences is what StripANSI strips of the texts that are drawn, said in another way.
var sequences = regexp.MustCompile(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\` + "`" + `-~]` +
	`|(?:\x1b\]|\x{9d})[^\x00-\x07\x0e-\x1f\x7f-\x{9f}]*(?:\x07|\x1b\\|\x{9c})` +
	`|(?:\x1b[PX^_]|[\x{90}\x{98}\x{9e}\x{9f}])[^\x00-\x07\x0e-\x1f\x7f-\x{9f}]*(?:\x1b\\|\x{9c})`)

func (m *model) endLine(src Source) {
	l := m.open[src]
	delete(m.open, src)
	if m.o.StripANSI {
		l.text = sequences.ReplaceAll(l.text, nil)
	}
	if m.o.Pattern == nil {
		m.out(src, said{l.time, string(l.text)})
		return
	}
	ev := m.joined[src]
	if ev != nil {
		head := l.text[:plainFit(l.text, m.o.MaxBytes)]
		if m.o.Pattern.Match(head) || m.outlived(ev, l.time) {
			m.endEvent(src)
			ev = nil
		}
	}
	if ev == nil {
		ev = &modelEvent{time: l.time, born: l.since}
		m.joined[src] = ev
	}
	ev.lines = append(ev.lines, l.text)
	ev.latest, ev.since = l.time, l.since
}

func (m *model) outlived(ev *modelEvent, at int64) bool {
	return time.Duration(at-ev.latest) >= m.o.Wait || time.Duration(at-ev.time) >= 12*m.o.Wait
}

func (m *model) endEvent(src Source) {
	ev := m.joined[src]
	delete(m.joined, src)
	m.out(src, said{ev.time, string(bytes.Join(ev.lines, []byte("\n")))})
}

// out is given the event without its last newline.
func (m *model) out(src Source, e said) {
	head := []byte(e.Text[:plainFit([]byte(e.Text), m.o.MaxBytes)])
	switch {
	case m.o.Include != nil && !m.o.Include.Match(head), m.o.Exclude != nil && m.o.Exclude.Match(head):
		return
	case m.o.JSON != nil && strings.Trim(e.Text, "\n") == "", m.o.Pattern == nil && e.Text == "":
		return
	case m.o.JSON != nil:
		e.Text = string([]rune(e.Text))
	case m.o.Pattern != nil && cost([]byte(e.Text)) != m.o.MaxBytes:
		e.Text += "\n"
	}
	m.want[src] = append(m.want[src], e)
}

// cost is the number of bytes that CloudWatch counts.
func cost(b []byte) int { return len(repaired(b)) }

func plainFit(b []byte, limit int) int {
	c := 0
	for i, r := range string(b) {
		if c += len(string(r)); c > limit {
			return i
		}
	}
	return len(b)
}

func (m *model) flush(now time.Time) {
	for src, l := range m.open {
		switch {
		case now.Sub(l.since) >= m.o.Wait:
			m.endLine(src)
		case now.Sub(l.born) >= 12*m.o.Wait:
			m.tore, l.born = true, now
			l.begun += int64(12 * m.o.Wait)
		}
	}
	for src := range m.joined {
		if due, ok := m.dueEvent(src); ok && !now.Before(due) {
			m.endEvent(src)
		}
	}
}

func (m *model) dueEvent(src Source) (time.Time, bool) {
	ev := m.joined[src]
	due := ev.since.Add(m.o.Wait)
	if last := ev.born.Add(12 * m.o.Wait); last.Before(due) {
		due = last
	}
	return due, m.open[src] == nil
}

func (m *model) close() {
	for src := range m.open {
		m.endLine(src)
	}
	for src := range m.joined {
		m.endEvent(src)
	}
}

func (m *model) due() (due time.Time) {
	for _, l := range m.open {
		d := l.since.Add(m.o.Wait)
		if last := l.born.Add(12 * m.o.Wait); last.Before(d) {
			d = last
		}
		if due.IsZero() || d.Before(due) {
			due = d
		}
	}
	for src := range m.joined {
		if d, ok := m.dueEvent(src); ok && (due.IsZero() || d.Before(due)) {
			due = d
		}
	}
	return due
}

// reader puts parts together again, and holds that each is what the package comment says:
// the marks, the numbers, the size.
type reader struct {
	o    Options
	got  map[Source][]said
	part map[Source]int // the number of the part that must come next; 0: none
	out  [Stderr + 1]int
}

func newReader(o Options) *reader {
	return &reader{o: o, got: map[Source][]said{}, part: map[Source]int{}}
}

func (r *reader) read(e Event) error {
	if len(e.Message) == 0 {
		return nil
	}
	if n := cost(e.Message); n > r.o.MaxBytes {
		return fmt.Errorf("an event of %d bytes: %.200q", n, e.Message)
	}
	text, part, more := string(e.Message), 0, false
	if r.o.JSON != nil {
		var v struct {
			Log                 json.RawMessage
			Part                int
			Continued           bool
			Source, ContainerID string
		}
		if err := json.Unmarshal([]byte(string([]rune(text))), &v); err != nil {
			return fmt.Errorf("%w: %.200q", err, e.Message)
		}
		if v.Source != e.Source.String() {
			return fmt.Errorf("source in %.200q, not %v", e.Message, e.Source)
		}
		if text = string(v.Log); text[0] == '"' {
			if err := json.Unmarshal(v.Log, &text); err != nil {
				return err
			}
			if o, ok := nested([]byte(text)); ok && v.Part == 0 && len(o)+300 < r.o.MaxBytes {
				return fmt.Errorf("an object as a string: %.200q", e.Message)
			}
		}
		part, more = v.Part, v.Continued
	} else {
		if r.part[e.Source] > 0 {
			part = r.part[e.Source]
			var ok bool
			if text, ok = strings.CutPrefix(text, fmt.Sprintf("[logspool: part %d] ", part)); !ok {
				return fmt.Errorf("part %d is %.200q", part, text)
			}
		}
		text, more = strings.CutSuffix(text, fmt.Sprintf(" [logspool: continued in part %d]", max(part, 1)+1))
	}
	r.out[e.Source] += len(text)
	if next := r.part[e.Source]; next > 0 {
		all := r.got[e.Source]
		if part != next || all[len(all)-1].Time != e.Time {
			return fmt.Errorf("part %d at %d: %.200q, not part %d of %.200q", part, e.Time, e.Message, next, all[len(all)-1].Text)
		}
		all[len(all)-1].Text += text
	} else {
		if part > 1 {
			return fmt.Errorf("part %d comes first", part)
		}
		r.got[e.Source] = append(r.got[e.Source], said{e.Time, text})
	}
	r.part[e.Source] = 0
	if more {
		r.part[e.Source] = max(part, 1) + 1
	}
	return nil
}

// check holds that what was read is what the model says. Where an event is divided its
// last newline may have had no room.
func (r *reader) check(m *model) error {
	for src, n := range r.part {
		if n > 0 {
			return fmt.Errorf("%v: part %d never came", src, n)
		}
	}
	if r.o.JSON != nil { // An object is without the white space around it.
		for _, all := range []map[Source][]said{m.want, r.got} {
			for _, events := range all {
				for i := range events {
					if o, ok := nested([]byte(events[i].Text)); ok {
						events[i].Text = string(o)
					}
				}
			}
		}
	} else if r.o.Pattern != nil {
		for src, want := range m.want {
			for i, got := range r.got[src] {
				if i < len(want) && cost([]byte(want[i].Text)) > r.o.MaxBytes && got.Text+"\n" == want[i].Text {
					want[i].Text = got.Text
				}
			}
		}
	}
	if d := cmp.Diff(m.want, r.got); d != "" {
		return fmt.Errorf("events (-want +got):\n%s", d)
	}
	return nil
}

var texts = []string{
	"BEGIN", "BEGIN a", "  at x.y(Z.java:1)", "", "", "no", "drop", "keep", "é日本", "😀", "\xff", "\xf0\x9f", "\xe6\x97", "\"", "\\\t\x01", "\u0085",
	"\x1b[31m", "\x1b[", "\x1b", "31m", "\x1b]0;title\x07", "\x1b]8;;u\x1b\\", "\x1b]", "\u009b1m", "\u009d0\u009c", "\xc2", "\x9b1", "\x1b(B", "\x1b7", "\x1bPq",
	"\x1b\\", "\x1b[1;2 q", "°",
	`{"a":1.10,"a":2}`, ` {"b":{"c":["é"]}} `, `{"a":`, "}", "{}",
}

// drawFrame draws a frame such as dockerd writes, and such as it never would.
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

// drawOptions draws options; with none in a third of the cases.
func drawOptions(t *rapid.T) Options {
	o := Options{Wait: time.Minute, MaxBytes: rapid.SampledFrom([]int{128, 129, 140, 200, 400, 40_000, MaxBytes}).Draw(t, "limit")}
	if rapid.IntRange(0, 2).Draw(t, "plain") == 0 {
		return o
	}
	is := rapid.Bool()
	if is.Draw(t, "multiline") {
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

// TestPipelineLosesNothing holds, for any options, any frames of all sources in any
// order, and flushes and ends at any time: the events of each source, put together from
// their parts, are those of the model, which hold each byte once and in order; each
// message is within the limit; each frame is in the ranges of exactly one event; and
// where an event's text ends inside a frame, the frame is not yet among the ranges handed
// out.
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
		var in, whole [Stderr + 1]int // bytes pushed, and bytes of frames in ranges
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

// exactlyOnce holds that the ranges handed out are those that were pushed.
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

// TestPipelineRewinds plays a stream that is rewound at any time, even between an event's
// parts, and read again where nothing has been acknowledged: in the end each frame was
// acknowledged once, and what it said was handed out before.
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
			case step == 0 && rewinds < 5: // What was handed out last is not acknowledged.
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
		if flags&1 != 0 {
			o.Pattern = regexp.MustCompile(`^B`)
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
				continue // dockerd's lines have no newline; what looks like a mark puts the reader off.
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
