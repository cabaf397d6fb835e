package readlogs

import (
	"bytes"
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/spool"
)

// log is a container's spool in memory.
type log struct {
	t       *testing.T
	spool   *spool.Spool
	tracker spool.Tracker
}

func newLog(t *testing.T) *log {
	s, _, err := spool.Open(spool.Options{Dir: "/spool", FS: durabletest.NewDisk(), History: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &log{t: t, spool: s}
}

func (l *log) append(line string) {
	p := events.AppendEntry(nil, &events.Frame{Source: events.Stdout, Time: 1, Line: []byte(line)})
	info := l.tracker.All(p)
	l.tracker.Advance(info)
	if err := l.spool.Append(append(make([]byte, spool.BlockHeaderSize), p...), 1, info); err != nil {
		l.t.Fatal(err)
	}
}

// ends is a run that ends, with a last line, while the answer is being prepared.
type ends struct {
	context.Context
	end func()
}

func (e *ends) Err() error {
	if e.end != nil {
		end := e.end
		e.end = nil
		end()
	}
	return e.Context.Err()
}

// TestFollowHasTheLastLineOfARunThatEnds: a follow that begins while the container stops
// has all lines up to the end.
func TestFollowHasTheLastLineOfARunThatEnds(t *testing.T) {
	l := newLog(t)
	l.append("first")
	running, stop := context.WithCancel(t.Context())
	run := &ends{Context: running}
	run.end = func() {
		l.append("last")
		stop()
	}
	r, err := Open(t.Context(), Log{ContainerID: "web", Spool: l.spool, Running: run, End: l.spool.End, Throttle: NewThrottle()},
		Config{Tail: -1, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := httptest.NewRecorder()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.WriteTo(ctx, w); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"first", "last"} {
		if !bytes.Contains(w.Body.Bytes(), []byte(line)) {
			t.Errorf("the answer lacks %q: %q", line, w.Body)
		}
	}
}
