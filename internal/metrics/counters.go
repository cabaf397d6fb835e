package metrics

import "github.com/logspool/logspool/internal/status"

// member identifies a container, or a container's stream, whose counters a report has.
type member struct{ id, region, endpoint, role, group, stream, output string }

// counters has the counters of series. The zero value is ready for use. For each scrape, call
// begin, then add for each member, and then end.
//
// A series of one container has the numbers of the report. A sum must not decrease when one of
// its containers is gone: Prometheus would take that for a restart, and count
// the rest of the sum again. So a sum has what its members have gained since the last scrape,
// added to what it was.
type counters struct {
	sums map[labels]status.Traffic
	last map[member]status.Traffic

	// of says what the series are sums of.
	of sums
	// used has the series that have a member, and seen the members, in this scrape.
	used map[labels]bool
	seen map[member]status.Traffic
}

func (c *counters) begin(of sums) {
	if of == sumsNone || of != c.of {
		c.sums, c.last = map[labels]status.Traffic{}, nil
	}
	c.of, c.used, c.seen = of, map[labels]bool{}, map[member]status.Traffic{}
}

// add adds the counters of a member to a series.
func (c *counters) add(from member, to labels, t status.Traffic) {
	c.used[to] = true
	gained := clean(t)
	if c.of != sumsNone {
		c.seen[from] = gained
		gained = since(c.last[from], gained)
	}
	sum := c.sums[to]
	sum.Add(gained)
	c.sums[to] = sum
}

// end returns the counters of the series that have a member.
func (c *counters) end() map[labels]status.Traffic {
	for to := range c.sums {
		if !c.used[to] {
			delete(c.sums, to)
		}
	}
	c.last, c.used, c.seen = c.seen, nil, nil
	return c.sums
}

// clean returns a copy of t whose reasons are valid labels.
func clean(t status.Traffic) status.Traffic {
	dropped := t.Dropped
	t.Dropped = nil
	for reason, n := range dropped {
		t.Add(status.Traffic{Dropped: map[string]status.Counter{label(reason): n}})
	}
	return t
}

// since returns what was counted between two reports.
func since(before, now status.Traffic) status.Traffic {
	gained := status.Traffic{Read: sinceCounter(before.Read, now.Read), Delivered: sinceCounter(before.Delivered, now.Delivered)}
	for reason, n := range now.Dropped {
		gained.Add(status.Traffic{Dropped: map[string]status.Counter{reason: sinceCounter(before.Dropped[reason], n)}})
	}
	return gained
}

// sinceCounter returns what a counter has gained. A counter that is smaller than before has
// begun again at 0, as that of a container that was gone.
func sinceCounter(before, now status.Counter) status.Counter {
	if now.Lines < before.Lines || now.Bytes < before.Bytes {
		return now
	}
	return status.Counter{Lines: now.Lines - before.Lines, Bytes: now.Bytes - before.Bytes}
}
