package spool

import (
	"context"
	"slices"
	"time"
)

// idleTime is how long a spool's files stay open after their last use; they are closed
// after twice that at the latest.
const idleTime = 5 * time.Second

// fileUse is what the Budget knows of a spool's open files. Spool.mu guards it.
type fileUse struct {
	used   bool // used says that the files were used since closeIdle last looked.
	listed bool // listed says that the spool is in Budget.withFiles.
}

// Run closes the files of spools that have not been used for some seconds, so an idle
// container holds none. It returns when ctx is done.
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

// LimitFiles limits how many spools have files open at once. A spool has two: the active
// segment and the cursor. Each reader has one more while it reads.
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
			if s.files.used {
				s.files.used = false
			} else {
				s.closeFilesLocked()
			}
			s.mu.Unlock()
		}
	}
}

// markUsedLocked records that the spool's files are about to be used. If too many spools
// have open files, it closes those of the spool that has had them open for the longest
// time, which opens them again when it needs them.
func (s *Spool) markUsedLocked() {
	s.files.used = true
	b := s.opts.Budget
	if s.files.listed {
		return
	}
	s.files.listed = true
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
		o.files.listed = false
		o.closeDescriptorsLocked()
		o.mu.Unlock()
	}
}

// closeFilesLocked closes the files until they are needed again.
func (s *Spool) closeFilesLocked() {
	s.closeDescriptorsLocked()
	s.unlistFilesLocked()
}

// unlistFilesLocked removes the spool from the budget's list of spools with open files.
func (s *Spool) unlistFilesLocked() {
	b := s.opts.Budget
	if !s.files.listed {
		return
	}
	s.files.listed = false
	b.filesMu.Lock()
	defer b.filesMu.Unlock()
	b.withFiles = slices.DeleteFunc(b.withFiles, func(o *Spool) bool { return o == s })
}

func (s *Spool) closeDescriptorsLocked() {
	s.closeActiveLocked()
	s.cursor.close()
}
