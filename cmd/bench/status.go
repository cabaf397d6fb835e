package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxStatusCost is how much more processor time a plugin under load may need when its status
// is read every second.
const maxStatusCost = 1.03

// statusLoads are the loads of the measurement "status".
func statusLoads() []load {
	flood := []string{"DELAY=500ms", "SPOOL_MAX_SIZE=2g"} // nothing is dropped
	return []load{
		{name: "1 container, as fast as it can", containers: 1, lines: 3_000_000, env: flood},
		{name: "100 containers, as fast as they can", containers: 100, lines: 3_000_000, env: flood},
		{name: "1,000 containers, 10 lines/s each", containers: 1000, rate: 10, length: 15 * time.Second},
		{name: "1,000 idle containers", containers: 1000, length: 30 * time.Second},
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
	var text strings.Builder
	head := []string{"100-byte lines", "status not read", "read every second", "ratio"}
	if b.base != "" {
		head = append(head, "baseline", "status not read, to baseline")
	}
	text.WriteString(row(head) + row(slices.Repeat([]string{"---"}, len(head))))
	for _, l := range statusLoads() {
		if !b.only.MatchString(l.name) {
			continue
		}
		runs, err := b.inTurns(ctx, l.scaled(b.scale))
		if err != nil {
			return "", fmt.Errorf("%s: %w", l.name, err)
		}
		ratio := ratios(runs[readOften], runs[notRead])
		cells := []string{l.name, figure(runs[notRead]), figure(runs[readOften]), ratio.String()}
		if b.base != "" {
			cells = append(cells, figure(runs[baseline]), ratios(runs[notRead], runs[baseline]).String())
		}
		text.WriteString(row(cells))
		// Without much else to do, reading the status is the load.
		if l.lines > 0 && ratio.median >= maxStatusCost {
			fmt.Fprintf(b.out, "%s: the ratio must be less than %v\n", l.name, maxStatusCost)
			err = errLimit
		}
	}
	return text.String(), err
}

// inTurns measures the load with each variant, b.pairs times in turns, and returns the results
// by the name of the variant. Each turn begins with another variant.
func (b *bench) inTurns(ctx context.Context, l load) (map[string][]result, error) {
	runs, variants := map[string][]result{}, b.statusVariants()
	for turn := range b.pairs {
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
	before, err := h.cpu()
	if err != nil {
		return r, err
	}
	begun, r := time.Now(), result{paced: l.lines == 0}
	var reader *statusReader
	if v.read {
		reader = startReader(ctx, h)
	}
	profiled := func() error { return nil }
	if b.profile != "" && v.binary == b.binary {
		profiled = h.startProfile(ctx, b.profile+"-"+strings.ReplaceAll(v.name, " ", "-"), max(l.length, 5*time.Second))
	}
	if r.lines, err = l.write(ctx, h.containers); err == nil {
		err = h.delivered.wait(ctx, len(h.containers)+r.lines, h.plugin)
	}
	r.took = time.Since(begun)
	if err = errors.Join(err, profiled()); err != nil {
		return r, err
	}
	if reader != nil {
		if r.reads, err = reader.stop(); err != nil {
			return r, err
		}
	}
	after, err := h.cpu()
	r.cpu, r.memory = after-before, h.memory()
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
	memory := int64(0)
	for i, r := range runs {
		costs[i], memory = r.cost(), max(memory, r.memory)
	}
	m := spreadOf(costs).median
	if runs[0].paced {
		return fmt.Sprintf("%.2f %% of a processor", 100*m)
	}
	return fmt.Sprintf("%.3f s per million", 1e6*m)
}
