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

	"github.com/logspool/logspool/internal/dockertest"
)

// tick is how often a writer looks how many lines are due.
const tick = 10 * time.Millisecond

// pace calls write as often as it takes to come to rate lines a second, until ctx is done or write says
// that it cannot go on. A writer that was held up makes up for it.
func pace(ctx context.Context, rate int, write func() error) error {
	begun, done := time.Now(), 0
	beat := time.NewTicker(tick)
	defer beat.Stop()
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
		case <-beat.C:
		}
	}
}

// source is a container that writes numbered lines to its stdout. dockerd may die under it and come back.
type source struct {
	account  *account
	sequence dockertest.Sequence // for the writing goroutine
	size     int                 // bytes of a line

	mu        sync.Mutex
	container *dockertest.Container
	back      chan struct{} // closed when there is another container
	longest   time.Duration // write, of the containers before this one
}

func newSource(a *account, name string, size int) *source {
	return &source{account: a, sequence: dockertest.Sequence{Container: name, Source: dockertest.Stdout}, size: size,
		back: make(chan struct{})}
}

// attach gives the source its container, the first one or the one after dockerd's death.
func (s *source) attach(c *dockertest.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.container != nil {
		s.longest = max(s.longest, s.container.LongestWrite())
	}
	s.container = c
	close(s.back)
	s.back = make(chan struct{})
}

func (s *source) current() (*dockertest.Container, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.container, s.back
}

func (s *source) longestWrite() time.Duration {
	c, _ := s.current()
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.longest, c.LongestWrite())
}

// write writes the next line. A frame of less than PIPE_BUF bytes is in the FIFO whole or, if dockerd dies, not
// at all (pipe(7)): then it is written to the next container.
func (s *source) write(ctx context.Context) error {
	line := s.sequence.Next(s.size) + "\n"
	for {
		c, back := s.current()
		s.account.written(s.sequence)
		err := c.Write(s.sequence.Source, line)
		if err != dockertest.ErrClosed {
			return err
		}
		select {
		case <-back:
		case <-ctx.Done():
			s.sequence.N--
			s.account.unwritten(s.sequence)
			return nil
		}
	}
}

// printCommand makes this program the process of a container in a real engine.
const printCommand = "print"

// printed is what such a process tells at its end.
type printed struct {
	lines   int
	longest time.Duration // write
}

// printLines prints numbered lines for a while, leaves in a file what it did, and waits for SIGTERM.
func printLines(args []string) error {
	flags := flag.NewFlagSet(printCommand, flag.ExitOnError)
	name := flags.String("name", "", "name in the lines")
	rate := flags.Int("rate", 1000, "lines a second")
	size := flags.Int("size", 0, "bytes of a line")
	length := flags.Duration("for", time.Second, "how long")
	report := flags.String("report", "", "file to leave the number of lines and the longest write in")
	if err := flags.Parse(args); err != nil {
		return err
	}
	term := make(chan os.Signal, 1) // the kernel ignores it for a PID 1 without a handler
	signal.Notify(term, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), *length)
	defer cancel()
	p := printed{}
	s := dockertest.Sequence{Container: *name, Source: dockertest.Stdout}
	err := pace(ctx, *rate, func() error {
		begun := time.Now()
		_, err := os.Stdout.WriteString(s.Next(*size) + "\n")
		p.longest = max(p.longest, time.Since(begun))
		return err
	})
	if err != nil {
		return err
	}
	text := fmt.Sprintln(s.N, int64(p.longest))
	if err := os.WriteFile(*report+".part", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(*report+".part", *report); err != nil {
		return err
	}
	<-term
	return nil
}
