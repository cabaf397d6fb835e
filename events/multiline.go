package events

import (
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// maxWaits limits how long an event of several lines waits for its next line, and how
// long a line waits before a part of it goes out, in multiples of Options.Wait.
const maxWaits = 12

// multiline joins lines to events, per source. It is the stage of a Pipeline with
// Options.Pattern or Options.Traces. It keeps at most one unfinished event per source.
type multiline struct {
	lines   *assembler
	out     output
	pattern matcher
	traces  *traces // traces takes the place of pattern if it is not nil.
	wait    time.Duration
	budget  *Budget

	events [Stderr + 1]line // events has the event of each source that has not gone out.
	line   *line            // line is the assembler's line whose part is not joined yet.
	begins bool             // begins says that line begins an event, whatever its time is.
	last   *line            // last is the event that was handed out last.

	request request
}

// request is a flush or close that takes effect once all earlier lines are joined.
type request struct {
	flush, close bool
	now          time.Time // now is the time of the flush.
}

// newMultiline returns a multiline without any frame. o has its defaults.
func newMultiline(o Options) *multiline {
	m := &multiline{
		lines: newAssembler(o), out: newOutput(o), pattern: newMatcher(o.Pattern), traces: newTraces(o.Traces), wait: o.Wait, budget: o.Budget,
	}
	for i := range m.events {
		m.events[i].budget = o.Budget
	}
	m.lines.out = output{max: m.out.max, raw: true}
	m.out.lines, m.out.noNewline = true, m.traces != nil
	return m
}

func (m *multiline) push(f Frame, at stream.Range, now time.Time) {
	if m.line != nil || m.request.flush || m.request.close {
		panic("events: Push before Next returned false")
	}
	m.advance()
	for i := range m.events {
		if ev := &m.events[i]; ev.open && !m.lines.lines[i].open && m.waitOver(ev, f.Time) {
			ev.finish()
		}
	}
	m.lines.push(f, at, now)
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
				m.look(m.line)
			}
		}
		switch {
		case m.line != nil:
			if m.join(m.line) {
				m.line = nil
			}
		case !m.carryOut():
			return Event{}, false
		}
	}
}

// join adds part of a line to its source's event. It returns false if that event, or a
// part of it, must go out first.
func (m *multiline) join(l *line) bool {
	ev := &m.events[l.source]
	if ev.open && l.count == 1 && m.startsEvent(l, ev) {
		ev.finish()
		return false
	}
	if ev.newlineDue {
		ev.add([]byte{'\n'}, false)
		ev.newlineDue = false
	}
	if ev.open && ev.out < len(ev.data) && (ev.frames()+len(l.ranges) > maxRanges || m.budget.short(ev.memory())) {
		if ev.early = true; m.out.fillOpen(ev) {
			return false
		}
	}
	if !ev.open {
		ev.begin(&Frame{Source: l.source, Time: l.time}, stream.Range{From: l.from})
		ev.partPushed = l.pushed
	}
	ev.add(l.part(), false)
	for _, r := range l.ranges {
		ev.mark(r, m.out.maxMarkBytes())
	}
	ev.charge()
	if l.early { // A part of an unfinished line went out early; it must not wait here.
		ev.early = true
	}
	ev.newlineDue = l.ended && l.end == len(l.data)
	ev.pushed, ev.latest = l.pushed, l.time
	return true
}

// look decides whether a line that was not seen before begins an event.
func (m *multiline) look(l *line) {
	if l.count != 1 {
		return // a later part of a long line
	}
	if m.traces != nil {
		m.begins = !m.traces.continues(l.source, l.part())
	} else {
		m.begins = m.events[l.source].open && m.pattern.match(l.part())
	}
}

// startsEvent reports whether the line l begins another event than ev: its text says so, or
// ev would not have waited for it. So a backlog that is read late becomes the same events.
func (m *multiline) startsEvent(l, ev *line) bool { return m.begins || m.waitOver(ev, l.time) }

// waitOver reports whether ev would not have waited until this time, which is that of a
// frame of either source. Nobody flushes while the other source has a long backlog.
func (m *multiline) waitOver(ev *line, at int64) bool {
	return time.Duration(at-ev.latest) >= m.wait || time.Duration(at-ev.time) >= maxWaits*m.wait
}

// ready returns an event that has ended or has outgrown one message, with its part filled
// in. Of several events it is the one that began first.
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

// carryOut carries out the request and reports whether an event has ended by it.
func (m *multiline) carryOut() (ended bool) {
	r := &m.request
	if !r.flush && !r.close {
		return false
	}
	for i := range m.events {
		ev := &m.events[i]
		if ev.open && (r.close || r.flush && !m.lines.lines[i].open && !r.now.Before(ev.due(m.wait))) {
			ev.finish()
			ended = true
		}
	}
	r.flush, r.close = false, false
	return ended
}

// advance drops the text of the event that was handed out last.
func (m *multiline) advance() {
	if m.last != nil {
		m.last.advance()
		m.last = nil
	}
}

func (m *multiline) passes() int { return 0 }

func (m *multiline) flush(now time.Time) {
	m.lines.flush(now)
	m.request.flush, m.request.now = true, now
}

// due follows the rule that an event does not end before its source's unfinished line,
// which may belong to it.
func (m *multiline) due() time.Time {
	due := m.lines.due()
	for i := range m.events {
		ev := &m.events[i]
		if !ev.open || m.lines.lines[i].open {
			continue
		}
		if at := ev.due(m.wait); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

func (m *multiline) close() {
	m.lines.close()
	m.request.close = true
}

func (m *multiline) release() {
	m.advance()
	if m.line == nil {
		m.lines.release()
	} else {
		m.lines.detach() // The line has not been joined yet.
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

func (m *multiline) unfinished() []stream.Range {
	all := m.lines.unfinished()
	if m.line != nil {
		all = append(all, m.line.ranges...)
	}
	for i := range m.events {
		all = m.events[i].unfinished(all, &m.events[i] == m.last)
	}
	return all
}

func (m *multiline) reset() {
	m.lines.reset()
	m.line, m.last, m.request.flush, m.request.close = nil, nil, false, false
	if m.traces != nil {
		m.traces.reset()
	}
	for i := range m.events {
		m.events[i].reset()
	}
}
