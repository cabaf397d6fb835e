package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// The sizes of the measurement neighbours.
const (
	neighbourCount = 10
	quietLines     = 30
	quietDelay     = time.Second
	neighbourLead  = 5 * time.Second // neighbourLead is how long the neighbours flood before the first quiet line.
	quietBetween   = time.Second
	neighbourTurns = 2
	// bottleneck is how many bytes of bodies, before compression, the service takes in a second
	// when it is the bottleneck.
	bottleneck = 5_000_000
)

// situation is what the service does while the neighbours flood.
type situation struct {
	name  string
	fault *cwlocal.Fault // fault is nil if there is none.
	note  string
}

// situations returns the situations, for a host whose containers are named as startSharing
// does. The first container is the quiet one.
func situations() []situation {
	return []situation{
		{"a fast service", nil, "One container writes a line a second, with DELAY=1, and ten others write as fast as they can, each to its own stream. " +
			"The time is that from the write of the line to its acceptance, by the clock of the machine, for 30 lines a turn after 5 s of flood. " +
			"The worst line is the worst of a turn. Lines of the neighbours that do not fit into their spools are dropped. The stand-in is a process of its own on the same cores."},
		{"the service is the bottleneck", &cwlocal.Fault{Kind: cwlocal.Bottleneck, Operation: "PutLogEvents", Limit: bottleneck},
			"The stand-in serves one request after the other, in the order of their arrival, 5 MB of bodies a second before compression. " +
				"Each full batch takes a quarter of a second, and each request that is in flight delays the next one."},
		{"a neighbour's stream is throttled", &cwlocal.Fault{Kind: cwlocal.Throttle, Operation: "PutLogEvents", Stream: containerName(1)},
			"Each request for one of the ten streams is answered with ThrottlingException."},
	}
}

// neighbours measures how long a quiet container's lines take to CloudWatch while others flood.
func (b *bench) neighbours(ctx context.Context) (rows []row, err error) {
	for _, s := range situations() {
		var all, worst []float64
		for turn := range cmp.Or(b.turns, neighbourTurns) {
			took, err := b.besideFloods(ctx, s.fault)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", s.name, err)
			}
			all, worst = append(all, took...), append(worst, slices.Max(took))
			fmt.Fprintf(b.out, "neighbours, %s, turn %d: median %.2f s, worst %.2f s of %d lines\n",
				s.name, turn+1, spreadOf(took).median, slices.Max(took), len(took))
		}
		what := fmt.Sprintf("a quiet container's line while %d neighbours flood, DELAY %g, ", neighbourCount, quietDelay.Seconds()) + s.name
		rows = append(rows,
			row{what: what + ": median", got: spreadOf(all), unit: "s", limit: quietDelay.Seconds() + 0.5, note: s.note},
			row{what: what + ": worst", got: spreadOf(worst), unit: "s", limit: quietDelay.Seconds() + 2})
	}
	return rows, nil
}

// besideFloods returns how long each line of the quiet container took, in seconds.
func (b *bench) besideFloods(ctx context.Context, fault *cwlocal.Fault) (took []float64, err error) {
	service, err := b.startStandIn(ctx, standInSettings{Keep: 10 * quietLines})
	if err != nil {
		return nil, err
	}
	defer service.close()
	h := &host{}
	defer h.close()
	if err := b.startHost(h, service.url, b.binary, []string{"DELAY=" + quietDelay.String()}); err != nil {
		return nil, err
	}
	if err := h.startSharing(ctx, 1+neighbourCount, 0); err != nil {
		return nil, err
	}
	for _, c := range h.containers { // so that all streams exist
		if err := c.Write(dockertest.Stdout, line); err != nil {
			return nil, err
		}
	}
	if err := service.waitEvents(ctx, "", int64(len(h.containers))); err != nil {
		return nil, err
	}
	if fault != nil {
		if err := service.fail(ctx, *fault); err != nil {
			return nil, err
		}
	}
	flood := startFlooding(ctx, h.containers[1:])
	lines, err := b.writeQuietly(ctx, h.containers[0])
	if err == nil {
		err = service.waitEvents(ctx, containerName(0), 1+int64(lines))
	}
	if err := errors.Join(err, flood.stop()); err != nil {
		return nil, err
	}
	events, err := service.events(ctx, containerName(0))
	if err != nil {
		return nil, err
	}
	if len(events) != 1+lines {
		return nil, fmt.Errorf("the quiet container's stream has %d events, and not %d", len(events), 1+lines)
	}
	for _, e := range events[1:] { // without the one that has made the stream
		took = append(took, float64(e.Ingested-e.Timestamp)/1e3)
	}
	return took, nil
}

// writeQuietly writes a line a second, when the flood has begun.
func (b *bench) writeQuietly(ctx context.Context, c *dockertest.Container) (lines int, err error) {
	if err := sleep(ctx, b.time(neighbourLead)); err != nil {
		return 0, err
	}
	tick := time.NewTicker(quietBetween)
	defer tick.Stop()
	for n := max(2, int(quietLines*b.scale)); ; {
		if err := c.Write(dockertest.Stdout, line); err != nil {
			return lines, err
		}
		if lines++; lines == n {
			return lines, nil
		}
		select {
		case <-ctx.Done():
			return lines, ctx.Err()
		case <-tick.C:
		}
	}
}

// flooding is containers that write as fast as they can.
type flooding struct {
	cancel context.CancelFunc
	done   chan error
}

func startFlooding(ctx context.Context, containers []*dockertest.Container) *flooding {
	ctx, cancel := context.WithCancel(ctx)
	f := &flooding{cancel, make(chan error, 1)}
	const endless = 1 << 40
	var g errgroup.Group
	for _, c := range containers {
		g.Go(func() error { return writeText(ctx, c, lineSize, endless) })
	}
	go func() { f.done <- g.Wait() }()
	return f
}

// stop ends the flood, and the logs of its containers, whose writes may be blocked. It fails if
// the flood has ended before.
func (f *flooding) stop() error {
	select {
	case err := <-f.done:
		return fmt.Errorf("the neighbours flood no longer: %w", err)
	default:
	}
	f.cancel()
	<-f.done
	return nil
}
