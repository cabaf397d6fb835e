//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// stream is a log stream in which a test expects lines.
type stream struct {
	server                *cwlocal.Server
	region, group, stream string
}

// to returns a stream in the stand-in that all tests share.
func to(group, name string) stream { return stream{stand, region, group, name} }

func (s stream) String() string { return fmt.Sprintf("%s %s %s", s.region, s.group, s.stream) }

// final has the streams whose test has ended, with how many events each had and must
// still have at the end of the run.
var final struct {
	mu     sync.Mutex
	events map[stream]int64
}

// expectFinal says that the stream's test has ended and that it has all its events.
func expectFinal(s stream, events int) {
	final.mu.Lock()
	defer final.mu.Unlock()
	if final.events == nil {
		final.events = map[stream]int64{}
	}
	final.events[s] = int64(events)
}

// audit returns what is wrong after all tests have run: streams that got more events after
// their test, and requests that broke a rule of the service.
func audit() (problems []string) {
	final.mu.Lock()
	defer final.mu.Unlock()
	servers := map[*cwlocal.Server]bool{stand: true}
	for s, want := range final.events {
		servers[s.server] = true
		if now := s.events(); now != want {
			problems = append(problems, fmt.Sprintf("%v: %d events at the end, %d at the end of its test", s, now, want))
		}
	}
	for server := range servers {
		for _, r := range server.Refusals() {
			problems = append(problems, fmt.Sprintf("a request broke a rule: %+v", r))
		}
	}
	return problems
}

// batches has the number of events of each accepted request, in order of arrival.
var batches batchSizes

type batchSizes struct {
	mu    sync.Mutex
	sizes map[[3]string][]int // by region, group and stream
}

func (b *batchSizes) accepted(region, group, stream string, events []cwlocal.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sizes == nil {
		b.sizes = map[[3]string][]int{}
	}
	key := [3]string{region, group, stream}
	b.sizes[key] = append(b.sizes[key], len(events))
}

func (b *batchSizes) of(s stream) []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sizes[[3]string{s.region, s.group, s.stream}]
}

// repeated returns how many of the stream's batches arrived again. It fails the test if a
// part of a batch did, because the plugin repeats whole requests.
func (s stream) repeated(t *testing.T) (n int) {
	t.Helper()
	events := s.server.Arrived(s.region, s.group, s.stream)
	last := make(map[string]int, len(events))
	for i, e := range events {
		last[e.Message] = i
	}
	i := 0
	for _, size := range batches.of(s) {
		again := 0
		for end := i + size; i < end; i++ {
			if last[events[i].Message] > i {
				again++
			}
		}
		if again > 0 {
			n++
		}
		if again != 0 && again != size {
			t.Errorf("%v: %d lines of a batch of %d arrived again", s, again, size)
		}
	}
	return n
}

// printed returns the first n lines that a container prints to an output.
func printed(name, source string, n int) dockertest.Sequence {
	return dockertest.Sequence{Container: name, Source: source, N: n}
}

// waitFor waits until the stream has n events.
func (s stream) waitFor(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.server.WaitEvents(ctx, s.region, s.group, s.stream, int64(n)); err != nil {
		t.Fatal(err)
	}
}

// events returns how many events the stream has.
func (s stream) events() int64 {
	stats, _ := s.server.Stream(s.region, s.group, s.stream)
	return stats.Events
}

// wait waits until done returns true. The server calls it whenever a request has ended.
func wait(t *testing.T, server *cwlocal.Server, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := server.Wait(ctx, done); err != nil {
		t.Fatalf("waited for %s: %v", what, err)
	}
}

// has waits for the lines of the sequences, and fails the test unless the stream has each
// of them once, in order, and nothing else.
func (s stream) has(t *testing.T, sequences ...dockertest.Sequence) {
	t.Helper()
	total := 0
	for _, q := range sequences {
		total += q.N
	}
	s.waitFor(t, total)
	if err := s.check(sequences...).Err(); err != nil {
		t.Errorf("%v: %v", s, err)
	}
	expectFinal(s, total)
}

// check compares the stream's current events with what was printed.
func (s stream) check(sequences ...dockertest.Sequence) dockertest.Result {
	var c dockertest.Checker
	for _, q := range sequences {
		c.Written(q)
	}
	for _, e := range s.server.Sorted(s.region, s.group, s.stream) {
		c.Arrived(e.Message)
	}
	return c.Result()
}

// hasMessages waits for these messages, and fails the test unless the stream has them and
// nothing else.
func (s stream) hasMessages(t *testing.T, want ...string) {
	t.Helper()
	s.waitFor(t, len(want))
	got := s.messages()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%v has %q, want %q", s, got, want)
	}
	expectFinal(s, len(want))
}

func (s stream) messages() []string {
	var messages []string
	for _, e := range s.server.Sorted(s.region, s.group, s.stream) {
		messages = append(messages, e.Message)
	}
	return messages
}

// empty fails the test if the stream has an event.
func (s stream) empty(t *testing.T) {
	t.Helper()
	if got := s.messages(); len(got) > 0 {
		t.Errorf("%v has %q, want nothing", s, got)
	}
	expectFinal(s, 0)
}

// hostName returns the Docker host's name, which is the default group.
func hostName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}
