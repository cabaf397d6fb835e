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
)

// containerRun is a part of a container's stream that goes to the same names with the same options: all runs of the
// container in a row of which dockerd said the same. Its fields but ended are guarded by session.mu.
type containerRun struct {
	info  container.Info
	host  string
	conf  *config.Container
	to    uint64      // the position where it ends; 0: it is the current one
	ended atomic.Bool // nothing more will come of it for now
}

// maxRuns bounds the earlier runs that a record keeps: each has the container's environment. Beyond it the lines of
// the last ones go to the names of the next.
const maxRuns = 16

// activeRun is what is being delivered of one run.
type activeRun struct {
	run   *containerRun
	feeds []*feed.Feed
}

// newContainerRun reads a run's log options. They were checked when it began; those that this version does not know give
// way to the settings.
func (s *session) newContainerRun(info container.Info, host string, to uint64) *containerRun {
	conf, err := s.d.o.Settings.Container(info.Config, info.Env)
	if err != nil {
		s.d.log.Warn("invalid log options of a running container; the plugin's settings apply", "container", s.name(), "err", err)
	}
	r := &containerRun{info: info, host: host, conf: conf, to: to}
	r.ended.Store(true)
	return r
}

// recordedRuns returns the runs that the record names.
func (s *session) recordedRuns() (runs []*containerRun) {
	for _, e := range s.record.Earlier {
		runs = append(runs, s.newContainerRun(e.Info, e.Host, e.To))
	}
	return append(runs, s.newContainerRun(s.record.Info, s.record.Host, 0))
}

// dropForeignRuns drops the earlier runs of a stream that is not there any more. It is called by openSession.
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

// sameInfo reports whether dockerd says the same of a container as before.
func sameInfo(a, b *container.Info) bool {
	p, errA := json.Marshal(a)
	q, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(p, q)
}

// nextRun prepares the record for a run that info describes: if it differs and lines are undelivered, the current
// run becomes an earlier one. apply does the same to the session once the record is written, before anything of the
// new run is. The caller holds recording, so that nobody else changes the runs.
func (s *session) nextRun(info *container.Info) (change func(*archive.Record), apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.currentRunLocked()
	run := s.newContainerRun(*info, current.host, 0) // the host name is part of what a container was created with
	end := s.spool.End()
	if sameInfo(&current.info, info) || s.active == nil && s.spool.Acked() >= end {
		change = func(r *archive.Record) { r.Info = *info }
		apply = func() {
			current.info, current.conf = run.info, run.conf
		}
		return change, apply
	}
	earlier := archive.Run{To: end, Info: current.info, Host: current.host}
	full := len(s.runs) > maxRuns
	change = func(r *archive.Record) {
		if full {
			r.Earlier = r.Earlier[:len(r.Earlier)-1]
		}
		r.Earlier = append(r.Earlier, earlier)
		r.Info = *info
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
		s.runs = append(s.runs, run)
	}
	return change, apply
}

// runToDeliver returns the run that is to be delivered now, and drops those that are delivered. It blocks for the local disk.
func (s *session) runToDeliver() *containerRun {
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
		if err := s.changeRecordLocked(drop); err != nil { // the next start drops them
			s.mu.Lock()
			drop(&s.record)
			s.mu.Unlock()
		}
	}
	return next
}

// setHost keeps the host name of a run's container in the record.
func (s *session) setHost(run *containerRun, host string) {
	s.recording.Lock()
	defer s.recording.Unlock()
	s.mu.Lock()
	at := slices.Index(s.runs, run)
	run.host = host
	s.mu.Unlock()
	err := s.changeRecordLocked(func(r *archive.Record) {
		if at >= 0 && at < len(r.Earlier) {
			r.Earlier[at].Host = host
		} else {
			r.Host = host
		}
	})
	if err != nil {
		s.d.log.Warn("cannot write a container's record", "container", s.name(), "err", err)
	}
}

// run is the time from a container's start to its end. As a context it is done when nothing more will come: that is
// when what follows it ends.
type run struct {
	context.Context
	cancel context.CancelFunc
	end    uint64 // of the stream, once it is done
}

func newRun() *run {
	r := &run{}
	r.Context, r.cancel = context.WithCancel(context.Background())
	return r
}

// stop ends the run, once.
func (r *run) stop(end uint64) {
	if r.Err() == nil {
		r.end = end
		r.cancel()
	}
}

// logging returns the container's run, the last one if it does not run.
func (s *session) logging() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// setEnded says whether nothing more will come for now. It is called by openSession, or with mu held.
func (s *session) setEnded(ended bool) {
	s.ended.Store(ended)
	s.currentRunLocked().ended.Store(ended)
}
