package uploader

import "time"

const (
	// maxQueueing is how long the requests of backlogs may wait for each other on their way
	// to CloudWatch. Every other request waits as long.
	maxQueueing = 200 * time.Millisecond
	// leastPeriod is how long a least response time is believed.
	leastPeriod = 15 * time.Second
)

// backlogWindow bounds how many requests of backlogs are in flight by their response times.
// Once CloudWatch or the network has as much as it can take, one more request in flight only
// makes all others wait longer. The limit grows by one every other round trip while it is used
// and no answer takes maxQueueing longer than the answer to a request that was in flight alone.
// Otherwise the limit falls to what would have taken that long.
//
// If answers take longer than maxQueueing, and no request was alone in the last leastPeriod,
// the limit is one request until one was. A fast service is never measured like this, because
// queueing cannot matter there.
//
// The limiter's lock guards it.
type backlogWindow struct {
	limit     float64
	round     int           // round counts the changes of the limit: times of earlier requests say nothing about it.
	measuring bool          // measuring says that the next request of this round is in flight alone.
	long      time.Duration // long is the response time that was too long, while measuring.
	least     time.Duration // least is the response time of the last request that was alone.
	leastAt   time.Time     // leastAt is when least was measured.
}

// most returns how many requests of backlogs may be in flight.
func (w *backlogWindow) most() int {
	if w.measuring {
		return 1
	}
	return int(w.limit)
}

// answered learns from the response time of a large batch that was granted in round. inFlight
// is how many requests of backlogs were in flight, with this one.
func (w *backlogWindow) answered(round int, took time.Duration, inFlight int, now time.Time) {
	switch {
	case round != w.round:
	case w.measuring:
		w.measuring, w.least, w.leastAt = false, took, now
		w.lower(w.long)
	case took <= maxQueueing || took <= w.least+maxQueueing:
		if old := int(w.limit); inFlight >= old {
			if w.limit = min(w.limit+1/w.limit, maxRequests); int(w.limit) > old {
				w.round++
			}
		}
	case now.Sub(w.leastAt) > leastPeriod:
		w.measuring, w.long = true, took
		w.round++
	default:
		w.lower(took)
		w.round++
	}
}

// lower lowers the limit, with which a response took too long.
func (w *backlogWindow) lower(took time.Duration) {
	w.limit = max(1, min(w.limit, w.limit*float64(w.least+maxQueueing)/float64(took)))
}
