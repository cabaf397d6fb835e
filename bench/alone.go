package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/logspool/logspool/internal/dockertest"
)

// aloneTurns is how often the plugin and the yardstick are measured.
const aloneTurns = 5

// aloneCase is a comparison of the plugin with the yardstick.
type aloneCase struct {
	size, lines   int
	gzip          string // gzip is the value of GZIP.
	limit, beyond float64
}

// alone compares the processor time of the plugin with that of the yardstick. It needs no
// engine: a simulated dockerd writes the frames. With an engine, floods has these rows.
func (b *bench) alone(ctx context.Context) (rows []row, err error) {
	if b.noEngine() == "" && b.only.String() == "" {
		return nil, nil
	}
	if b.yardstick == "" {
		return nil, errors.New("the flag -yardstick is missing")
	}
	for _, c := range []aloneCase{
		{lineSize, 1_000_000, "off", 0.75, 0.6},
		{lineSize, 1_000_000, "on", 0.9, 0.75},
		{1000, 300_000, "off", 0.5, 0.4},
		{1000, 300_000, "on", 0.5, 0.4},
	} {
		what := fmt.Sprintf("CPU of the plugin alone, %d-byte lines, %s, relative to the yardstick", c.size, map[string]string{"on": "gzip", "off": "plain"}[c.gzip])
		ours, theirs, err := b.aloneTurns(ctx, c)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", what, err)
		}
		rows = append(rows, row{what: what, unit: "×", limit: c.limit, beyond: c.beyond, got: ratios(ours, theirs)})
	}
	return rows, nil
}

func (b *bench) aloneTurns(ctx context.Context, c aloneCase) (ours, theirs []result, err error) {
	for turn := range cmp.Or(b.turns, aloneTurns) {
		order := []string{b.binary, b.yardstick}
		if turn%2 == 1 {
			slices.Reverse(order)
		}
		for _, binary := range order {
			r, err := b.aloneRun(ctx, binary, c)
			if err != nil {
				return nil, nil, err
			}
			name, list := logspool, &ours
			if binary == b.yardstick {
				name, list = yardstick, &theirs
			}
			*list = append(*list, r)
			fmt.Fprintf(b.out, "%s alone, %d-byte lines, gzip %s, turn %d: processor %.1f s/GB\n",
				name, c.size, c.gzip, turn+1, r.cpu.Seconds()*1e9/float64(r.lines)/float64(c.size))
		}
	}
	return ours, theirs, nil
}

// aloneRun lets one container write its lines.
func (b *bench) aloneRun(ctx context.Context, binary string, c aloneCase) (r result, err error) {
	h, err := b.newHost(ctx, binary, false, 1, []string{"GZIP=" + c.gzip, "SPOOL_MAX_SIZE=2g"})
	if err != nil {
		return r, err
	}
	defer h.close()
	before, err := h.cpu()
	if err != nil {
		return r, err
	}
	prefix := b.profile
	if binary == b.yardstick { // it has no status socket
		prefix = ""
	}
	profiled := h.startProfile(ctx, prefix, fmt.Sprintf("alone-%d-%s", c.size, c.gzip), b.time(2*time.Second))
	r.lines = int(float64(c.lines) * b.scale)
	if err := writeText(ctx, h.containers[0], c.size, r.lines); err != nil {
		return r, err
	}
	// The container ends, so that the rest is delivered at once.
	if err := h.containers[0].Stop(ctx); err != nil {
		return r, err
	}
	if err := h.delivered.wait(ctx, r.lines, h.plugin); err != nil {
		return r, err
	}
	after, err := h.cpu()
	r.cpu = after - before
	return r, errors.Join(err, profiled())
}

// writeText writes lines like those of services, as fast as the plugin takes them.
func writeText(ctx context.Context, c *dockertest.Container, size, lines int) error {
	text := logLines(size)
	stop := context.AfterFunc(ctx, c.Kill) // a write may be blocked
	defer stop()
	for i := range lines {
		if err := c.Write(dockertest.Stdout, text[i%len(text)]); err != nil {
			return err
		}
	}
	return nil
}
