package scaletest

import (
	"fmt"
	"sync"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

// lineBytes is the length of each line, and frameBytes what it takes in a container's stream.
const (
	lineBytes  = 100
	frameBytes = lineBytes + 24
)

var message = []byte(fmt.Sprintf("%-*s", lineBytes, "a line of a container in a simulated fleet"))

// container is a container that writes, and the feed of its lines. It keeps only what is not
// acknowledged.
type container struct {
	on *measurement

	mu      sync.Mutex
	base    int          // base is the first line that is not acknowledged.
	written []time.Time  // written has the times of the lines from base on.
	acked   []bool       // acked has which of them are acknowledged.
	next    int          // next is the line that Next returns next.
	event   events.Event // event is what Next returned last.
	lent    [1]stream.Range
	err     error
}

// write appends a line.
func (c *container) write() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written, c.acked = append(c.written, time.Now()), append(c.acked, false)
	c.on.wrote()
}

func (c *container) Next(time.Time) (*events.Event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.next-c.base < len(c.acked) && c.acked[c.next-c.base] {
		c.next++
	}
	if c.next-c.base >= len(c.written) {
		return nil, false
	}
	at := uint64(c.next) * frameBytes
	c.lent[0] = stream.Range{From: at, To: at + frameBytes}
	c.event = events.Event{Time: c.written[c.next-c.base].UnixNano(), Message: message, Ranges: c.lent[:]}
	c.next++
	return &c.event, true
}

func (c *container) Unread() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next--
}

func (c *container) Rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = c.base
}

func (c *container) Ack(ranges []stream.Range) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range ranges {
		for i := int(r.From/frameBytes) - c.base; i < int(r.To/frameBytes)-c.base; i++ {
			if i < 0 || i >= len(c.acked) || c.acked[i] {
				c.err = fmt.Errorf("line %d is acknowledged, and is not waiting", i+c.base)
				continue
			}
			c.acked[i] = true
			c.on.delivered(c.written[i], i+c.base == 0)
		}
	}
	n := 0
	for n < len(c.acked) && c.acked[n] {
		n++
	}
	c.base += n
	c.written, c.acked = c.written[n:], c.acked[n:]
	c.next = max(c.next, c.base)
	return nil
}

func (c *container) Lost(why events.LossReason, _ []stream.Range, n int, bytes int64, _, _ time.Time) (int, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("%d lines are lost: %v", n, why)
	return n, bytes
}

func (c *container) Backlog() (name string, bytes int64, oldest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.written) > 0 {
		oldest = c.written[0]
	}
	return "container", int64(len(c.written)) * frameBytes, oldest
}

func (c *container) Due() time.Time      { return time.Time{} }
func (c *container) Accepted(int, int64) {}
func (c *container) SetMaxMessage(int)   {}
func (c *container) Release()            {}

// result returns how many lines the container wrote, and an error unless each was
// acknowledged once.
func (c *container) result() (lines int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && len(c.written) > 0 {
		return c.base, fmt.Errorf("%d lines are not acknowledged", len(c.written))
	}
	return c.base, c.err
}

// measurement counts lines and their delays. Any goroutine may use it.
type measurement struct {
	from, to time.Time // from and to bound the times of the lines whose delay counts.

	mu      sync.Mutex
	waiting int
	delays  []int32 // delays counts the lines by their delay in units of precision.
	n       int
	firsts  []time.Duration // firsts has the delay of each container's first line, if it counts.
	// emptied is when the last line that was written before `to` was delivered.
	emptied time.Time
}

const precision = 10 * time.Millisecond

func (m *measurement) wrote() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting++
}

func (m *measurement) delivered(written time.Time, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting--
	if first && !written.Before(m.from) {
		m.firsts = append(m.firsts, time.Since(written))
	}
	if written.Before(m.from) || !written.Before(m.to) {
		return
	}
	m.emptied = time.Now()
	i := int(time.Since(written) / precision)
	for len(m.delays) <= i {
		m.delays = append(m.delays, make([]int32, i+1-len(m.delays))...)
	}
	m.delays[i]++
	m.n++
}

func (m *measurement) backlog() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting
}

// quantile returns the delay that this share of the lines do not exceed.
func (m *measurement) quantile(share float64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := int(share * float64(m.n-1))
	for i, n := range m.delays {
		if left -= int(n); left < 0 {
			return time.Duration(i) * precision
		}
	}
	return 0
}
