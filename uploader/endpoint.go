package uploader

import (
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// endpoint is what all accesses of one region and endpoint have in common.
type endpoint struct {
	// The quotas pace the calls that create, below what the service allows an account and region. Two roles may be
	// roles of one account, and where they are not, going slowly costs little. Nobody waits in them for an answer, so a
	// role that fails takes no time from another.
	streams    *rate.Limiter
	groups     *rate.Limiter
	retentions *rate.Limiter

	gzip       gzipSupport
	maxMessage atomic.Int64 // bytes of a message that the service takes
}

func newEndpoint() *endpoint {
	e := &endpoint{
		streams:    rate.NewLimiter(createStreamsPerSecond, createStreamsBurst),
		groups:     rate.NewLimiter(createGroupsPerSecond, createGroupsBurst),
		retentions: rate.NewLimiter(putRetentionsPerSecond, putRetentionsBurst),
	}
	e.maxMessage.Store(maxMessageBytes)
	return e
}

// lowerMaxMessage remembers a smaller limit, and returns whether it is news.
func (e *endpoint) lowerMaxMessage(n int) bool {
	for {
		old := e.maxMessage.Load()
		if int64(n) >= old {
			return false
		}
		if e.maxMessage.CompareAndSwap(old, int64(n)) {
			return true
		}
	}
}

var (
	// eventLimit finds the limit in an error such as "Log event too large: 262145 bytes exceeds limit of 262144",
	// which counts eventOverhead. An error about the whole batch ("Upload too large: …") is another matter.
	eventLimit = regexp.MustCompile(`(?i)\bevent\b.{0,80}\blimit\b\D{0,20}(\d{4,8})\b`)
	// aboutSize finds whether an error is about the size of something.
	aboutSize = regexp.MustCompile(`(?i)too (large|long|big)|\bsize\b|\blength\b|exceed`)
)

// messageLimit returns how long a message may be, by an error that refuses a batch of so many events as invalid or too
// large. stated says that the error is about a size; else the limit is a guess. ok is false where the error says
// nothing about the length of an event.
func messageLimit(err error, events int) (limit int, stated, ok bool) {
	text := errorMessage(err)
	if m := eventLimit.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1]) // at most 8 digits
		return n - eventOverhead, true, n >= leastEventLimit
	}
	if events > 1 {
		return 0, false, false
	}
	return formerEventLimit - eventOverhead, statusOf(err) == http.StatusRequestEntityTooLarge || aboutSize.MatchString(text), true
}

// plainTime is how long an endpoint that does not take gzip gets plain requests before gzip is tried again.
const plainTime = 10 * time.Minute

// gzipSupport is what is known of whether an endpoint takes compressed requests. One that has accepted one takes them,
// whatever odd answer follows. Of one that has never accepted one, an odd answer may be about the encoding.
type gzipSupport struct {
	mu         sync.Mutex
	proven     bool      // a compressed request was accepted
	plainUntil time.Time // no compressed requests until then
	tryPlain   bool      // a compressed request was answered with 500: the next request is plain

	// Of a proven endpoint: a compressed request was refused, and how often in a row a plain one was accepted after that.
	refused bool
	pairs   int
}

// mostPairs is how often in a row a proven endpoint may refuse a compressed request and accept a plain one. Then it has
// changed: somebody has put a proxy in front of it.
const mostPairs = 3

// plain reports whether the next request should be plain.
func (g *gzipSupport) plain(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tryPlain || now.Before(g.plainUntil)
}

// judge learns from the answer to a request, and returns what it means. It returns badEncoding where the request should
// be made again without compression at once. news says that the endpoint gets plain requests for some time now, and did not
// before.
func (g *gzipSupport) judge(v verdict, err error, gzip bool, now time.Time) (_ verdict, news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case gzip && v == accepted:
		g.proven, g.tryPlain, g.plainUntil, g.refused, g.pairs = true, false, time.Time{}, false, 0
	case gzip && v == badEncoding && g.proven:
		g.refused = true
		return badTarget, false
	case !gzip && v == accepted && g.refused:
		g.refused = false
		if g.pairs++; g.pairs >= mostPairs {
			g.proven, g.pairs, g.plainUntil = false, 0, now.Add(plainTime)
			return v, true
		}
	case gzip && v == badEncoding:
		news = !now.Before(g.plainUntil)
		g.plainUntil = now.Add(plainTime)
	case gzip && v == unavailable && statusOf(err) == http.StatusInternalServerError && !g.proven:
		// moto's server, for one, answers so to each compressed request.
		g.tryPlain = true
		return badEncoding, false
	case !gzip && g.tryPlain:
		g.tryPlain = false
		if v == accepted {
			news = !now.Before(g.plainUntil)
			g.plainUntil = now.Add(plainTime)
		}
	}
	return v, news
}
