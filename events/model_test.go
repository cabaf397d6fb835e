package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/stream"
)

// model computes slowly and simply which events a Pipeline must return. It keeps whole
// lines and whole events of any length. It does not know parts: reader joins them.
type model struct {
	o      Options
	traces *traces // traces recognises traces as the pipeline does; traces_test.go tests it.
	open   map[Source]*modelLine
	joined map[Source]*modelEvent
	want   map[Source][]said
	pushed []stream.Range

	// A part of an unfinished line may have gone out. It decided whether the filters
	// drop the event, and whether an event begins.
	tore bool
}

type modelLine struct {
	id          string
	time, begun int64
	born, since time.Time
	text        []byte
}

// decided reports whether the model knows the events, and not only their text.
func (m *model) decided() bool {
	return !m.tore || !m.o.joinsLines() && m.o.Include == nil && m.o.Exclude == nil
}

type modelEvent struct {
	lines        [][]byte
	time, latest int64
	born, since  time.Time
}

// said is an event whose parts are joined.
type said struct {
	Time int64
	Text string
}

func newModel(o Options) *model {
	return &model{o: o, traces: newTraces(o.Traces), open: map[Source]*modelLine{}, joined: map[Source]*modelEvent{}, want: map[Source][]said{}}
}

func (m *model) push(f Frame, at stream.Range, now time.Time) {
	m.pushed = append(m.pushed, at)
	for src, ev := range m.joined {
		if m.open[src] == nil && m.waitOver(ev, f.Time) {
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

// sequences matches what StripANSI removes from the texts that are drawn.
var sequences = regexp.MustCompile(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\` + "`" + `-~]` +
	`|(?:\x1b\]|\x{9d})[^\x00-\x07\x0e-\x1f\x7f-\x{9f}]*(?:\x07|\x1b\\|\x{9c})` +
	`|(?:\x1b[PX^_]|[\x{90}\x{98}\x{9e}\x{9f}])[^\x00-\x07\x0e-\x1f\x7f-\x{9f}]*(?:\x1b\\|\x{9c})`)

func (m *model) endLine(src Source) {
	l := m.open[src]
	delete(m.open, src)
	if m.o.StripANSI {
		l.text = sequences.ReplaceAll(l.text, nil)
	}
	if !m.o.joinsLines() {
		m.out(src, said{l.time, string(l.text)})
		return
	}
	head := l.text[:plainFit(l.text, m.o.MaxBytes)]
	begins := m.o.Pattern != nil && m.o.Pattern.Match(head)
	if m.traces != nil {
		begins = !m.traces.continues(src, head)
	}
	ev := m.joined[src]
	if ev != nil {
		if begins || m.waitOver(ev, l.time) {
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

func (m *model) waitOver(ev *modelEvent, at int64) bool {
	return time.Duration(at-ev.latest) >= m.o.Wait || time.Duration(at-ev.time) >= 12*m.o.Wait
}

func (m *model) endEvent(src Source) {
	ev := m.joined[src]
	delete(m.joined, src)
	m.out(src, said{ev.time, string(bytes.Join(ev.lines, []byte("\n")))})
}

// out records an event. said has no last newline.
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

// reader joins parts, and checks the marks, the numbers and the size of each part
// against the package comment.
type reader struct {
	o    Options
	got  map[Source][]said
	part map[Source]int // number of the part that must come next, or 0
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

// check compares the events with those of the model. If an event is divided, its last
// newline may be missing, because it did not fit.
func (r *reader) check(m *model) error {
	for src, n := range r.part {
		if n > 0 {
			return fmt.Errorf("%v: part %d never came", src, n)
		}
	}
	if r.o.JSON != nil { // An object has no white space around it.
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
