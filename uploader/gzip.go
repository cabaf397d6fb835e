package uploader

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipLevel was chosen with BenchmarkGzipLevel. The levels above it cost more time than their
// smaller bodies save. Bodies of Huffman coding alone are several times as large.
const gzipLevel = 1

// compressor is a reusable gzip writer into a buffer of the caller. It needs about 1 MiB,
// which is why there are few of them.
type compressor struct {
	w   *gzip.Writer
	out *bytes.Buffer
}

func newCompressor() *compressor {
	w, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic(err) // the level is a constant
	}
	return &compressor{w: w}
}

// begin starts a body that overwrites dst.
func (z *compressor) begin(dst []byte) {
	z.out = bytes.NewBuffer(dst[:0])
	z.w.Reset(z.out)
}

// write compresses p. It returns no error, because a buffer in memory accepts everything.
func (z *compressor) write(p []byte) { _, _ = z.w.Write(p) }

// end returns the compressed body, which belongs to the caller.
func (z *compressor) end() []byte {
	_ = z.w.Close()
	out := z.out.Bytes()
	z.out = nil
	return out
}

// plainPeriod is how long an endpoint that does not accept gzip gets plain requests before
// gzip is tried again.
const plainPeriod = 10 * time.Minute

// maxRefusals is how many times in a row an endpoint that has accepted a compressed request
// may refuse one and then accept a plain one. After that it counts as changed: somebody has
// put a proxy in front of it.
const maxRefusals = 3

// gzipSupport is what is known about whether an endpoint accepts compressed requests. An
// endpoint that has accepted one does, even if an unexpected answer follows. Otherwise an
// unexpected answer may be about the encoding.
type gzipSupport struct {
	mu sync.Mutex
	// accepted says that a compressed request was accepted.
	accepted bool
	// plainUntil is the time until which requests are plain.
	plainUntil time.Time
	// tryPlain says that the next request is plain, because a compressed one was answered
	// with 500.
	tryPlain bool

	// refused says that the endpoint has accepted compressed requests and refused its last
	// compressed request.
	refused bool
	// refusals counts how often in a row the endpoint accepted a plain request after it
	// refused a compressed one.
	refusals int
}

// plain reports whether the next request should be plain.
func (g *gzipSupport) plain(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tryPlain || now.Before(g.plainUntil)
}

// learn learns from the answer to a request, and returns what the answer means. That is
// badEncoding if the request should be sent again at once without compression. news says
// that the endpoint gets plain requests for plainPeriod from now on, and did not before.
func (g *gzipSupport) learn(v verdict, err error, gzip bool, now time.Time) (_ verdict, news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case gzip && v == accepted:
		g.accepted, g.tryPlain, g.plainUntil, g.refused, g.refusals = true, false, time.Time{}, false, 0
	case gzip && v == badEncoding && g.accepted:
		g.refused = true
		return badTarget, false
	case !gzip && v == accepted && g.refused:
		g.refused = false
		if g.refusals++; g.refusals >= maxRefusals {
			g.accepted, g.refusals, g.plainUntil = false, 0, now.Add(plainPeriod)
			return v, true
		}
	case gzip && v == badEncoding:
		news = !now.Before(g.plainUntil)
		g.plainUntil = now.Add(plainPeriod)
	case gzip && v == unavailable && statusOf(err) == http.StatusInternalServerError && !g.accepted:
		// The moto server, for example, answers each compressed request like this.
		g.tryPlain = true
		return badEncoding, false
	case !gzip && g.tryPlain:
		g.tryPlain = false
		if v == accepted {
			news = !now.Before(g.plainUntil)
			g.plainUntil = now.Add(plainPeriod)
		}
	}
	return v, news
}
