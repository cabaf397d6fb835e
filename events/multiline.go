package events

import (
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// patience is how many times Options.Wait an event of several lines goes on at most, if there is
// always one more, and a line before a part of it goes out.
const patience = 12

// multiline joins an Assembler's lines to events, per source. It keeps at most one unfinished event
// a source.
type multiline struct {
	lines   *assembler
	out     output
	pattern matcher
	wait    time.Duration
	budget  *Budget

	events [Stderr + 1]line // by source: the unfinished events, or ended ones that are not out yet
	line   *line            // a part of one of the Assembler's that has not been joined yet
	last   *line            // the event that the last one handed out was made from

	// What Flush and Close have asked for, to be done once all lines before are joined.
	flush, close bool
	now          time.Time
}

func newMultiline(o Options) *multiline {
	o = o.withDefaults()
	m := &multiline{lines: newAssembler(o), out: newOutput(o), pattern: newMatcher(o.Pattern), wait: o.Wait, budget: o.Budget}
	for i := range m.events {
		m.events[i].budget = o.Budget
	}
	m.lines.out = output{max: m.out.max, raw: true}
	m.out.lines = true
	return m
}

func (m *multiline) push(f Frame, from, to uint64, now time.Time) {
	if m.line != nil || m.flush || m.close {
		panic("events: Push before Next returned false")
	}
	m.advance()
	for i := range m.events {
		if ev := &m.events[i]; ev.open && !m.lines.lines[i].open && m.outlived(ev, f.Time) {
			ev.finish()
		}
	}
	m.lines.push(f, from, to, now)
}

func (m *multiline) next() (Event, bool) {
	m.advance()
	for {
		if ev := m.ready(); ev != nil {
			m.last = ev
			return m.out.take(ev), true
		}
		if m.line == nil {
			if m.line = m.lines.nextLine(); m.line != nil {
				m.lines.out.take(m.line)
			}
		}
		switch {
		case m.line != nil:
			if m.join(m.line) {
				m.line = nil
			}
		case !m.ripe():
			return Event{}, false
		}
	}
}

// join makes part of a line part of its source's event, and returns false if that event must go out
// first, or some of it.
func (m *multiline) join(l *line) bool {
	ev := &m.events[l.src]
	if ev.open && l.parts == 1 && m.begins(l, ev) {
		ev.finish()
		return false
	}
	if ev.owes {
		ev.add([]byte{'\n'}, false)
		ev.owes = false
	}
	if ev.open && ev.out < len(ev.data) && (ev.frames()+len(l.ranges) > maxRanges || m.budget.short(ev.memory())) {
		if ev.early = true; m.out.fillOpen(ev) {
			return false
		}
	}
	if !ev.open {
		ev.begin(&Frame{Source: l.src, Time: l.time}, stream.Range{From: l.from})
		ev.born = l.since
	}
	ev.add(l.part(), false)
	for _, r := range l.ranges {
		ev.mark(r, m.out.grain())
	}
	ev.charge()
	if l.early { // a part of an unfinished line, which is not to wait
		ev.early = true
	}
	ev.owes = l.ended && l.end == len(l.data)
	ev.since, ev.latest = l.since, l.time
	return true
}

// begins returns whether l begins another event. Besides those that match, it is one for which the
// event would not have waited, so that what is read late, after a backlog, becomes the same
// events.
func (m *multiline) begins(l, ev *line) bool {
	return m.outlived(ev, l.time) || m.pattern.match(l.part())
}

// outlived returns whether ev would not have waited until this time, which is a frame's of either source: where the other
// one has a long backlog, nobody flushes.
func (m *multiline) outlived(ev *line, at int64) bool {
	return time.Duration(at-ev.latest) >= m.wait || time.Duration(at-ev.time) >= patience*m.wait
}

// ready returns an event that has ended or has outgrown one message, the one that began first, with
// its part filled in.
func (m *multiline) ready() *line {
	var first *line
	for i := range m.events {
		ev := &m.events[i]
		if !ev.open && !ev.ended {
			continue
		}
		if ev.ended {
			m.out.fill(ev, true)
		} else {
			m.out.fillOpen(ev)
		}
		if (ev.ended || ev.full) && (first == nil || ev.from < first.from) {
			first = ev
		}
	}
	return first
}

// ripe does what Flush or Close has asked for, and returns whether an event has ended by it.
func (m *multiline) ripe() bool {
	any := false
	for i := range m.events {
		ev := &m.events[i]
		if ev.open && (m.close || m.flush && !m.lines.lines[i].open && !m.now.Before(ev.due(m.wait))) {
			ev.finish()
			any = true
		}
	}
	m.flush, m.close = false, false
	return any
}

// due returns when flushing will have something to do. An event does not end before its source's
// unfinished line, which may belong to it.
func (m *multiline) due() time.Time {
	earliest := m.lines.due()
	for i := range m.events {
		ev := &m.events[i]
		if !ev.open || m.lines.lines[i].open {
			continue
		}
		if due := ev.due(m.wait); earliest.IsZero() || due.Before(earliest) {
			earliest = due
		}
	}
	return earliest
}

func (m *multiline) unfinished(to []stream.Range) []stream.Range {
	if m.line != nil {
		to = append(to, m.line.ranges...)
	}
	for i := range m.events {
		to = m.events[i].unfinished(to, &m.events[i] == m.last)
	}
	return to
}

func (m *multiline) advance() {
	if m.last != nil {
		m.last.advance()
		m.last = nil
	}
}

func (m *multiline) release() {
	m.advance()
	if m.line == nil {
		m.lines.release()
	} else {
		m.lines.detach() // the line is still to be joined
	}
	for i := range m.events {
		m.events[i].shrink()
	}
}

func (m *multiline) keep() Event {
	m.lines.detach()
	if m.last == nil {
		return Event{}
	}
	return m.out.again(m.last)
}

func (m *multiline) reset() {
	m.lines.reset()
	m.line, m.last, m.flush, m.close = nil, nil, false, false
	for i := range m.events {
		m.events[i].reset()
	}
}

// newline adds the last line's newline to an event that has ended, if there is room for it: an event
// is not divided for its sake.
func (l *line) newline(room int) {
	if !l.owes || !l.ended {
		return
	}
	l.owes = false
	if l.full || fits(l.part(), room-1) {
		l.add([]byte{'\n'}, false)
		if !l.full {
			l.end = len(l.data)
		}
	}
}
