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

// The sources that dockerd knows.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// ErrClosed is returned when a container's FIFO has been closed, by Stop or by Kill.
var ErrClosed = errors.New("the container's FIFO is closed")

// Container is one container's log on its way from dockerd to the plugin.
//
// Its methods may be called at the same time by several goroutines. As in dockerd, frames are written
// one after another under a lock: while a write waits because nobody reads the FIFO, the other source
// and Stop wait too. Kill does not.
type Container struct {
	// Info is what the plugin was told. It is not changed.
	Info Info
	// File is the FIFO as the plugin was told it, Path is where it is.
	File, Path string

	d    *Daemon
	fifo *os.File

	mu      sync.Mutex // held while a frame is written and while the plugin is told to stop
	outputs map[string]*splitter
	stopped bool

	waitMu  sync.Mutex
	since   time.Time     // when the write under way began; zero if there is none
	longest time.Duration // of the writes that have ended
}

// Start begins a container's log as dockerd does: it asks for the capabilities, makes the FIFO and
// opens it for reading and writing, and sends StartLogging. If the plugin refuses, the FIFO's file
// is left behind.
func (d *Daemon) Start(ctx context.Context, info Info) (*Container, error) {
	// dockerd goes on without an answer to this one, with no capability.
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

// Write is output of the container, as its process writes it: it may hold many lines, or a part of
// one. It becomes frames as in dockerd. It blocks as long as the FIFO is full.
func (c *Container) Write(source, output string) error {
	return c.write(source, output, time.Now)
}

// WriteAt is Write at the time t.
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

// WriteEntry writes one frame as it is, such as another dockerd would write.
func (c *Container) WriteEntry(e *logdriver.LogEntry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return logdriver.NewLogEntryEncoder((*fifoWriter)(c)).Encode(e)
}

// WriteRaw writes bytes that need not be a frame, with one write.
func (c *Container) WriteRaw(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := (*fifoWriter)(c).Write(b)
	return err
}

// End is the end of a source: what stands there without a newline goes out as a piece that no
// last one follows.
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

// Stop is the end of the container: its sources end, StopLogging is sent, and when it has been
// answered the FIFO is closed and removed. If the plugin answers with an error, dockerd does neither,
// and Stop may be called again.
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

// Kill closes the FIFO without StopLogging and leaves its file behind, as the death of dockerd does.
// A write under way fails.
func (c *Container) Kill() { c.close() }

// Restart is the return of dockerd after its death, with live-restore: the same container has a new
// FIFO. What had no newline yet is forgotten.
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

// LongestWrite returns how long the longest write to the FIFO has taken so far, the one under way
// included. It tells whether the container had to wait for the plugin.
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
