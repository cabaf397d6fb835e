package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/spool"
)

// containerRun is a part of a container's stream whose lines go to the same names with the
// same options. A start of the container with the same facts continues it. session.mu guards
// its fields except ended and announced.
type containerRun struct {
	info  container.Info
	host  string // host is the container's host name as the engine reported it, or empty.
	conf  *config.Container
	to    uint64      // to is the position where the run ends, or 0 for the current run.
	ended atomic.Bool // ended says that nothing more is expected for now.

	announced string // announced has the names that were logged. It belongs to the owner.
}

// activeRun is a container run that is being delivered.
type activeRun struct {
	run   *containerRun
	feeds []*feed.Feed
}

// maxRuns is the largest number of earlier runs in a record, each of which has the
// container's environment. Beyond it, the lines of the last one go to the names of the next.
const maxRuns = 16

// parseOptions is Settings.Container. Tests count its calls.
var parseOptions = (*config.Settings).Container

func newContainerRun(info container.Info, conf *config.Container) *containerRun {
	r := &containerRun{info: info, conf: conf}
	r.ended.Store(true)
	return r
}

// recordedRun makes a container run from a record. Its log options were valid when it began.
// Where they no longer are, the settings apply.
func (s *session) recordedRun(info container.Info, host string, to uint64) *containerRun {
	conf, err := parseOptions(s.env.settings, info.Config, info.Env, info.Labels)
	if err != nil {
		s.env.log.Warn("a running container has invalid log options; the plugin's settings apply instead", "container", s.name(), "err", err)
	}
	r := newContainerRun(info, conf)
	r.host, r.to = host, to
	return r
}

// recordedRuns returns the runs in the record. If start, which may be nil, continues the last
// of them, start takes its place.
func (s *session) recordedRuns(start *containerRun) (runs []*containerRun) {
	r := &s.record
	for _, e := range r.Earlier {
		runs = append(runs, s.recordedRun(e.Info, e.Host, e.To))
	}
	if start != nil && sameInfo(&r.Info, &start.info) {
		start.host = r.Host
		return append(runs, start)
	}
	return append(runs, s.recordedRun(r.Info, r.Host, 0))
}

// dropForeignRuns drops the earlier runs of a spool that is gone. It is called by openSession.
func (s *session) dropForeignRuns() {
	if n := len(s.record.Earlier); n > 0 && s.record.Earlier[n-1].To > s.spool.End() {
		s.record.Earlier = nil
		s.runs = s.runs[n:]
	}
}

func (s *session) currentRun() *containerRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentRunLocked()
}

func (s *session) currentRunLocked() *containerRun { return s.runs[len(s.runs)-1] }

// sameInfo reports whether dockerd says the same about a container.
func sameInfo(a, b *container.Info) bool {
	p, errA := json.Marshal(a)
	q, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(p, q)
}

// prepareRun prepares the record for the container run next. If next does not continue the
// current run and lines are undelivered, the current run becomes an earlier one. change
// changes the record. apply changes the session, with mu held, after the record is written
// and before anything of next is spooled. The caller holds recording, so nobody else changes
// the runs.
func (s *session) prepareRun(next *containerRun) (change func(*archive.Record), apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.currentRunLocked()
	end := s.spool.End()
	if sameInfo(&current.info, &next.info) || s.active == nil && s.spool.Acked() >= end {
		change = func(r *archive.Record) { r.Info = next.info }
		apply = func() { current.info, current.conf = next.info, next.conf }
		return change, apply
	}
	next.host = current.host // It was fixed when the container was created.
	earlier := archive.Run{To: end, Info: current.info, Host: current.host}
	full := len(s.runs) > maxRuns
	change = func(r *archive.Record) {
		if full {
			r.Earlier = r.Earlier[:len(r.Earlier)-1]
		}
		r.Earlier = append(r.Earlier, earlier)
		r.Info = next.info
	}
	apply = func() {
		current.to = end
		current.ended.Store(true)
		if s.active != nil && s.active.run == current {
			for _, f := range s.active.feeds {
				f.EndAt(end)
			}
		}
		if full {
			s.runs = slices.Delete(s.runs, len(s.runs)-2, len(s.runs)-1)
		}
		s.runs = append(s.runs, next)
	}
	return change, apply
}

// nextRun returns the container run to deliver now, and drops those that are delivered. It
// blocks for the local disk.
func (s *session) nextRun() *containerRun {
	s.recording.Lock()
	defer s.recording.Unlock()
	acked := s.spool.Acked()
	s.mu.Lock()
	n := 0
	for n < len(s.runs)-1 && s.runs[n].to <= acked {
		n++
	}
	s.runs = s.runs[n:]
	next := s.runs[0]
	s.mu.Unlock()
	if n > 0 {
		drop := func(r *archive.Record) { r.Earlier = r.Earlier[n:] }
		// After an error, the next start of the plugin drops them.
		if err := s.changeRecord(drop); err != nil {
			s.mu.Lock()
			drop(&s.record)
			s.mu.Unlock()
		}
	}
	return next
}

// setHost saves the host name of a run's container in the record.
func (s *session) setHost(run *containerRun, host string) {
	s.recording.Lock()
	defer s.recording.Unlock()
	s.mu.Lock()
	at := slices.Index(s.runs, run)
	run.host = host
	s.mu.Unlock()
	err := s.changeRecord(func(r *archive.Record) {
		if at >= 0 && at < len(r.Earlier) {
			r.Earlier[at].Host = host
		} else {
			r.Host = host
		}
	})
	if err != nil {
		s.env.log.Warn("cannot write a container's record", "container", s.name(), "err", err)
	}
}

// run is the time from a start of the container to its end. As a context it is done when
// nothing more is expected, which ends the answers that follow it.
type run struct {
	context.Context
	cancel context.CancelFunc
	end    uint64 // end is the position where the run ended, once the context is done.
}

func newRun() *run {
	r := &run{}
	r.Context, r.cancel = context.WithCancel(context.Background())
	return r
}

// stop ends the run, if it has not ended.
func (r *run) stop(end uint64) {
	if r.Err() == nil {
		r.end = end
		r.cancel()
	}
}

// logging returns the container's present run, or the last one.
func (s *session) logging() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// changeRecord changes the record and writes it. After an error the record is as it was. It is
// called with recording held, or by openSession, and without mu. It blocks for the local disk.
func (s *session) changeRecord(change func(r *archive.Record)) error {
	s.mu.Lock()
	r := s.record
	s.mu.Unlock()
	r.FIFOs, r.Earlier = slices.Clone(r.FIFOs), slices.Clone(r.Earlier)
	change(&r)
	if err := s.writeRecord(&r); err != nil {
		return err
	}
	s.mu.Lock()
	s.record = r
	s.mu.Unlock()
	return nil
}

// writeRecord writes r, and has the budget count it.
func (s *session) writeRecord(r *archive.Record) error {
	data, err := r.Encode()
	if err == nil {
		err = s.env.budget.Retry(func() error {
			return archive.WriteRecord(s.env.fs, s.dir(), data, s.env.durable())
		})
	}
	if err == nil {
		s.spool.CountExtra(spool.Allocated(int64(len(data))) + spool.DirSize)
	}
	return err
}
