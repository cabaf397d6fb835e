package uploader

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// tried is what a failure to send means.
const tried = "nothing is lost, it is tried again"

// quiet is how long trouble of a kind that comes and goes is logged only once.
const quiet = time.Minute

// maxKinds is how many kinds of trouble are told apart within quiet; more are not logged.
const maxKinds = 16

// reporter logs what changes: the first failure, another kind of failure, and the recovery. It never logs each try.
type reporter struct {
	log    *slog.Logger
	access Access
	what   string // what is being tried, as in "sending to CloudWatch Logs"
	then   string // what it means that it failed

	mu     sync.Mutex
	kind   string               // of the failure logged last
	logged map[string]time.Time // when each kind was logged last
	since  time.Time            // first failure of the trouble that goes on; zero: none
	tries  int
	said   bool // the trouble that goes on was logged
}

func (r *reporter) failed(v verdict, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.since.IsZero() {
		r.since, r.tries, r.said = now, 0, false
	}
	r.tries++
	k := kind(err)
	if k == r.kind && r.said || !r.news(k, now) {
		return
	}
	r.kind, r.said = k, true
	attrs := []any{"err", brief(err)}
	if hint := remedy(v, err, r.access); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	r.log.Warn(r.what+" failed; "+r.then, attrs...)
}

// news notes that a kind is logged now, unless it was not long ago: several kinds may come in turn.
func (r *reporter) news(k string, now time.Time) bool {
	maps.DeleteFunc(r.logged, func(_ string, at time.Time) bool { return now.Sub(at) >= quiet })
	if _, known := r.logged[k]; known || len(r.logged) >= maxKinds {
		return false
	}
	if r.logged == nil {
		r.logged = make(map[string]time.Time)
	}
	r.logged[k] = now
	return true
}

func (r *reporter) succeeded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		return
	}
	if r.said {
		r.log.Info(r.what+" works again", "tries", r.tries, "after", time.Since(r.since).Round(time.Millisecond))
	}
	r.since, r.said = time.Time{}, false
}
