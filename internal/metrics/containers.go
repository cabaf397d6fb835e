package metrics

import (
	"github.com/logspool/logspool/internal/status"
)

// maxGroups is how many log groups have series of their own when containers have none. Each
// container may have a group of its own.
const maxGroups = 500

// sums says what the series of containers are sums of.
type sums int

const (
	sumsNone    sums = iota // each container has series of its own
	sumsByGroup             // each log group has series
	sumsOfAll               // there are too many groups, too
)

// next returns what the next scrape has. The series do not change back at once, so that a
// number of containers that goes up and down does not change them at each scrape.
func (was sums) next(containers, maxContainers, groups int) sums {
	within := func(n, most int, already bool) bool { return n <= most && !(already && n > most-most/10) }
	switch {
	case within(containers, maxContainers, was != sumsNone):
		return sumsNone
	case within(groups, maxGroups, was == sumsOfAll):
		return sumsByGroup
	}
	return sumsOfAll
}

// groupsOf counts the log groups of a report's containers.
func groupsOf(r *status.Report) int {
	all := map[string]bool{}
	for i := range r.Containers {
		for _, s := range r.Containers[i].Streams {
			all[s.Group] = true
		}
	}
	return len(all)
}

// shortID is how many characters of a container's ID a label has, as in docker ps.
const shortID = 12

var containerStates = []string{
	status.ContainerRunning, status.ContainerStopped, status.ContainerIgnored,
	status.ContainerHeld, status.ContainerDraining,
}

// row is the gauges of one container, of the containers of one group, or of all.
type row struct {
	bytes, lines, spool int64
	age, used           float64
	// noLines and noAge say that the lines or the age are not known.
	noLines, noAge bool
}

// add adds a container. It makes sums, except for the age and the fullest spool.
func (r *row) add(c *status.Container, report *status.Report) {
	r.bytes += c.Undelivered.Bytes
	r.spool += c.Spool.Bytes
	r.used = max(r.used, c.SpoolUsed())
	if c.Undelivered.Lines != nil {
		r.lines += *c.Undelivered.Lines
	} else {
		r.noLines = true
	}
	age, known := age(c.Undelivered, report.Time)
	r.age = max(r.age, age)
	r.noAge = r.noAge || !known
}

// sendContainersLocked sends the series of containers and streams. Two containers cannot have
// the same series: what has the same labels is added up.
func (c *collector) sendContainersLocked(s sink, r *status.Report) {
	c.sums = c.sums.next(len(r.Containers), c.maxContainers, groupsOf(r))
	s.send(aggregation, oneIf(c.sums != sumsNone))

	states := map[string]int64{}
	for _, state := range containerStates {
		states[state] = 0
	}
	rows, failing := map[labels]row{}, map[labels]int64{}
	c.containers.begin(c.sums)
	c.streams.begin(c.sums)
	for i := range r.Containers {
		con := &r.Containers[i]
		states[label(con.State)]++
		to := containerSeries(con, c.sums)
		sum := rows[to]
		sum.add(con, r)
		rows[to] = sum
		c.containers.add(member{id: con.ID}, to, con.Traffic)
		for j := range con.Streams {
			st := &con.Streams[j]
			to := streamSeries(con, st, c.sums)
			from := member{con.ID, st.Region, st.Endpoint, st.Role, st.Group, st.Stream, st.Output}
			c.streams.add(from, to, status.Traffic{Delivered: st.Delivered, Dropped: st.Dropped})
			if failing[to] += 0; st.Error != nil {
				failing[to]++
			}
		}
	}
	for state, n := range states {
		s.count(containers, n, state)
	}
	sendRows(s, rows)
	for to, t := range c.containers.end() {
		s.sendContainerTraffic(to, t)
	}
	for to, t := range c.streams.end() {
		s.sendStreamTraffic(to, t, failing[to])
	}
}

// labels are the values of streamLabels. A container has only the first three.
type labels [6]string

// containerSeries returns the labels of the series that has a container. The group is that of
// its first stream, and empty until it is known.
func containerSeries(c *status.Container, to sums) (l labels) {
	if to == sumsNone {
		l[0], l[1] = label(c.Name), label(c.ID[:min(len(c.ID), shortID)])
	}
	if len(c.Streams) > 0 && to != sumsOfAll {
		l[2] = label(c.Streams[0].Group)
	}
	return l
}

// streamSeries returns the labels of the series that has a container's stream.
func streamSeries(c *status.Container, st *status.Stream, to sums) labels {
	l := containerSeries(c, to)
	l[3] = label(st.Region)
	if to != sumsOfAll {
		l[2] = label(st.Group)
	}
	if to == sumsNone {
		l[4], l[5] = label(st.Stream), label(st.Output)
	}
	return l
}

func sendRows(s sink, rows map[labels]row) {
	for to, r := range rows {
		l := pairsOf(containerBytes, to[:len(containerLabels)])
		if !r.noLines {
			s.countWith(l, containerLines, r.lines)
		}
		s.countWith(l, containerBytes, r.bytes)
		// Of several containers, the oldest line that is known is worth an alert too.
		if !r.noAge || r.age > 0 {
			s.sendWith(l, containerAge, r.age)
		}
		s.countWith(l, containerSpool, r.spool)
		s.sendWith(l, containerUsed, r.used)
	}
}

func (s sink) sendContainerTraffic(to labels, t status.Traffic) {
	values := to[:len(containerLabels):len(containerLabels)]
	l := pairsOf(containerReadLines, values)
	s.countWith(l, containerReadLines, t.Read.Lines)
	s.countWith(l, containerReadBytes, t.Read.Bytes)
	for reason, n := range t.Dropped {
		s.count(containerDroppedLines, n.Lines, append(values, reason)...)
		s.count(containerDroppedBytes, n.Bytes, append(values, reason)...)
	}
}

func (s sink) sendStreamTraffic(to labels, t status.Traffic, failing int64) {
	l := pairsOf(streamDeliveredEvents, to[:])
	s.countWith(l, streamDeliveredEvents, t.Delivered.Lines)
	s.countWith(l, streamDeliveredBytes, t.Delivered.Bytes)
	for reason, n := range t.Dropped {
		s.count(streamDroppedEvents, n.Lines, append(to[:], reason)...)
		s.count(streamDroppedBytes, n.Bytes, append(to[:], reason)...)
	}
	s.countWith(l, streamFailing, failing)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
