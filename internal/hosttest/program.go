package hosttest

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Program is a program in the background, such as the plugin or dockerd, with what it logs.
type Program struct {
	Log Log // Log has what the program writes to its standard output and standard error.

	name   string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // err is how the process ended, and is set before exited is closed.
}

// StartProgram starts cmd on thread, or in the calling goroutine if thread is nil. The
// name is for errors. The caller must call Stop or Kill.
func StartProgram(name string, cmd *exec.Cmd, thread *Thread) (*Program, error) {
	p := &Program{name: name, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.Log, &p.Log
	cmd.WaitDelay = 10 * time.Second // a child of the program may keep the pipe open
	var err error
	if thread != nil {
		thread.Do(func() { err = cmd.Start() })
	} else {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// PID returns the process's ID.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended and its log is complete.
func (p *Program) Exited() <-chan struct{} { return p.exited }

// Err returns how the process ended. It must be called after Exited is closed.
func (p *Program) Err() error { return p.err }

// WaitLogged waits until the log contains text. It returns an error if the process ends
// before, or after the time within.
func (p *Program) WaitLogged(text string, within time.Duration) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		found, changed := p.Log.contains(text)
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-p.exited:
			if found, _ := p.Log.contains(text); found {
				return nil
			}
			return fmt.Errorf("%s ended (%v) before it logged %q; the end of its log:\n%s", p.name, p.cmd.ProcessState, text, p.Log.Tail(20))
		case <-deadline.C:
			return fmt.Errorf("%s didn't log %q within %v", p.name, text, within)
		}
	}
}

// Stop sends SIGTERM and waits for the process to end. It kills a process that still runs
// after the time within. It returns an error if the process had ended before, had to be
// killed, or ended with another status than 0.
func (p *Program) Stop(within time.Duration) error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended before it was stopped: %v", p.name, p.cmd.ProcessState)
	default:
	}
	if !p.terminate(within) {
		return fmt.Errorf("%s didn't stop within %v", p.name, within)
	}
	if p.err != nil {
		return fmt.Errorf("%s stopped with an error: %w", p.name, p.err)
	}
	return nil
}

// terminate is Stop, and reports whether the process ended without being killed, with any
// status.
func (p *Program) terminate(within time.Duration) bool {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return true
	case <-time.After(within):
		p.Kill()
		return false
	}
}

// Kill kills the process and waits until it has ended. It does nothing if the process has
// ended.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// maxLog is how many bytes a Log keeps at least.
const maxLog = 1 << 20

// Log keeps the end of what is written to it: a MiB at least. Its methods may be called
// by several goroutines at once.
type Log struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // changed is closed by the next Write, and nil if nobody waits.
}

// Write appends to the log. It never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text = append(l.text, p...); len(l.text) > 2*maxLog {
		l.text = bytes.Clone(l.text[len(l.text)-maxLog:])
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return len(p), nil
}

// contains reports whether text is in the log, and if not, returns a channel that the next
// Write closes.
func (l *Log) contains(text string) (found bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(l.text, []byte(text)) {
		return true, nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return false, l.changed
}

// String returns the whole log.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// Tail returns the last n lines of the log.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimSuffix(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
