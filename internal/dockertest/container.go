package dockertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"golang.org/x/sys/unix"
)

// The sources in dockerd's frames.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// ErrClosed is returned after Stop or Kill has closed a container's FIFO.
var ErrClosed = errors.New("the container's FIFO is closed")

// Container is one container's log, on its way from dockerd to the plugin.
//
// Its methods may be called by several goroutines at once. As in dockerd, frames are
// written one after another under a lock: while a write is blocked because the plugin does
// not read the FIFO, the other source and Stop are blocked too. Kill is not.
type Container struct {
	// Info is what the plugin got, and must not be changed.
	Info Info
	// File is the FIFO's path that the plugin got.
	File string
	// Path is the FIFO's path on the host.
	Path string

	d    *Daemon
	fifo *os.File

	// mu is held during a write and during StopLogging, and guards outputs and stopped.
	mu sync.Mutex
	// outputs is keyed by source.
	outputs map[string]*splitter
	stopped bool

	// waitMu guards since and longest.
	waitMu sync.Mutex
	// since is when the current write began, and zero without one.
	since time.Time
	// longest is the longest write that has ended.
	longest time.Duration
}

// Start starts a container's log as dockerd does: it asks for the capabilities, makes the
// FIFO, opens it for reading and writing, and sends StartLogging. If the plugin refuses,
// Start leaves the FIFO, as dockerd does.
func (d *Daemon) Start(ctx context.Context, info Info) (*Container, error) {
	// If dockerd gets no answer, it assumes that the plugin has no capabilities.
	if _, err := d.Capabilities(ctx); err != nil && ctx.Err() != nil {
		return nil, err
	}
	id := NewID()
	c := &Container{
		Info:    info,
		File:    filepath.Join(d.opt.Scope, id),
		Path:    filepath.Join(d.opt.Dir, id),
		d:       d,
		outputs: map[string]*splitter{},
	}
	if err := unix.Mkfifo(c.Path, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make FIFO %q: %w", c.Path, err)
	}
	var err error
	if c.fifo, err = os.OpenFile(c.Path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if err := d.StartLogging(ctx, c.File, info); err != nil {
		c.fifo.Close()
		return nil, fmt.Errorf("error creating logger: %w", err)
	}
	d.mu.Lock()
	d.containers[c] = true
	d.mu.Unlock()
	return c, nil
}

// Write writes output of the container's process, which may be many lines or a part of one,
// to the FIFO, in the frames that dockerd would make of it. It blocks while the FIFO is
// full.
func (c *Container) Write(source, output string) error {
	return c.write(source, output, time.Now)
}

// WriteAt is Write with the time t in the frames.
func (c *Container) WriteAt(t time.Time, source, output string) error {
	return c.write(source, output, func() time.Time { return t })
}

func (c *Container) write(source, output string, now func() time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.outputs[source]
	if s == nil {
		s = newSplitter(source, logdriver.NewLogEntryEncoder((*fifoWriter)(c)))
		c.outputs[source] = s
	}
	return s.write(output, now)
}

// WriteEntry writes one frame, which dockerd does not have to be able to write.
func (c *Container) WriteEntry(e *logdriver.LogEntry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return logdriver.NewLogEntryEncoder((*fifoWriter)(c)).Encode(e)
}

// WriteRaw writes any bytes, with one write(2).
func (c *Container) WriteRaw(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := (*fifoWriter)(c).Write(b)
	return err
}

// End ends a source. It writes text without a newline as a partial frame that no last one
// follows.
func (c *Container) End(source string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endLocked(source)
}

func (c *Container) endLocked(source string) error {
	s := c.outputs[source]
	delete(c.outputs, source)
	if s == nil {
		return nil
	}
	return s.end(time.Now)
}

// Stop stops the container's log: it ends the sources, sends StopLogging, waits for the
// answer, and closes and removes the FIFO. If the plugin answers with an error, it leaves
// the FIFO open, as dockerd does, and Stop may be called again.
func (c *Container) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return ErrClosed
	}
	for _, source := range []string{Stdout, Stderr} {
		if err := c.endLocked(source); err != nil {
			return err
		}
	}
	if err := c.d.StopLogging(ctx, c.File); err != nil {
		return err
	}
	c.stopped = true
	c.close()
	return os.Remove(c.Path)
}

// Kill closes the FIFO without StopLogging and leaves its file, as the death of dockerd
// does. A blocked write fails.
func (c *Container) Kill() { c.close() }

// Restart does what dockerd does with a container that runs when it starts, with
// live-restore: it gives the container a new FIFO. Text that had no newline yet is lost.
func (c *Container) Restart(ctx context.Context) (*Container, error) {
	c.Kill()
	return c.d.Start(ctx, c.Info)
}

func (c *Container) close() {
	c.d.mu.Lock()
	delete(c.d.containers, c)
	c.d.mu.Unlock()
	c.fifo.Close()
}

// LongestWrite returns how long the longest write to the FIFO has taken, including the
// current one. It shows whether the container had to wait for the plugin.
func (c *Container) LongestWrite() time.Duration {
	c.waitMu.Lock()
	defer c.waitMu.Unlock()
	if c.since.IsZero() {
		return c.longest
	}
	return max(c.longest, time.Since(c.since))
}

// fifoWriter writes to a container's FIFO and measures how long it takes.
type fifoWriter Container

func (w *fifoWriter) Write(b []byte) (int, error) {
	w.waitMu.Lock()
	w.since = time.Now()
	w.waitMu.Unlock()

	n, err := w.fifo.Write(b)

	w.waitMu.Lock()
	w.longest = max(w.longest, time.Since(w.since))
	w.since = time.Time{}
	w.waitMu.Unlock()
	if errors.Is(err, os.ErrClosed) {
		err = ErrClosed
	}
	return n, err
}
