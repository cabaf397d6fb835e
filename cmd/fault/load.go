package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/dockertest"
)

// load is the containers of a trial, which write.
type load struct {
	// sources are started by the row's goroutine.
	sources []*source
	writers errgroup.Group
	// cancel ends the writing, and is nil before beginLoad.
	cancel context.CancelFunc

	// mu guards visitors.
	mu sync.Mutex
	// visitors are the containers that were started and stopped during the load.
	visitors []*source
}

// beginLoad makes all containers write rate lines a second each until stopLoad.
func (l *load) beginLoad(ctx context.Context, rate int) {
	ctx, l.cancel = context.WithCancel(ctx)
	for _, s := range l.sources {
		l.writers.Go(func() error {
			return writeAtRate(ctx, rate, func() error { return s.write(ctx) })
		})
	}
}

// stopLoad makes the containers stop writing. It does not wait for them, because a write
// may be blocked.
func (l *load) stopLoad() {
	if l.cancel != nil {
		l.cancel()
	}
}

// tick is how often a writer checks how many lines are due.
const tick = 10 * time.Millisecond

// writeAtRate calls write rate times a second, until ctx is done or write returns an error.
// After a write that was blocked, it catches up.
func writeAtRate(ctx context.Context, rate int, write func() error) error {
	begun, done := time.Now(), 0
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		for due := int(time.Since(begun).Seconds() * float64(rate)); done < due; done++ {
			if ctx.Err() != nil {
				return nil
			}
			if err := write(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// source is a container that writes numbered lines to its stdout. It outlives its dockerd.
type source struct {
	account  *account
	sequence dockertest.Sequence // sequence belongs to the writing goroutine.
	size     int                 // size is the length of a line in bytes.

	mu        sync.Mutex
	container *dockertest.Container
	replaced  chan struct{} // replaced is closed when there is another container.
	longest   time.Duration // longest is the longest write to the earlier containers.
}

func newSource(a *account, name string, size int) *source {
	return &source{account: a, sequence: dockertest.Sequence{Container: name, Source: dockertest.Stdout}, size: size,
		replaced: make(chan struct{})}
}

// attach gives the source its container: the first one, or the one of the next dockerd.
func (s *source) attach(c *dockertest.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.container != nil {
		s.longest = max(s.longest, s.container.LongestWrite())
	}
	s.container = c
	close(s.replaced)
	s.replaced = make(chan struct{})
}

// current returns the source's container, and a channel that is closed when there is
// another one.
func (s *source) current() (*dockertest.Container, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.container, s.replaced
}

func (s *source) longestWrite() time.Duration {
	c, _ := s.current()
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.longest, c.LongestWrite())
}

// write writes the next line. If dockerd is killed, a frame of less than PIPE_BUF bytes is
// in the FIFO either whole or not at all (pipe(7)). In the second case, write writes it to
// the next container.
func (s *source) write(ctx context.Context) error {
	line := s.sequence.Next(s.size) + "\n"
	for {
		c, replaced := s.current()
		s.account.written(s.sequence)
		err := c.Write(s.sequence.Source, line)
		if err != dockertest.ErrClosed {
			return err
		}
		select {
		case <-replaced:
		case <-ctx.Done():
			s.sequence.N--
			s.account.unwritten(s.sequence)
			return nil
		}
	}
}

// printCommand makes this program the process of a container in a real engine.
const printCommand = "print"

// printed is what such a process reports at its end.
type printed struct {
	lines        int
	longestWrite time.Duration
}

// printLines prints numbered lines for some time, writes its report to a file, and waits
// for SIGTERM.
func printLines(args []string) error {
	flags := flag.NewFlagSet(printCommand, flag.ExitOnError)
	name := flags.String("name", "", "name in the lines")
	rate := flags.Int("rate", 1000, "lines a second")
	size := flags.Int("size", 0, "bytes of a line")
	length := flags.Duration("for", time.Second, "how long to print")
	report := flags.String("report", "", "file for the number of lines and the longest write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	term := make(chan os.Signal, 1) // without a handler, the kernel ignores SIGTERM for PID 1
	signal.Notify(term, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), *length)
	defer cancel()
	p := printed{}
	s := dockertest.Sequence{Container: *name, Source: dockertest.Stdout}
	err := writeAtRate(ctx, *rate, func() error {
		begun := time.Now()
		_, err := os.Stdout.WriteString(s.Next(*size) + "\n")
		p.longestWrite = max(p.longestWrite, time.Since(begun))
		return err
	})
	if err != nil {
		return err
	}
	text := fmt.Sprintln(s.N, int64(p.longestWrite))
	if err := os.WriteFile(*report+".part", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(*report+".part", *report); err != nil {
		return err
	}
	<-term
	return nil
}
