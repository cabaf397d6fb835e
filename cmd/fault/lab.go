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

// lab is where the rows run. They leave nothing outside its directory, so that a later run
// finds what a killed one left.
type lab struct {
	settings
	dir    string
	lock   *os.File
	thread *hosttest.Thread // thread starts the plugin's processes, which end with it.

	engineOnce sync.Once
	ownEngine  *engine // ownEngine is nil if none was started.
	engineErr  error
}

// engine returns the lab's Docker engine. The first row that needs it starts it.
func (l *lab) engine(ctx context.Context) (*engine, error) {
	l.engineOnce.Do(func() { l.ownEngine, l.engineErr = newEngine(ctx, l) })
	return l.ownEngine, l.engineErr
}

const (
	labDirs   = "/var/tmp" // a real file system, as users' spools are on
	labPrefix = "logspool-fault-"
)

func newLab(s settings) (*lab, error) {
	if err := removeDead(); err != nil {
		return nil, fmt.Errorf("couldn't remove the files of an earlier run: %w", err)
	}
	if s.binary == "" {
		return nil, errors.New("the flag -binary is missing")
	}
	dir, err := os.MkdirTemp(labDirs, labPrefix)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	thread, err := hosttest.NewThread(false)
	if err != nil {
		return nil, err
	}
	return &lab{settings: s, dir: dir, lock: lock, thread: thread}, nil
}

func (l *lab) close() (err error) {
	if l.ownEngine != nil {
		err = l.ownEngine.Close()
	}
	l.thread.End()
	return errors.Join(err, hosttest.RemoveDir(l.dir), l.lock.Close())
}

// lockDir takes a run's lock. The kernel releases it when the run ends, however it ends.
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

// removeDead removes what killed runs have left.
func removeDead() error {
	dirs, err := filepath.Glob(filepath.Join(labDirs, labPrefix+"*"))
	for _, dir := range dirs {
		lock, lockErr := lockDir(dir)
		if lockErr != nil {
			continue // the run has not ended
		}
		err = errors.Join(err, hosttest.RemoveDir(dir))
		lock.Close()
	}
	return err
}
