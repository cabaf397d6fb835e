package spool

import (
	"context"
	"slices"
	"time"
)

// idleTime is how long a spool's files stay open after their last use, twice that at most.
const idleTime = 5 * time.Second

// Run closes the files of spools that have not been used for some seconds, so that an idle container holds none. It
// returns when ctx is done.
func (b *Budget) Run(ctx context.Context) {
	tick := time.NewTicker(idleTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.closeIdle()
		}
	}
}

// LimitFiles bounds how many spools have files open at once. A spool has two: the segment that is appended to, and the
// cursor. Readers have one more each while they read.
func (b *Budget) LimitFiles(spools int) {
	b.filesMu.Lock()
	defer b.filesMu.Unlock()
	b.mostFiles = spools
}

func (b *Budget) closeIdle() {
	b.filesMu.Lock()
	all := slices.Clone(b.withFiles)
	b.filesMu.Unlock()
	for _, s := range all {
		if s.mu.TryLock() { // a spool that is locked is in use
			if s.filesUsed {
				s.filesUsed = false
			} else {
				s.closeFilesLocked()
			}
			s.mu.Unlock()
		}
	}
}

// markUsedLocked takes note that the spool's files are about to be used. Where too many spools have open files, the one that
// has had them for the longest time closes them; it opens them again when it needs them.
func (s *Spool) markUsedLocked() {
	s.filesUsed = true
	b := s.budget
	if s.filesListed || b == nil {
		return
	}
	s.filesListed = true
	b.filesMu.Lock()
	defer b.filesMu.Unlock()
	b.withFiles = append(b.withFiles, s)
	if b.mostFiles == 0 {
		return
	}
	for i := 0; len(b.withFiles) > b.mostFiles && i < len(b.withFiles)-1; {
		o := b.withFiles[i]
		if !o.mu.TryLock() {
			i++
			continue
		}
		b.withFiles = slices.Delete(b.withFiles, i, i+1)
		o.filesListed = false
		o.closeDescriptorsLocked()
		o.mu.Unlock()
	}
}

// closeFilesLocked closes the files until they are needed again.
func (s *Spool) closeFilesLocked() {
	s.closeDescriptorsLocked()
	if s.budget != nil {
		s.budget.filesClosed(s)
	}
}

// filesClosed takes a spool, which is locked, off the list of those with open files.
func (b *Budget) filesClosed(s *Spool) {
	if b == nil || !s.filesListed {
		return
	}
	s.filesListed = false
	b.filesMu.Lock()
	defer b.filesMu.Unlock()
	b.withFiles = slices.DeleteFunc(b.withFiles, func(o *Spool) bool { return o == s })
}

func (s *Spool) closeDescriptorsLocked() {
	s.closeActiveLocked()
	s.cursor.close()
}
