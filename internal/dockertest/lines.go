package dockertest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Sequence makes numbered lines that say which output they are of, so that a Checker can tell what
// has become of each. The zero value with a name and a source begins at 0. It is not safe for use by
// several goroutines at once.
type Sequence struct {
	Container string // without a space
	Source    string // without a space
	N         int    // how many lines were made
}

// header is what each line begins with: container, source, number, length of the whole line.
const header = "c=%s s=%s n=%06d l=%d "

// Next returns the next line, without a newline, such as "c=web s=stdout n=000123 l=40 bcdefghij".
// It is size bytes long, or as long as its header if that is more.
func (s *Sequence) Next(size int) string {
	line := makeLine(s.Container, s.Source, s.N, size)
	s.N++
	return line
}

// makeLine makes a line of size bytes. The filler depends on the number, so that the parts of
// different lines cannot be put together unseen.
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

// Checker is told of the lines that were written and of the messages that have arrived, and counts
// what does not agree. It is safe for use by several goroutines at once; messages of one output must
// be told in the order in which the service has them.
type Checker struct {
	mu      sync.Mutex
	outputs map[output]*account
	res     Result
}

type output struct{ container, source string }

type account struct {
	written int
	seen    []bool // by number
	next    int    // one past the highest number seen
}

// Result is a Checker's account.
type Result struct {
	Written int // lines
	Arrived int // of them, at least once
	Missing int // lines that have not arrived
	Doubled int // messages that had arrived before
	// Disordered messages arrived for the first time after one with a higher number of their output.
	Disordered int
	Damaged    int // messages that are not as the line was written
	Unknown    int // messages that are not numbered lines that were written
	// Examples describe the first things that were wrong.
	Examples []string
}

// Err returns nil if all that was written has arrived once and in order, and nothing else.
func (r Result) Err() error {
	if r.Missing+r.Doubled+r.Disordered+r.Damaged+r.Unknown == 0 {
		return nil
	}
	return fmt.Errorf("%d lines written: %d missing, %d doubled, %d out of order, %d damaged, %d unknown; %s",
		r.Written, r.Missing, r.Doubled, r.Disordered, r.Damaged, r.Unknown, strings.Join(r.Examples, "; "))
}

// Written says how many lines of its output the sequence has made; it may be told again as it goes on.
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

// Arrived takes one message. Its output must have been told by Written, the line included.
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
	// A size that damage has made is not believed: makeLine would allocate it.
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

// Result returns the account so far.
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
