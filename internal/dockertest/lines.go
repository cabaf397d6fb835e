package dockertest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Sequence makes numbered lines that name their container and source, so that a Checker
// knows what has become of each. A Sequence with a Container and a Source starts at line 0.
// It must not be used by several goroutines at once.
type Sequence struct {
	Container string // Container has no space.
	Source    string // Source has no space.
	N         int    // N counts the lines that the Sequence has made.
}

// header is the beginning of each line: container, source, number, and length of the
// whole line.
const header = "c=%s s=%s n=%06d l=%d "

// Next returns the next line, without a newline, such as "c=web s=stdout n=000123 l=40
// bcdefghij". It is size bytes long, or as long as its header if that is more.
func (s *Sequence) Next(size int) string {
	line := makeLine(s.Container, s.Source, s.N, size)
	s.N++
	return line
}

// makeLine makes a line of size bytes. The filler depends on the number, so that the parts
// of two lines do not make a valid line.
func makeLine(container, source string, n, size int) string {
	var b strings.Builder
	b.Grow(size)
	fmt.Fprintf(&b, header, container, source, n, size)
	for i := n; b.Len() < size; i++ {
		b.WriteByte('a' + byte(i%26))
	}
	return b.String()
}

// parseLine reads a line's header.
func parseLine(line string) (o output, n, size int, ok bool) {
	fields := strings.SplitN(line, " ", 5)
	if len(fields) != 5 {
		return o, 0, 0, false
	}
	var found [4]string
	for i, prefix := range []string{"c=", "s=", "n=", "l="} {
		if found[i], ok = strings.CutPrefix(fields[i], prefix); !ok {
			return o, 0, 0, false
		}
	}
	n, errN := strconv.Atoi(found[2])
	size, errSize := strconv.Atoi(found[3])
	return output{found[0], found[1]}, n, size, errN == nil && errSize == nil && n >= 0 && size >= 0
}

// Checker compares the lines that were written with the messages that have arrived. Its
// methods may be called by several goroutines at once. Messages of one output must be
// passed in the order in which the service has them.
type Checker struct {
	mu      sync.Mutex
	outputs map[output]*account
	res     Result
}

type output struct{ container, source string }

type account struct {
	written int
	seen    []bool // seen says by line number which lines have arrived.
	next    int    // next is one more than the highest number seen.
}

// Result is what a Checker has found.
type Result struct {
	Written    int      // Written counts the lines that were written.
	Arrived    int      // Arrived counts the lines that have arrived at least once.
	Missing    int      // Missing counts the lines that have not arrived.
	Doubled    int      // Doubled counts the messages that had arrived before.
	Disordered int      // Disordered counts the lines that first arrived after a higher one.
	Damaged    int      // Damaged counts the messages that differ from the line that was written.
	Unknown    int      // Unknown counts the messages that are not one of the written lines.
	Examples   []string // Examples has the first of the messages and lines that are wrong.
}

// Err returns nil if every written line has arrived once and in order, and nothing else has.
func (r Result) Err() error {
	if r.Missing+r.Doubled+r.Disordered+r.Damaged+r.Unknown == 0 {
		return nil
	}
	return fmt.Errorf("%d lines written: %d missing, %d doubled, %d out of order, %d damaged, %d unknown; %s",
		r.Written, r.Missing, r.Doubled, r.Disordered, r.Damaged, r.Unknown, strings.Join(r.Examples, "; "))
}

// Written records the lines that the sequence has made so far. It may be called again when
// it has made more.
func (c *Checker) Written(s Sequence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outputs == nil {
		c.outputs = map[output]*account{}
	}
	o := output{s.Container, s.Source}
	a := c.outputs[o]
	if a == nil {
		a = &account{}
		c.outputs[o] = a
	}
	a.written = max(a.written, s.N)
}

// Arrived records a message. Written must have recorded its line before.
func (c *Checker) Arrived(message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, n, size, ok := parseLine(message)
	a := c.outputs[o]
	if !ok || a == nil || n >= a.written {
		c.res.Unknown++
		c.example("unknown: %.80q", message)
		return
	}
	// makeLine would allocate the size of a damaged header.
	if size > len(message) || message != makeLine(o.container, o.source, n, size) {
		c.res.Damaged++
		c.example("damaged: %.80q, %d bytes", message, len(message))
		return
	}
	for len(a.seen) <= n {
		a.seen = append(a.seen, false)
	}
	switch {
	case a.seen[n]:
		c.res.Doubled++
		c.example("doubled: %.80q", message)
	case n < a.next:
		c.res.Disordered++
		c.example("out of order, after number %d: %.80q", a.next-1, message)
	}
	a.seen[n] = true
	a.next = max(a.next, n+1)
}

// Result returns what the Checker has found so far.
func (c *Checker) Result() Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := c.res
	res.Examples = append([]string(nil), c.res.Examples...)
	for o, a := range c.outputs {
		res.Written += a.written
		for n := range a.written {
			if n < len(a.seen) && a.seen[n] {
				res.Arrived++
				continue
			}
			if res.Missing++; res.Missing == 1 {
				res.Examples = append(res.Examples, fmt.Sprintf("missing: c=%s s=%s n=%06d", o.container, o.source, n))
			}
		}
	}
	return res
}

func (c *Checker) example(format string, args ...any) {
	if len(c.res.Examples) < 5 {
		c.res.Examples = append(c.res.Examples, fmt.Sprintf(format, args...))
	}
}
