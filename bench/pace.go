package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/dockertest"
)

// startSharing starts n containers that share some log streams. With no streams, each has its
// own.
func (h *host) startSharing(ctx context.Context, n, streams int) error {
	h.containers = make([]*dockertest.Container, n)
	var g errgroup.Group
	g.SetLimit(8)
	for i := range n {
		config := map[string]string{}
		if streams > 0 {
			config["stream"] = fmt.Sprintf("shared-%d", i%streams)
		}
		g.Go(func() (err error) {
			h.containers[i], err = h.docker.Start(ctx, dockertest.Info{
				Config: config, ContainerID: dockertest.NewID(), ContainerName: "/" + containerName(i),
				ContainerImageName: "image:1", ContainerCreated: time.Now(),
			})
			return err
		})
	}
	return g.Wait()
}

// containerName is also the name of the container's stream, unless it shares one.
func containerName(i int) string { return fmt.Sprintf("container-%04d", i) }

// pace is how fast containers write.
type pace struct {
	rate int // rate is how many lines each container writes in a second.
}

// run calls write for one of n containers after the other until ctx is done. It returns how
// often, and how often it was late by more than a millisecond.
//
// Each container writes its lines evenly, and no two of them at the same time: while one waits
// for its next line, every other one writes a line, as many containers that know nothing of
// each other do. If run comes late, it writes at once what is due.
func (p pace) run(ctx context.Context, n int, write func(container int) error) (lines, late int, err error) {
	// Go's timers are too coarse. The kernel's are exact to some 50 µs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	gap := time.Second / time.Duration(p.rate*n)
	for begun := time.Now(); ctx.Err() == nil; {
		early := time.Duration(lines)*gap - time.Since(begun)
		if early > 0 {
			wait := unix.NsecToTimespec(int64(early))
			_ = unix.Nanosleep(&wait, nil) // after a signal, it is early again
			continue
		}
		if early < -time.Millisecond {
			late++
		}
		if err := write(lines % n); err != nil {
			return lines, late, err
		}
		lines++
	}
	return lines, late, nil
}

// steady is a host whose containers write at a pace.
type steady struct {
	*host
	cancel context.CancelFunc
	lines  int
	late   int // late counts the lines that were late by more than a millisecond.
	err    error
	done   chan struct{} // done is closed when lines, late and err are set.
}

// steadily lets the containers write at a pace until stop is called.
func (h *host) steadily(ctx context.Context, p pace) *steady {
	ctx, cancel := context.WithCancel(ctx)
	s := &steady{host: h, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		text, n := logLines(lineSize), 0
		s.lines, s.late, s.err = p.run(ctx, len(h.containers), func(i int) error {
			n++
			return h.containers[i].Write(dockertest.Stdout, text[n%len(text)])
		})
	}()
	return s
}

// stop ends the writing, and waits until all lines are delivered. Each container has written
// one before (warmUp).
func (s *steady) stop(ctx context.Context) error {
	s.cancel()
	<-s.done
	if s.err != nil {
		return s.err
	}
	return s.delivered.wait(ctx, len(s.containers)+s.lines, s.plugin)
}

// sleep waits for a time. It fails if the writing has ended.
func (s *steady) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-s.done:
		return fmt.Errorf("the containers write no longer: %w", s.err)
	default:
		return sleep(ctx, d)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
