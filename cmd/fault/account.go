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

// account is told of every line that is written and every event that the service accepts, and says what
// became of each line. It keeps eight bytes a line, and no text.
type account struct {
	begun time.Time
	check dockertest.Checker // holds what a line says against what was written

	mu      sync.Mutex
	streams map[string]*stream // by container
	missing int                // lines that are written, not arrived and not told of by their number
	batches []batch            // in order of arrival
	doubled map[int]int        // lines that came again, by the index of the batch in which they came first
}

// stream is one container's lines. Each container here has a stream to itself.
type stream struct {
	written int
	places  []place // by line number
	markers []marker
	toldAll int // lines, of all markers
}

// place is where an event stands in its stream: the service orders by time, then by arrival.
type place struct{ ms, seq uint32 } // ms since the account was begun; seq from 1, 0: it has not arrived

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.ms, q.ms), cmp.Compare(p.seq, q.seq))
}

// marker tells of a gap.
type marker struct {
	at    place
	lines int // 0: it could only say how many bytes
	text  string
}

// batch is one that the service took.
type batch struct {
	first uint32 // seq of its first event
	at    time.Time
}

const markerPrefix = "[logspool] missing here: "

func newAccount() *account {
	// Markers and lines may have the time of a moment before.
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

// written says how many lines a container has written, or is about to.
func (a *account) written(q dockertest.Sequence) {
	a.check.Written(q)
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stream(q.Container)
	a.missing += max(0, q.N-s.written)
	s.written = max(s.written, q.N)
}

// unwritten takes back the last line: it did not come into the FIFO.
func (a *account) unwritten(q dockertest.Sequence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream(q.Container).written = q.N
	a.missing--
}

// wrote says in the end how many lines a container has written, of those that it might have.
func (a *account) wrote(name string, lines int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stream(name)
	a.missing -= s.written - lines
	s.written = lines
}

// accepted is told of every batch, as the service takes it. Each container has a stream of its own name.
func (a *account) accepted(name string, events []cwlocal.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(events) == 0 {
		return
	}
	a.batches = append(a.batches, batch{first: uint32(events[0].Seq) + 1, at: time.Now()})
	own := a.stream(name)
	for _, e := range events {
		at := place{uint32(e.Timestamp - a.begun.UnixMilli()), uint32(e.Seq) + 1}
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
		for len(s.places) <= n {
			s.places = append(s.places, place{})
		}
		if first := s.places[n].seq; first != 0 {
			// The first batch whose events begin after it is the one behind its own.
			a.doubled[sort.Search(len(a.batches), func(i int) bool { return a.batches[i].first > first })-1]++
			continue
		}
		s.places[n] = at
		a.missing--
	}
}

// mark takes a marker, and rest of its text behind the prefix.
func (s *stream) mark(at place, text, rest string) {
	m := marker{at: at, text: text}
	if number, _, ok := strings.Cut(rest, " lines,"); ok {
		m.lines, _ = strconv.Atoi(number)
	}
	again := func(o marker) bool { return o.at.ms == m.at.ms && o.text == m.text }
	if !slices.ContainsFunc(s.markers, again) { // else it came twice, as a line may
		s.markers = append(s.markers, m)
		s.toldAll += m.lines
	}
}

// lineNumber reads the container and the number out of a line (dockertest.Sequence).
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

// open is how many lines have neither arrived nor been told of by their number; told is whether there are
// markers that could only tell bytes.
func (a *account) open() (lines int, bytesTold bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines = a.missing
	for _, s := range a.streams {
		lines -= s.toldAll
		bytesTold = bytesTold || slices.ContainsFunc(s.markers, func(m marker) bool { return m.lines == 0 })
	}
	return lines, bytesTold
}

// firstAndLastBatch says when the first and the last batch were taken. There must have been one.
func (a *account) firstAndLastBatch() (first, last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.batches[0].at, a.batches[len(a.batches)-1].at
}

// balance is what became of all lines.
type balance struct {
	written, delivered, doubled int
	marked                      int // lines missing where a marker tells of them
	lost                        int // missing lines that no marker at their place tells of
	overtold                    int // lines that markers tell of beyond what is missing at their place
	disordered                  int
	wrong                       int // messages that are not as they were written
	examples                    []string
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
		s.settle(name, &b)
	}
	return b
}

// settle adds a stream's lines to the balance. A marker's place is its millisecond, which is what the service
// orders by: it may stand behind other lines of the same one.
func (s *stream) settle(name string, b *balance) {
	slices.SortFunc(s.markers, func(x, y marker) int { return x.at.compare(y.at) })
	b.written += s.written
	var (
		before  place
		missing int // lines before the one that is looked at
		markers = s.markers
		told    int    // lines that markers so far tell of, beyond those that were missing
		bytes   bool   // one of them could only tell bytes
		upTo    uint32 // the last marker's time
	)
	// hold holds the missing lines before number n against the markers up to its time.
	hold := func(n int, ms uint32) {
		for len(markers) > 0 && markers[0].at.ms <= ms {
			told += markers[0].lines
			bytes = bytes || markers[0].lines == 0
			upTo = markers[0].at.ms
			markers = markers[1:]
		}
		marked := min(missing, told)
		told -= marked
		if bytes {
			marked = missing
		}
		b.marked += marked
		if missing > marked {
			b.lost += missing - marked
			b.examples = append(b.examples, fmt.Sprintf("%s: of the %d lines before number %d that are missing markers tell %d", name, missing, n, marked))
		}
		missing = 0
		if ms > upTo {
			b.overtold += told
			told, bytes = 0, false
		}
	}
	for n := range s.written {
		if n >= len(s.places) || s.places[n].seq == 0 {
			missing++
			continue
		}
		at := s.places[n]
		b.delivered++
		if at.compare(before) < 0 {
			b.disordered++
		}
		hold(n, at.ms)
		before = at
	}
	hold(s.written, 1<<32-1)
}

// doubledElsewhere counts the lines that came twice although the service had taken them neither shortly before nor
// after one of these moments: they were not under way then.
func (a *account) doubledElsewhere(kills []time.Time, underWay time.Duration) (lines int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, n := range a.doubled {
		at := a.batches[i].at
		near := func(k time.Time) bool { return at.After(k.Add(-underWay)) && at.Before(k.Add(underWay)) }
		if !slices.ContainsFunc(kills, near) {
			lines += n
		}
	}
	return lines
}
