package status

import "time"

const (
	// HistoryInterval is the time that one Point covers.
	HistoryInterval = samplesPerPoint * SampleInterval

	// HistoryPoints is the largest number of points of a history: half an hour.
	HistoryPoints = 120

	// SampleInterval is the time between two samples.
	SampleInterval = 5 * time.Second

	// samplesPerPoint is how many samples a Point covers.
	samplesPerPoint = 3
)

// history has the rate of one counter, over the last samples and over the last half hour. A
// Monitor keeps one for each container, so it is small, and takes memory only as it grows.
type history struct {
	// seen has the values at the last samples, at the index of the sample's number modulo
	// samplesPerPoint.
	seen [samplesPerPoint]Counter
	// points is a ring once it has HistoryPoints elements. next is the index of the oldest.
	points []Point
	next   int
	// sampled is the number of the last sample that had the container.
	sampled int
}

// add adds the value at sample n. At every samplesPerPoint samples, it appends the average
// since the last point, which took seconds.
func (h *history) add(n int, now Counter, seconds float64) {
	slot := &h.seen[n%samplesPerPoint]
	h.restart(now)
	if n%samplesPerPoint == 0 && n > 0 {
		h.append(rateOf(now, *slot, seconds))
	}
	*slot, h.sampled = now, n
}

// restart begins again at now if the counter has become smaller, as that of a container that
// was gone and is back.
func (h *history) restart(now Counter) {
	for _, c := range h.seen {
		if now.Lines < c.Lines || now.Bytes < c.Bytes {
			h.seen = [samplesPerPoint]Counter{now, now, now}
			return
		}
	}
}

func (h *history) append(p Point) {
	if len(h.points) < HistoryPoints {
		h.points = append(h.points, p)
		return
	}
	h.points[h.next] = p
	h.next = (h.next + 1) % HistoryPoints
}

// list returns a copy of the points, the oldest first.
func (h *history) list() []Point {
	all := make([]Point, 0, len(h.points))
	return append(append(all, h.points[h.next:]...), h.points[:h.next]...)
}

// rateOf returns the average per second between two values of a counter.
func rateOf(now, before Counter, seconds float64) Rate {
	if seconds <= 0 || now.Lines < before.Lines || now.Bytes < before.Bytes {
		return Rate{}
	}
	return Rate{Lines: float64(now.Lines-before.Lines) / seconds, Bytes: float64(now.Bytes-before.Bytes) / seconds}
}
