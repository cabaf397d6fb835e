package driver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/spool"
)

// readConfig is what docker logs asks for (moby, daemon/logger/logger.go, ReadConfig). Zero times are no bounds; a
// Tail below 0 is everything. Its unit is the entry, so the piece of a long line, as with json-file.
type readConfig struct {
	Since, Until time.Time
	Tail         int
	Follow       bool
}

const (
	// answerSize is how much of an answer is collected before it is sent, in bytes, and answerEntries in entries.
	answerSize    = 64 << 10
	answerEntries = 1024

	// lengthSize is how many bytes stand before a frame in the stream.
	lengthSize = 4
)

// serveReadLogs answers /LogDriver.ReadLogs: a stream of entries. An error is told by the status, for dockerd takes
// whatever comes with 200 for entries; one that comes later breaks the connection off, which docker logs shows.
func (d *Driver) serveReadLogs(w http.ResponseWriter, r *http.Request) {
	body, status, err := d.body(w, r)
	var request struct {
		Info   container.Info
		Config readConfig
	}
	if err == nil {
		if err = decode(body, &request); err != nil {
			status = http.StatusBadRequest
		}
	}
	if err != nil {
		writeAnswer(w, status, errorAnswer{err.Error()})
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.reading, cancel)()
	begun, err := d.readLogs(ctx, w, &request.Info, request.Config)
	if err == nil {
		return
	}
	container := label(request.Info.Name, request.Info.ID)
	switch {
	case d.reading.Err() != nil:
		err = errStopping
	case ctx.Err() != nil: // the client is gone
	case begun:
		d.log.Error("docker logs breaks off", "container", container, "err", err)
	default:
		d.log.Error("docker logs cannot be answered", "container", container, "err", err)
	}
	if begun {
		panic(http.ErrAbortHandler) // nobody takes what came for the whole
	}
	w.Header().Del("Content-Type")
	writeAnswer(w, http.StatusInternalServerError, errorAnswer{err.Error()})
}

// errStopping says that nothing more is begun.
var errStopping = errors.New("logspool: the plugin is stopping")

// readLogs writes the answer to w. begun says that something has been written, after which there is no other answer.
func (d *Driver) readLogs(ctx context.Context, w http.ResponseWriter, info *container.Info, config readConfig) (begun bool, err error) {
	l, err := d.openLog(ctx, info, config)
	if err != nil {
		return false, err
	}
	defer l.close()
	l.w, l.control = w, http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/octet-stream")
	err = l.stream(ctx)
	return l.begun, err
}

// logReader reads the log of one container for one docker logs.
type logReader struct {
	d       *Driver
	id      string
	config  readConfig
	history *spool.History // nil: there is none
	follow  *run           // as long as this; nil: not at all
	pace    *pace          // of a follower
	end     func()         // of the reading

	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool // something has been written
}

// openLog opens the log of the container that info describes. A container of which nothing is known has an empty
// one, as with json-file. It blocks for the local disk, and no longer than until ctx is done.
func (d *Driver) openLog(ctx context.Context, info *container.Info, config readConfig) (*logReader, error) {
	if !archive.ValidID(info.ID) {
		return nil, fmt.Errorf("logspool: ReadLogs: %s is not a container's ID", shorten(info.ID))
	}
	conf, _ := d.o.Settings.Container(info.Config, info.Env)
	switch {
	case d.o.Settings.HistorySize == 0:
		return nil, errors.New("logspool: HISTORY_SIZE is 0: nothing is kept for docker logs")
	case conf.HistorySize == 0:
		return nil, errors.New("logspool: history-size is 0 for this container: nothing is kept for docker logs")
	}
	l := &logReader{d: d, id: info.ID, config: config}
	s, err := d.beginReading(ctx, l.id)
	if err != nil {
		return nil, err
	}
	l.end = func() { d.endReading(s) }
	if s == nil {
		return l, nil // it has never logged, or it was long ago
	}
	if run := s.logging(); config.Follow && run.Err() == nil {
		l.follow, l.pace = run, newPace(s.outrun)
	}
	if l.history, err = s.spool.NewHistory(ctx, spool.HistoryOptions{Tail: config.Tail, Since: bound(config.Since)}); err != nil {
		l.close()
		return nil, l.unreadable(err)
	}
	return l, nil
}

// beginReading returns the container's session, which does not end before endReading, or nothing when nothing is kept of
// the container. What is archived becomes a session: while it is read it must not be moved or removed. It waits no
// longer than ctx while the session is opened or archived.
func (d *Driver) beginReading(ctx context.Context, id string) (*session, error) {
	if err := d.beginCall(); err != nil {
		return nil, err
	}
	defer d.endCall()
	d.mu.Lock()
	tooMany := d.reads >= d.limits.readers
	if !tooMany {
		d.reads++
		d.readers.Add(1)
	}
	d.mu.Unlock()
	if tooMany {
		return nil, d.limits.tooManyReaders()
	}
	s, err := d.holdSession(ctx, id, nil)
	if err != nil {
		d.endReading(nil)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("logspool: what is kept of container %s cannot be opened: %w", id, err)
	}
	if s != nil {
		s.beginReading()
	}
	return s, nil
}

func (d *Driver) endReading(s *session) {
	if s != nil {
		s.endReading()
	}
	d.mu.Lock()
	d.reads--
	d.mu.Unlock()
	d.readers.Done()
}

// bound is t in nanoseconds since the Unix epoch, within what that can say.
func bound(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 0)):
		return 0
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func (l *logReader) unreadable(err error) error {
	return fmt.Errorf("logspool: what is kept of container %s cannot be read: %w", l.id, err)
}

func (l *logReader) close() {
	if l.pace != nil {
		l.pace.close()
	}
	if l.history != nil {
		l.history.Close()
	}
	l.end()
}

// stream writes what is asked for. It returns when that is done, also when a follow ends because the container's
// logging has, and fails when the client is gone, the plugin stops, or the disk does.
func (l *logReader) stream(ctx context.Context) error {
	// A client that does not read would hold up the stop of the plugin.
	defer context.AfterFunc(l.d.reading, func() { _ = l.control.SetWriteDeadline(time.Now()) })()
	waiting := ctx
	if l.follow != nil {
		var stop context.CancelFunc
		waiting, stop = context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(l.follow, stop)()
	}
	for {
		// Asked before reading: what comes before the end is read.
		follow := l.follow != nil && l.follow.Err() == nil
		more, err := l.copy(ctx, waiting)
		if err == nil {
			err = l.flush()
		}
		if err != nil || !more || !follow {
			return err
		}
		_ = l.history.Wait(waiting)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (l *logReader) flush() error {
	l.begun = true
	return l.control.Flush()
}

var answerBuffers = sync.Pool{New: func() any { b := make([]byte, 0, answerSize+spool.MaxFrame/16); return &b }}

// copy writes what there is now, and slows a follower down while running is not done. more is false when nothing after that
// is asked for.
func (l *logReader) copy(ctx, running context.Context) (more bool, err error) {
	if l.history == nil {
		return false, nil
	}
	buffer := answerBuffers.Get().(*[]byte)
	p := (*buffer)[:0]
	defer answerBuffers.Put(buffer) // as it was, where p has grown for a foreign writer's frames
	for {
		most := answerEntries
		if l.pace != nil {
			most = l.pace.turn(running)
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		var g given
		p, g, more, err = l.fill(ctx, p[:0], most)
		if len(p) > 0 {
			l.history.Pause() // for the client may take its time
			l.begun = true
			if _, err := l.w.Write(p); err != nil {
				return false, err
			}
		}
		if l.pace != nil {
			l.pace.gave(g)
		}
		if err != nil || g.all {
			return more, err
		}
		if l.pace != nil && l.pace.slowed { // it is seen before the wait
			if err := l.flush(); err != nil {
				return false, err
			}
		}
	}
}

// fill appends entries until there are answerSize bytes or most of them, or no more now.
func (l *logReader) fill(ctx context.Context, p []byte, most int) (_ []byte, g given, more bool, err error) {
	for passed := 0; len(p) < answerSize && g.entries < most; {
		frame, ok, err := l.history.Next()
		if err != nil {
			return p, g, false, l.unreadable(err)
		}
		if !ok {
			g.all = true
			return p, g, true, nil
		}
		if l.history.Position() > l.limit() {
			g.all = true
			return p, g, false, nil
		}
		g.read += lengthSize + len(frame)
		var f events.Frame
		if events.Decode(frame, &f) != nil {
			l.history.Reject()
			continue
		}
		at := time.Unix(0, f.Time)
		if !l.config.Since.IsZero() && at.Before(l.config.Since) {
			if passed++; passed%answerEntries == 0 && ctx.Err() != nil {
				return p, g, false, ctx.Err()
			}
			continue
		}
		if !l.config.Until.IsZero() && at.After(l.config.Until) {
			g.all = true
			return p, g, false, nil
		}
		p = events.AppendEntry(p, &f)
		g.entries++
		g.bytes = len(p)
	}
	return p, g, true, nil
}

// limit is where in the stream the answer ends: of a follow with the container's run, otherwise with what there was when
// it was asked for, as with json-file, or it would not end while a container writes faster than it is read.
func (l *logReader) limit() uint64 {
	switch {
	case l.follow == nil:
		return l.history.End()
	case l.follow.Err() != nil:
		return l.follow.end
	}
	return math.MaxUint64
}
