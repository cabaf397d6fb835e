package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/logspool/logspool/internal/hosttest"
)

// lab is where the rows run. Everything that they leave anywhere is below its directory, so that a later run
// finds what a killed one left.
type lab struct {
	settings
	dir  string
	lock *os.File
	born *hosttest.Thread // starts the plugin's processes

	engineOnce sync.Once
	ownEngine  *engine // nil: none was started
	engineErr  error
}

// engine is the lab's Docker engine, which the first row that needs one starts.
func (l *lab) engine(ctx context.Context) (*engine, error) {
	l.engineOnce.Do(func() { l.ownEngine, l.engineErr = newEngine(ctx, l) })
	return l.ownEngine, l.engineErr
}

const (
	labDirs   = "/var/tmp" // a real file system: the spools are on disks of the kind that users have
	labPrefix = "logspool-fault-"
)

func newLab(s settings) (*lab, error) {
	if err := removeDead(); err != nil {
		return nil, fmt.Errorf("couldn't remove what an earlier run left: %w", err)
	}
	if s.binary == "" {
		return nil, errors.New("-binary is missing")
	}
	dir, err := os.MkdirTemp(labDirs, labPrefix)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	born, err := hosttest.NewThread(false)
	if err != nil {
		return nil, err
	}
	return &lab{settings: s, dir: dir, lock: lock, born: born}, nil
}

func (l *lab) close() (err error) {
	if l.ownEngine != nil {
		err = l.ownEngine.Close()
	}
	l.born.End()
	return errors.Join(err, hosttest.RemoveDir(l.dir), l.lock.Close())
}

// lockDir takes a run's lock, which its end gives back however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("couldn't lock %s: %w", dir, err)
	}
	return f, nil
}

// removeDead removes what runs have left that were killed.
func removeDead() error {
	dirs, err := filepath.Glob(filepath.Join(labDirs, labPrefix+"*"))
	for _, dir := range dirs {
		lock, lockErr := lockDir(dir)
		if lockErr != nil {
			continue // it runs
		}
		err = errors.Join(err, hosttest.RemoveDir(dir))
		lock.Close()
	}
	return err
}
