package driver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/readlogs"
	"github.com/logspool/logspool/internal/container"
)

// serveReadLogs answers /LogDriver.ReadLogs with a stream of entries. The status reports an
// error, because dockerd takes the body of a 200 for entries. A later error breaks the
// connection, which docker logs shows.
func (d *Driver) serveReadLogs(w http.ResponseWriter, r *http.Request) {
	body, status, err := d.body(w, r)
	var request struct {
		Info   container.Info
		Config readlogs.Config
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
	defer context.AfterFunc(d.answers.ctx, cancel)()
	begun, err := d.readLogs(ctx, w, &request.Info, request.Config)
	if err == nil {
		return
	}
	name := container.Label(request.Info.Name, request.Info.ID)
	switch {
	case d.answers.ctx.Err() != nil:
		err = errStopping
	case ctx.Err() != nil: // the client is gone
	case begun:
		d.log.Error("docker logs ended early because the log could not be read", "container", name, "err", err)
	default:
		d.log.Error("cannot answer docker logs", "container", name, "err", err)
	}
	if begun {
		panic(http.ErrAbortHandler) // nobody takes what was written for the whole log
	}
	w.Header().Del("Content-Type")
	writeAnswer(w, http.StatusInternalServerError, errorAnswer{err.Error()})
}

// errStopping says that the plugin begins nothing more.
var errStopping = errors.New("logspool: the plugin is stopping")

// readLogs writes the log of the container that info describes. begun is as in
// readlogs.Reader.WriteTo. A container that the plugin does not know has an empty log, as
// with json-file.
func (d *Driver) readLogs(ctx context.Context, w http.ResponseWriter, info *container.Info, config readlogs.Config) (begun bool, err error) {
	if !archive.ValidID(info.ID) {
		return false, fmt.Errorf("logspool: ReadLogs: %s is not a container's ID", shorten(info.ID))
	}
	if d.settings.HistorySize == 0 {
		return false, errors.New("logspool: HISTORY_SIZE is 0: nothing is kept for docker logs")
	}
	s, err := d.beginReading(ctx, info.ID)
	if err != nil {
		return false, err
	}
	defer d.endReading(s)
	log := readlogs.Log{ContainerID: info.ID, Throttle: d.throttle}
	if s != nil {
		run := s.logging()
		log.Spool, log.Running, log.End = s.spool, run, func() uint64 { return run.end }
	}
	if d.keepsNoHistory(s, info) {
		return false, errors.New("logspool: history-size is 0 for this container: nothing is kept for docker logs")
	}
	r, err := readlogs.Open(ctx, log, config)
	if err != nil {
		return false, err
	}
	defer r.Close()
	return r.WriteTo(ctx, w)
}

// keepsNoHistory reports whether the log options turn the container's history off. Only a
// container that has no session (nil) has its options parsed for it.
func (d *Driver) keepsNoHistory(s *session, info *container.Info) bool {
	if s != nil {
		return s.currentRun().conf.HistorySize == 0
	}
	conf, _ := parseOptions(d.settings, info.Config, info.Env, info.Labels)
	return conf.HistorySize == 0
}

// beginReading returns the container's session, which does not end before endReading, or
// nil if nothing is kept of the container. An archived log becomes a session: it must not
// be moved or removed while it is read. It waits while the session is opened or archived,
// until ctx is done at the latest.
func (d *Driver) beginReading(ctx context.Context, id string) (*session, error) {
	if err := d.beginCall(); err != nil {
		return nil, err
	}
	defer d.endCall()
	select {
	case d.answerSlots <- struct{}{}:
		d.answers.wg.Add(1)
	default:
		return nil, d.limits.tooManyReaders()
	}
	s, err := d.holdSession(ctx, id, nil)
	if err != nil {
		d.endReading(nil)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("logspool: couldn't open the log of container %s: %w", id, err)
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
	<-d.answerSlots
	d.answers.wg.Done()
}
