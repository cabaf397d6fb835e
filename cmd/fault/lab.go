package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// lab is where the rows run. Everything that they leave anywhere is below its directory, so that a later run
// finds what a killed one left.
type lab struct {
	settings
	dir  string
	lock *os.File
	born *thread // starts the plugin's processes

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
	born, err := newThread(false)
	if err != nil {
		return nil, err
	}
	return &lab{settings: s, dir: dir, lock: lock, born: born}, nil
}

func (l *lab) close() error {
	if l.ownEngine != nil {
		l.ownEngine.stop()
	}
	l.born.end()
	err := removeDir(l.dir)
	return errors.Join(err, l.lock.Close())
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
		err = errors.Join(err, removeDir(dir))
		lock.Close()
	}
	return err
}

// removeDir removes a run's directory, the processes that still belong to it, and what is mounted there.
func removeDir(dir string) error {
	for _, pid := range processesOf(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			points = append(points, fields[1])
		}
	}
	slices.Sort(points)
	for _, point := range slices.Backward(points) {
		err = errors.Join(err, os.NewSyscallError("umount "+point, unix.Unmount(point, unix.MNT_DETACH)))
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// processesOf are the processes that have a path below the directory in their arguments, and their descendants: a
// Docker engine, its containerd, the shims and what they run.
func processesOf(dir string) (pids []int) {
	all := processes()
	mine := map[int]bool{os.Getpid(): false}
	for found := true; found; {
		found = false
		for pid, p := range all {
			if _, known := mine[pid]; known {
				continue
			}
			if mine[p.parent] || slices.ContainsFunc(p.args, func(a string) bool { return strings.Contains(a, dir+"/") }) {
				mine[pid], found = true, true
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

type process struct {
	parent int
	args   []string // one at least
}

// processes are those that run now, by their number.
func processes() map[int]process {
	all := map[int]process{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		stat, statErr := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil || statErr != nil || len(args) == 0 {
			continue // it has ended, or is the kernel's
		}
		// The command's name, in parentheses, may hold anything (proc_pid_stat(5)).
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		all[pid] = process{parent, strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")}
	}
	return all
}
