//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

// parity is a case of TestEventsAreThoseOfAwslogs: two containers that print the same
// with the same options, one with awslogs and one with the plugin.
type parity struct {
	name   string
	opts   []string // log options, in addition to the endpoint and, without bare, group and create-group
	bare   bool     // only the endpoint is added to opts
	docker []string // options of docker run
	groups []string // groups that exist before the start
	late   string   // a group that is created after the container has exited
	prints []chunk  // each is printed after the one before has been read back
	lent   bool     // the keys are from the container credentials endpoint

	region string   // empty: the default region
	group  string   // empty: parity/ and the case's name
	stream string   // NAME, ID, SHORT and FIVE are replaced by the container's; empty: ID
	want   []string // the events, in order
	paused []string // the events after a pause of 5 s, which a slow machine may cause
	emf    bool     // the batches are in EMF

	differs *difference // what awslogs does; nil: the same
	shows   []row       // rows of the page that the case tests
}

// difference is what awslogs does differently.
type difference struct {
	before  int      // the difference is only in major versions of Docker before this; 0: in all
	refused string   // a part of the error with which the container does not start
	want    []string // the events
	stale   []int    // events that have the time of the event before, and not of their first line
	empty   bool     // the stream is created although nothing is sent
}

// With these in the place of an output, a chunk of parity.prints waits until as many events
// have arrived as its text says: of both drivers, or only of awslogs.
const (
	arrived       = "arrived"
	theirsArrived = "arrived from awslogs"
)

// TestEventsAreThoseOfAwslogs: for the same output and options, the plugin sends the same
// events as awslogs, to the same group and stream, apart from the differences on the
// page.
func TestEventsAreThoseOfAwslogs(t *testing.T) {
	p := newParityEngine(t)
	page := readMigrating(t)
	page.shown(t, []string{"awslogs-endpoint", "awslogs-group"}, nil) // every case tests these
	major, _, _ := strings.Cut(p.must(t, "version", "--format", "{{.Server.Version}}"), ".")
	version, err := strconv.Atoi(major)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("cases", func(t *testing.T) {
		for i, c := range parities(t) {
			page.shown(t, c.opts, c.shows)
			if c.differs != nil && c.shows == nil {
				t.Errorf("%s: the case has a difference and no row of the page", c.name)
			}
			if c.differs != nil && c.differs.before > 0 && c.differs.before <= version {
				c.differs = nil
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				p.compare(t, fmt.Sprintf("%s-%s-parity-%d", ours, runID, i), c)
			})
		}
		for i, c := range refusals() {
			page.shown(t, c.opts, c.shows)
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				p.refuse(t, fmt.Sprintf("%s-%s-refused-%d", ours, runID, i), c)
			})
		}
	})
	page.allShown(t)
	p.audit(t)
}

// parityRun is a container with one of the drivers.
type parityRun struct {
	parity
	driver string
	account
	theirs  *difference // set for awslogs
	started time.Time
	ended   time.Time

	*container
	dir         string // /control in the container
	remote      *remote
	failedWaits *atomic.Int32 // the engine's
	follow      *follower     // nil if there is only one chunk
}

// compare runs a case with both drivers at once.
func (p *parityEngine) compare(t *testing.T, name string, c parity) {
	if c.group == "" {
		c.group = "parity/" + strings.ReplaceAll(c.name, " ", "-")
	}
	if c.region == "" {
		c.region = region
	}
	if c.stream == "" {
		c.stream = "ID"
	}
	theirs := &parityRun{parity: c, driver: "awslogs", account: *p.theirs, failedWaits: &p.failedWaits, theirs: c.differs}
	mine := &parityRun{parity: c, driver: p.plugin.name, account: *p.ours, failedWaits: &p.failedWaits}
	var runs []*parityRun
	for i, r := range []*parityRun{theirs, mine} {
		if c.lent {
			r.account = *p.third
		}
		for _, g := range c.groups {
			r.makeGroup(t, c.region, g)
		}
		if r.start(t, p, fmt.Sprintf("%s-%d", name, i)) {
			runs = append(runs, r)
		}
	}
	for i, out := range c.prints {
		for _, r := range runs {
			if out.to != arrived && out.to != theirsArrived {
				r.print(t, fmt.Sprint(i), out)
			} else if n, _ := strconv.Atoi(out.text); out.to == arrived || r == theirs {
				r.waitFor(t, n)
			}
		}
	}
	for _, r := range runs {
		r.remote.end()
		r.finish(t)
		r.ended = time.Now()
		if c.late != "" {
			r.makeGroup(t, c.region, c.late)
		}
	}
	for _, r := range runs {
		p.checked(r.check(t))
	}
	if n := p.lent.count(lentPath); c.lent && n < len(runs) {
		t.Errorf("%s had %d requests, want one of each driver", lentPath, n)
	}
}

// start starts the container. It returns false, after a check of the error, if the
// container must not start.
func (r *parityRun) start(t *testing.T, p *parityEngine, name string) bool {
	t.Helper()
	opts := append([]string{"awslogs-endpoint=" + p.endpoint}, r.opts...)
	if !r.bare {
		opts = append(opts, "awslogs-group="+r.group, "awslogs-create-group=true")
	}
	if !r.lossy() {
		opts = append(opts, "mode=blocking")
	}
	remote, docker, args := newRemote(t)
	r.remote = remote
	r.dir, _, _ = strings.Cut(docker[1], ":")
	docker = append(append(docker, r.docker...), "--log-driver", r.driver)
	s := spec{engine: &p.engine, name: name, plain: true, docker: docker, opts: opts, args: args}
	if r.theirs != nil && r.theirs.refused != "" {
		if message := refused(t, s); !strings.Contains(message, r.theirs.refused) {
			t.Errorf("%s says %q, want %q", r.driver, message, r.theirs.refused)
		}
		return false
	}
	r.started = time.Now()
	r.container = start(t, s)
	remote.connect()
	if len(r.prints) > 1 {
		r.follow = startFollower(t, r.container, "logs", "-f")
	}
	return true
}

func (r *parityRun) print(t *testing.T, file string, out chunk) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, file), []byte(out.text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.remote.tell("file %s /control/%s", out.to, file)
	if r.follow != nil {
		r.follow.waitFor(t, finalLine(out.text))
	}
}

// target returns the stream of the container's events.
func (r *parityRun) target() stream {
	name := strings.NewReplacer("NAME", r.container.name, "SHORT", r.id[:12], "FIVE", r.id[:5], "ID", r.id).Replace(r.parity.stream)
	return stream{r.Server, r.region, r.group, name}
}

// waitFor waits until n events have arrived, or until some have in another stream of the
// case's group.
func (r *parityRun) waitFor(t *testing.T, n int) {
	t.Helper()
	limit := patience
	if r.failedWaits.Load() > 1 { // many long waits would take too long
		limit = time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := r.target()
	strays := func() (names []string) {
		for _, there := range s.server.Streams() {
			if there.Group == s.group && (there.Region != s.region || there.Stream != s.stream) && there.Events > 0 && !r.lent {
				names = append(names, there.Region+" "+there.Stream)
			}
		}
		return names
	}
	err := s.server.Wait(ctx, func() bool { return s.events() >= int64(n) || strays() != nil })
	if names := strays(); err != nil || names != nil {
		r.failedWaits.Add(1)
		t.Fatalf("%s: waited for %d events in %v: %d have arrived, and some in %q: %v", r.driver, n, s, s.events(), names, err)
	}
}

// check compares what has arrived with what must arrive. It returns the stream and its
// number of events.
func (r *parityRun) check(t *testing.T) (stream, int) {
	t.Helper()
	s := r.target()
	want, stale, empty := r.want, []int(nil), false
	if r.theirs != nil {
		want, stale, empty = r.theirs.want, r.theirs.stale, r.theirs.empty
	}
	times := r.times(t)
	if r.paused != nil && r.theirs == nil && times.longest() >= 5*time.Second {
		want = r.paused
	}
	r.waitFor(t, len(want))
	got := s.server.Sorted(s.region, s.group, s.stream)
	if err := sameMessages(want, got); err != nil {
		t.Errorf("%s: %v", r.driver, err)
		return s, len(got)
	}
	r.checkTimes(t, got, times, stale)
	stats, made := s.server.Stream(s.region, s.group, s.stream)
	if len(want) == 0 && made != empty {
		t.Errorf("%s: the stream was created: %v", r.driver, made)
	}
	if r.emf != (stats.EMFBatches > 0) || stats.EMFBatches != 0 && stats.EMFBatches != stats.Batches {
		t.Errorf("%s: %d of %d batches are in EMF", r.driver, stats.EMFBatches, stats.Batches)
	}
	return s, len(want)
}

// sameMessages returns an error that says where got differs from want.
func sameMessages(want []string, got []cwlocal.Event) error {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%d events arrived, want %d: %.80q is missing", len(got), len(want), want[i])
		case i >= len(want):
			return fmt.Errorf("%d events arrived, want %d: %.80q is too many", len(got), len(want), got[i].Message)
		case got[i].Message != want[i]:
			w, g := want[i], got[i].Message
			at := 0
			for at < min(len(w), len(g)) && w[at] == g[at] {
				at++
			}
			from := max(0, at-20)
			return fmt.Errorf("event %d of %d has %d bytes, want %d: from byte %d on it has %.200q, want %.200q", i, len(got), len(g), len(w), from, g[from:], w[from:])
		}
	}
	return nil
}

// lineTimes has dockerd's times of lines, as docker logs prints them, by the text of the line.
type lineTimes map[string][]time.Time

// add adds a container's lines.
func (l lineTimes) add(t *testing.T, c *container) {
	t.Helper()
	a := c.logs("--timestamps")
	if a.err != "" {
		t.Errorf("docker logs %s: %s: %s", c.name, a.err, a.stderr)
	}
	for line := range strings.Lines(a.stdout + a.stderr) {
		stamp, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			t.Errorf("docker logs --timestamps %s: %.60q: %v", c.name, line, err)
		}
		text = valid(text)
		l[text] = append(l[text], at)
	}
}

// next returns the time of the next line with a text.
func (l lineTimes) next(text string) (at time.Time, ok bool) {
	if len(l[text]) == 0 {
		return at, false
	}
	at, l[text] = l[text][0], l[text][1:]
	return at, true
}

// longest returns the longest time between two lines.
func (l lineTimes) longest() (pause time.Duration) {
	var all []time.Time
	for _, times := range l {
		all = append(all, times...)
	}
	slices.SortFunc(all, time.Time.Compare)
	for i := 1; i < len(all); i++ {
		pause = max(pause, all[i].Sub(all[i-1]))
	}
	return pause
}

// lossy reports whether docker logs may not have a container's last line: without
// mode=blocking, dockerd's ring may drop it when the ring is closed (moby,
// daemon/logger/ring.go and loggerutils/cache).
func (r *parityRun) lossy() bool { return slices.Contains(r.opts, "mode=non-blocking") }

// times returns the times of the container's lines, and nil if docker logs cannot show
// them: it prints a time within a long line, where dockerd cuts it, and may have lost a
// line.
func (r *parityRun) times(t *testing.T) lineTimes {
	t.Helper()
	if r.lossy() || slices.ContainsFunc(r.want, func(m string) bool { return len(m) > 16<<10 }) {
		return nil
	}
	times := lineTimes{}
	times.add(t, r.container)
	return times
}

// checkTimes checks that each event has the time of its first line, to the millisecond.
func (r *parityRun) checkTimes(t *testing.T, got []cwlocal.Event, times lineTimes, stale []int) {
	t.Helper()
	for i, e := range got {
		if e.Timestamp < r.started.UnixMilli() || e.Timestamp > r.ended.UnixMilli() {
			t.Errorf("%s: event %d has the time %d, and the container ran from %d to %d", r.driver, i, e.Timestamp, r.started.UnixMilli(), r.ended.UnixMilli())
		}
		if times == nil {
			continue
		}
		first, _, _ := strings.Cut(e.Message, "\n")
		line, ok := times.next(first)
		if !ok {
			t.Errorf("%s: event %d begins with %.60q, which docker logs does not have", r.driver, i, first)
			return
		}
		at := line.UnixMilli()
		if slices.Contains(stale, i) {
			if e.Timestamp == at || e.Timestamp != got[i-1].Timestamp {
				t.Errorf("%s: event %d, %.60q, has its own time", r.driver, i, first)
			}
		} else if e.Timestamp != at {
			t.Errorf("%s: event %d, %.60q, has the time %d, and its first line %d", r.driver, i, first, e.Timestamp, at)
		}
	}
}

// refusal is a case of TestEventsAreThoseOfAwslogs in which the plugin refuses to start a
// container. awslogs refuses too, unless the page says that it does not.
type refusal struct {
	name         string
	opts         []string
	theirs, ours string // a part of the error; theirs empty: the container starts with awslogs
	shows        []row
}

func (p *parityEngine) refuse(t *testing.T, name string, c refusal) {
	opts := append([]string{"awslogs-endpoint=" + p.endpoint, "awslogs-group=refused", "awslogs-create-group=true"}, c.opts...)
	for i, r := range []struct{ driver, want string }{{"awslogs", c.theirs}, {p.plugin.name, c.ours}} {
		s := spec{engine: &p.engine, name: fmt.Sprintf("%s-%d", name, i), plain: true, docker: []string{"--log-driver", r.driver}, opts: opts}
		if r.want == "" {
			start(t, s).finish(t)
		} else if message := refused(t, s); !strings.Contains(message, r.want) {
			t.Errorf("%s says %q, want %q", r.driver, message, r.want)
		}
	}
}
