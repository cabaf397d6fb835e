// Package readlogs answers docker logs: it reads what the spool of a container keeps and
// writes it as the entries that dockerd reads.
//
// The package must not know sessions, FIFOs, delivery or AWS. The driver opens a
// container's spool, and keeps it open until the reader is closed.
package readlogs

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/spool"
)

const (
	// answerSize is how many bytes of an answer are collected before they are written, and
	// answerEntries how many entries.
	answerSize    = 64 << 10
	answerEntries = 1024

	// lengthSize is the size of the length before each frame in the stream, in bytes.
	lengthSize = 4
)

// Config is what docker logs asks for (moby, daemon/logger/logger.go, ReadConfig). A zero
// time is no bound. A negative Tail asks for everything. Tail counts entries, so pieces of
// a long line, as with json-file.
type Config struct {
	Since, Until time.Time
	Tail         int
	Follow       bool
}

// Log is a container's log.
type Log struct {
	ContainerID string
	// Spool holds the log, and is nil if nothing is kept of the container.
	Spool *spool.Spool
	// Running is done when the container logs nothing more, and is nil if the container does
	// not run.
	Running context.Context
	// End returns the position where the log ends once Running is done.
	End      func() uint64
	Throttle *Throttle
}

// Reader reads a log for one docker logs. One goroutine uses it.
type Reader struct {
	log      Log
	config   Config
	history  *spool.History // history is nil if nothing is kept.
	follower *follower      // follower is nil if the answer ends with what there is now.

	// These fields are for the answer.
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool // begun says that something was written.
}

// Open opens a log. It blocks for the local disk, until ctx is done at the latest. The
// caller must close the Reader.
func Open(ctx context.Context, log Log, config Config) (*Reader, error) {
	r := &Reader{log: log, config: config}
	if log.Spool == nil {
		return r, nil
	}
	// This is decided first: the container may stop during the search below, and
	// everything up to its end belongs to the answer.
	follow := config.Follow && log.Running != nil && log.Running.Err() == nil
	var err error
	if r.history, err = log.Spool.NewHistory(ctx, spool.HistoryOptions{Tail: config.Tail, Since: unixNano(config.Since)}); err != nil {
		return nil, r.unreadable(err)
	}
	if follow {
		r.follower = log.Throttle.follow(log.Spool.End)
	}
	return r, nil
}

// unixNano returns t in nanoseconds since the Unix epoch, or the nearest time that an int64
// can hold.
func unixNano(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 0)):
		return 0
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func (r *Reader) unreadable(err error) error {
	return fmt.Errorf("logspool: couldn't read the log of container %s: %w", r.log.ContainerID, err)
}

// Close frees what the Reader holds.
func (r *Reader) Close() {
	if r.follower != nil {
		r.follower.close()
	}
	if r.history != nil {
		r.history.Close()
	}
}

// WriteTo writes the log to w. It returns when everything that was asked for is written. A
// follow ends when the container's logging ends. It fails when ctx is done, and when the
// client or the disk fails. begun says that a part of the answer was written, so that the
// error cannot be the answer any more.
func (r *Reader) WriteTo(ctx context.Context, w http.ResponseWriter) (begun bool, err error) {
	r.w, r.control = w, http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/octet-stream")
	// A client that does not read would hold up the stop of the plugin.
	defer context.AfterFunc(ctx, func() { _ = r.control.SetWriteDeadline(time.Now()) })()
	err = r.stream(ctx)
	return r.begun, err
}

func (r *Reader) stream(ctx context.Context) error {
	waiting := ctx // while there is a reason to wait for more
	if r.follower != nil {
		var stop context.CancelFunc
		waiting, stop = context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(r.log.Running, stop)()
	}
	for {
		// Asked before reading: everything up to the end of the logging is read.
		running := r.follower != nil && r.log.Running.Err() == nil
		finished, err := r.copy(ctx, waiting)
		if err == nil {
			err = r.flush()
		}
		if err != nil || finished || !running {
			return err
		}
		_ = r.history.Wait(waiting)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (r *Reader) flush() error {
	r.begun = true
	return r.control.Flush()
}

var answerBuffers = sync.Pool{New: func() any { b := make([]byte, 0, answerSize+spool.MaxFrame/16); return &b }}

// progress says how far a read has come.
type progress int

const (
	midway   progress = iota // there is more
	caughtUp                 // there is no more now
	finished                 // nothing that follows is asked for
)

// copy writes what there is now. It slows a follower down until running is done.
func (r *Reader) copy(ctx, running context.Context) (done bool, err error) {
	if r.history == nil {
		return true, nil
	}
	buffer := answerBuffers.Get().(*[]byte)
	defer answerBuffers.Put(buffer) // its old array, if a large frame made p grow
	p := (*buffer)[:0]
	for {
		most := answerEntries
		if r.follower != nil {
			most = r.follower.wait(running)
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		var to progress
		p, to, err = r.fill(ctx, p[:0], most)
		if len(p) > 0 {
			r.history.Pause() // the client may take its time
			r.begun = true
			if _, err := r.w.Write(p); err != nil {
				return false, err
			}
		}
		if r.follower != nil && to == caughtUp {
			r.follower.caughtUp()
		}
		if err != nil || to != midway {
			return to == finished, err
		}
		if r.follower != nil && r.follower.slowed { // the client sees it before the wait
			if err := r.flush(); err != nil {
				return false, err
			}
		}
	}
}

// fill appends entries to p until it has answerSize bytes or most entries, or there is no
// more.
func (r *Reader) fill(ctx context.Context, p []byte, most int) (_ []byte, to progress, err error) {
	skipped := 0
	for n := 0; len(p) < answerSize && n < most; {
		frame, ok, err := r.history.Next()
		switch {
		case err != nil:
			return p, midway, r.unreadable(err)
		case !ok:
			return p, caughtUp, nil
		case r.history.Position() > r.limit():
			return p, finished, nil
		}
		var f events.Frame
		if events.Decode(frame, &f) != nil {
			r.history.Reject()
			continue
		}
		at := time.Unix(0, f.Time)
		if !r.config.Since.IsZero() && at.Before(r.config.Since) {
			if skipped++; skipped%answerEntries == 0 && ctx.Err() != nil {
				return p, midway, ctx.Err()
			}
			continue
		}
		if !r.config.Until.IsZero() && at.After(r.config.Until) {
			return p, finished, nil
		}
		p = events.AppendEntry(p, &f)
		n++
		if r.follower != nil {
			r.follower.read(1, lengthSize+len(frame))
		}
	}
	return p, midway, nil
}

// limit returns the position where the answer ends. A follow ends with the container's
// logging. Any other answer ends with what there was when it was asked for, as with
// json-file: it would not end while a container writes faster than it is read.
func (r *Reader) limit() uint64 {
	switch {
	case r.follower == nil:
		return r.history.End()
	case r.log.Running.Err() != nil:
		return r.log.End()
	}
	return math.MaxUint64
}
