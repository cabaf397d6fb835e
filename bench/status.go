package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxStatusCost is how much more processor time a plugin under full load may need when its
// status is read every second.
const maxStatusCost = 1.03

// statusLoads are the loads of the measurement "status". Under full load, the processor time
// of a line differs from run to run by a tenth, so there are many runs.
func statusLoads() []load {
	full := []string{"DELAY=500ms", "SPOOL_MAX_SIZE=2g"} // nothing is dropped
	return []load{
		{name: "1 container, as fast as it can", containers: 1, lines: 1_000_000, env: full, turns: 25},
		{name: "100 containers, as fast as they can", containers: 100, lines: 1_000_000, env: full, turns: 25},
		{name: "1,000 containers, 10 lines/s each", containers: 1000, rate: 10, length: 15 * time.Second, turns: 3},
		{name: "1,000 idle containers", containers: 1000, length: time.Minute, turns: 2},
	}
}

// variant is one of the things that the measurement compares.
type variant struct {
	name   string
	binary string
	read   bool // read says that the status is served at STATUS_ADDR, and is read every second.
}

const (
	notRead   = "not read"
	readOften = "read every second"
	baseline  = "baseline"
)

func (b *bench) statusVariants() []variant {
	v := []variant{{notRead, b.binary, false}, {readOften, b.binary, true}}
	if b.base != "" {
		v = append(v, variant{baseline, b.base, false})
	}
	return v
}

// status measures the plugin with each load while nobody reads its status, and while somebody
// reads it every second.
func (b *bench) status(ctx context.Context) (table string, err error) {
	head := []string{"lines of 100 bytes", "status not read", "read every second", "ratio"}
	if b.base != "" {
		head = append(head, "baseline", "not read, to baseline")
	}
	table = tableRow(head) + tableRow(slices.Repeat([]string{"---"}, len(head)))
	for _, l := range statusLoads() {
		if !b.only.MatchString(l.name) {
			continue
		}
		runs, failed := b.inTurns(ctx, l.scaled(b.scale))
		if failed != nil {
			return "", fmt.Errorf("%s: %w", l.name, failed)
		}
		ratio := ratios(runs[readOften], runs[notRead])
		cells := []string{l.name, figure(runs[notRead]), figure(runs[readOften]), ratio.String()}
		if b.base != "" {
			cells = append(cells, figure(runs[baseline]), ratios(runs[notRead], runs[baseline]).String())
		}
		table += tableRow(cells)
		// Without full load, reading the status is much of the load.
		if l.lines > 0 && ratio.median >= maxStatusCost {
			err = fmt.Errorf("%w: with %s, the ratio must be less than %v", errLimit, l.name, maxStatusCost)
		}
	}
	return table, err
}

// inTurns measures the load with each variant in turns, and returns the results by the name of
// the variant. Each turn begins with another variant.
func (b *bench) inTurns(ctx context.Context, l load) (map[string][]result, error) {
	runs, variants := map[string][]result{}, b.statusVariants()
	for turn := range cmp.Or(b.turns, l.turns) {
		for i := range variants {
			v := variants[(turn+i)%len(variants)]
			r, err := b.measure(ctx, l, v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.name, err)
			}
			fmt.Fprintf(b.out, "%s, %s, turn %d: %v\n", l.name, v.name, turn+1, r)
			runs[v.name] = append(runs[v.name], r)
		}
	}
	return runs, nil
}

// result is one run.
type result struct {
	lines  int
	cpu    time.Duration // cpu is the plugin's processor time, from the first line to the delivery of the last one.
	took   time.Duration
	memory int64 // memory is the resident memory after the run, in bytes.
	reads  int   // reads is how often the status was read.
	paced  bool  // paced says that the length of the run was fixed, and not the number of lines.
}

// measure measures one run.
func (b *bench) measure(ctx context.Context, l load, v variant) (r result, err error) {
	h, err := b.newHost(ctx, v.binary, v.read, l.containers, slices.Clone(l.env))
	if err != nil {
		return r, err
	}
	defer h.close()
	if err := h.warmUp(ctx); err != nil {
		return r, err
	}
	stop := func() (int, error) { return 0, nil }
	if v.read {
		reader := h.newReader()
		if err := reader.read(ctx); err != nil { // the first time costs more
			return r, err
		}
		reader.start(ctx)
		stop = reader.stop
	}
	prefix := b.profile
	if v.binary != b.binary {
		prefix = ""
	}
	profiled := h.startProfile(ctx, prefix, strings.ReplaceAll(v.name, " ", "-"), max(l.length, 5*time.Second))
	r, err = h.run(ctx, l)
	reads, failed := stop()
	r.reads = reads
	return r, errors.Join(err, failed, profiled())
}

// run writes the load, and waits until it is delivered.
func (h *host) run(ctx context.Context, l load) (r result, err error) {
	before, err := h.cpu()
	if err != nil {
		return r, err
	}
	begun := time.Now()
	if r.lines, err = l.write(ctx, h.containers); err == nil {
		err = h.delivered.wait(ctx, len(h.containers)+r.lines, h.plugin)
	}
	if err != nil {
		return r, err
	}
	r.took, r.paced, r.memory = time.Since(begun), l.lines == 0, h.memory()
	after, err := h.cpu()
	r.cpu = after - before
	return r, err
}

// cost returns what is compared: the processor time for a line, or in a second.
func (r result) cost() float64 {
	if r.paced {
		return r.cpu.Seconds() / r.took.Seconds()
	}
	return r.cpu.Seconds() / float64(r.lines)
}

func (r result) String() string {
	return fmt.Sprintf("%d lines in %.2f s, processor %.3f s, memory %d MiB, status read %d times",
		r.lines, r.took.Seconds(), r.cpu.Seconds(), r.memory>>20, r.reads)
}

// figure returns the median cost of the runs for the table.
func figure(runs []result) string {
	costs := make([]float64, len(runs))
	for i, r := range runs {
		costs[i] = r.cost()
	}
	m := spreadOf(costs).median
	if runs[0].paced {
		return fmt.Sprintf("%.2f %% of a processor", 100*m)
	}
	return fmt.Sprintf("%.2f s per million lines", 1e6*m)
}
