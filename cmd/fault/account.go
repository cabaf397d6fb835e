package main

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// account records every line that is written and every event that the service accepts, and
// counts what became of the lines. It keeps eight bytes a line, and no text. Each container
// here has a log stream of its own name. Its methods may be called by several goroutines at
// once.
type account struct {
	begun time.Time
	// check compares what arrives with what was written.
	check dockertest.Checker

	mu sync.Mutex
	// streams is keyed by container.
	streams map[string]*stream
	// missing counts the written lines that have not arrived.
	missing int
	// batches is in order of arrival.
	batches []batch
	// doubled counts lines that arrived again, by the index of the batch in which they
	// arrived first.
	doubled map[int]int
}

// stream is one container's lines.
type stream struct {
	written   int
	positions []position // positions is indexed by line number.
	markers   []marker
	marked    int // marked counts the lines that the markers report.
}

// position is the position of an event in its log stream. The service orders events by
// time, and those of one millisecond by arrival.
type position struct {
	// ms is the event's time in milliseconds since the account was begun.
	ms uint32
	// seq numbers the events in order of arrival from 1; 0 means that the event has not
	// arrived.
	seq uint32
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.ms, q.ms), cmp.Compare(p.seq, q.seq))
}

// marker is an event that reports missing lines.
type marker struct {
	at    position
	lines int // lines is the number of lines, and 0 if the marker gives bytes alone.
	text  string
}

// batch is an accepted batch.
type batch struct {
	first uint32 // first is the seq of the batch's first event.
	at    time.Time
}

const markerPrefix = "[logspool] missing here: "

func newAccount() *account {
	// A marker or a line may have a time before the first line.
	return &account{begun: time.Now().Add(-time.Hour), streams: map[string]*stream{}, doubled: map[int]int{}}
}

func (a *account) stream(name string) *stream {
	s := a.streams[name]
	if s == nil {
		s = &stream{}
		a.streams[name] = s
	}
	return s
}

// written records that a container has written the lines of a sequence, or is about to.
func (a *account) written(q dockertest.Sequence) {
	a.check.Written(q)
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stream(q.Container)
	a.missing += max(0, q.N-s.written)
	s.written = max(s.written, q.N)
}

// unwritten takes back the last line, which did not get into the FIFO.
func (a *account) unwritten(q dockertest.Sequence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream(q.Container).written = q.N
	a.missing--
}

// wrote records, at the end, how many of the lines that a container might write it has
// written.
func (a *account) wrote(name string, lines int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stream(name)
	a.missing -= s.written - lines
	s.written = lines
}

// accepted records a batch that the service has accepted for a container's stream.
func (a *account) accepted(name string, events []cwlocal.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(events) == 0 {
		return
	}
	a.batches = append(a.batches, batch{first: uint32(events[0].Seq) + 1, at: time.Now()})
	own := a.stream(name)
	for _, e := range events {
		at := position{uint32(e.Timestamp - a.begun.UnixMilli()), uint32(e.Seq) + 1}
		if rest, ok := strings.CutPrefix(e.Message, markerPrefix); ok {
			own.mark(at, e.Message, rest)
			continue
		}
		a.check.Arrived(e.Message)
		container, n, ok := lineNumber(e.Message)
		s := a.streams[container]
		if !ok || s == nil || n >= s.written {
			continue // the Checker has counted it
		}
		for len(s.positions) <= n {
			s.positions = append(s.positions, position{})
		}
		if first := s.positions[n].seq; first != 0 {
			// The batch of the first copy is the one before the first batch that begins
			// after that copy.
			a.doubled[sort.Search(len(a.batches), func(i int) bool { return a.batches[i].first > first })-1]++
			continue
		}
		s.positions[n] = at
		a.missing--
	}
}

// mark records a marker. Rest is its text after the prefix.
func (s *stream) mark(at position, text, rest string) {
	m := marker{at: at, text: text}
	if number, _, ok := strings.Cut(rest, " lines,"); ok {
		m.lines, _ = strconv.Atoi(number)
	}
	again := func(o marker) bool { return o.at.ms == m.at.ms && o.text == m.text }
	if !slices.ContainsFunc(s.markers, again) { // a marker may arrive twice, as a line may
		s.markers = append(s.markers, m)
		s.marked += m.lines
	}
}

// lineNumber returns the container and the number of a line (dockertest.Sequence).
func lineNumber(message string) (name string, n int, ok bool) {
	rest, ok := strings.CutPrefix(message, "c=")
	if !ok {
		return "", 0, false
	}
	name, rest, _ = strings.Cut(rest, " ")
	_, rest, ok = strings.Cut(rest, " n=")
	if !ok {
		return "", 0, false
	}
	digits, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(digits)
	return name, n, err == nil && n >= 0
}

// open returns how many lines have neither arrived nor are counted by a marker, and whether
// there are markers that give bytes alone.
func (a *account) open() (lines int, inBytes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines = a.missing
	for _, s := range a.streams {
		lines -= s.marked
		inBytes = inBytes || slices.ContainsFunc(s.markers, func(m marker) bool { return m.lines == 0 })
	}
	return lines, inBytes
}

// firstAndLastBatch returns when the service accepted the first and the last batch. It
// must have accepted one.
func (a *account) firstAndLastBatch() (first, last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.batches[0].at, a.batches[len(a.batches)-1].at
}

// doubledOutside counts the lines that arrived twice although they were not in flight at a
// kill: the service accepted them neither within the window before a kill nor within the
// window after it.
func (a *account) doubledOutside(kills []time.Time, window time.Duration) (lines int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, n := range a.doubled {
		at := a.batches[i].at
		near := func(k time.Time) bool { return at.After(k.Add(-window)) && at.Before(k.Add(window)) }
		if !slices.ContainsFunc(kills, near) {
			lines += n
		}
	}
	return lines
}

// balance is what became of all lines.
type balance struct {
	written, delivered, doubled int
	// marked counts the missing lines that a marker at their place reports.
	marked int
	// lost counts the missing lines that no marker at their place reports.
	lost int
	// overmarked counts the lines that markers report although they are not missing at
	// their place.
	overmarked int
	disordered int
	// wrong counts the messages that are not as they were written.
	wrong    int
	examples []string
}

func (a *account) balance() balance {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.check.Result()
	b := balance{doubled: r.Doubled, wrong: r.Damaged + r.Unknown}
	if b.wrong > 0 {
		b.examples = slices.DeleteFunc(r.Examples, func(e string) bool {
			return !strings.HasPrefix(e, "damaged") && !strings.HasPrefix(e, "unknown")
		})
	}
	for name, s := range a.streams {
		s.addTo(&b, name)
	}
	return b
}

// addTo adds a stream's lines to the balance. It looks for a marker at the millisecond of
// the missing lines, because the service orders by that: the marker may come after other
// lines of the same millisecond.
func (s *stream) addTo(b *balance, name string) {
	slices.SortFunc(s.markers, func(x, y marker) int { return x.at.compare(y.at) })
	b.written += s.written
	// The missing lines before the current one, and the position of the last line that
	// arrived.
	missing, before := 0, position{}
	m := matcher{b: b, name: name, markers: s.markers}
	for n := range s.written {
		if n >= len(s.positions) || s.positions[n].seq == 0 {
			missing++
			continue
		}
		at := s.positions[n]
		b.delivered++
		if at.compare(before) < 0 {
			b.disordered++
		}
		m.match(missing, n, at.ms)
		missing, before = 0, at
	}
	m.match(missing, s.written, 1<<32-1)
}

// matcher compares the missing lines of a stream with its markers, in order.
type matcher struct {
	b    *balance
	name string
	// markers has the markers that were not looked at.
	markers []marker
	// lines counts the lines that markers reported so far and that are not missing so
	// far.
	lines int
	// inBytes says that one of the markers so far gives bytes alone.
	inBytes bool
	// upTo is the time of the last marker so far.
	upTo uint32
}

// match takes the missing lines before line number n, and the markers up to its time ms.
func (m *matcher) match(missing, n int, ms uint32) {
	for len(m.markers) > 0 && m.markers[0].at.ms <= ms {
		m.lines += m.markers[0].lines
		m.inBytes = m.inBytes || m.markers[0].lines == 0
		m.upTo = m.markers[0].at.ms
		m.markers = m.markers[1:]
	}
	marked := min(missing, m.lines)
	m.lines -= marked
	if m.inBytes {
		marked = missing
	}
	m.b.marked += marked
	if missing > marked {
		m.b.lost += missing - marked
		m.b.examples = append(m.b.examples,
			fmt.Sprintf("%s: %d lines before number %d are missing, and markers count %d of them", m.name, missing, n, marked))
	}
	if ms > m.upTo {
		m.b.overmarked += m.lines
		m.lines, m.inBytes = 0, false
	}
}
