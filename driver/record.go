package driver

import (
	"slices"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/spool"
)

// changeRecord changes the record and writes it. After an error the record is as it was. It
// blocks for the local disk.
func (s *session) changeRecord(change func(r *archive.Record)) error {
	s.recording.Lock()
	defer s.recording.Unlock()
	return s.changeRecordLocked(change)
}

// changeRecordLocked is changeRecord with recording held. mu must not be held.
func (s *session) changeRecordLocked(change func(r *archive.Record)) error {
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
		s.spool.CountBeside(spool.Allocated(int64(len(data))) + archive.DirectorySize)
	}
	return err
}
