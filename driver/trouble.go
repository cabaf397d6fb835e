package driver

import (
	"log/slog"
	"time"
)

// quiet is how long trouble that comes and goes, or changes, is told of only once.
const quiet = time.Minute

// trouble logs what changes: a first failure, another one, and the recovery. Within quiet of a failure that was
// logged no other one is; what goes on is told of after that, with how often it failed. It is for one goroutine.
type trouble struct {
	said  time.Time // when a failure was last logged
	last  string    // the error that was logged and goes on; empty: none
	times int       // failures since the last recovery that was logged
}

func (t *trouble) note(log *slog.Logger, what string, err error, args ...any) {
	if err == nil {
		if t.last != "" {
			log.Info(what+": no more", append(args, "times", t.times)...)
			t.last, t.times = "", 0
		}
		return
	}
	t.times++
	if err.Error() == t.last || !t.said.IsZero() && time.Since(t.said) < quiet {
		return
	}
	t.said, t.last = time.Now(), err.Error()
	args = append(args, "err", err)
	if t.times > 1 {
		args = append(args, "times", t.times)
	}
	log.Error(what, args...)
}
