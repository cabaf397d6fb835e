package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

// outageSpool is how many bytes of lines the measurement "memory" writes into an outage.
const outageSpool = 1_000_000_000

// memoryTurns is how often each situation is measured.
const memoryTurns = 3

// memory measures the plugin's memory: its peak since its start, with the pages of its binary.
func (b *bench) memory(ctx context.Context) ([]row, error) {
	small, many := b.count(10), b.count(1000)
	rows := []row{
		{what: fmt.Sprintf("memory with %d idle containers", small), limit: 30},
		{what: fmt.Sprintf("memory with %d containers, 10 lines/s each", many), limit: 96},
		{what: fmt.Sprintf("memory with one container that floods into an outage, until %.2g GB wait", outageSpool*b.scale/1e9), limit: 96,
			note: "All requests hang during the outage."},
		{what: "memory while this backlog is sent", limit: 96},
	}
	values := make([][]float64, len(rows))
	for turn := range cmp.Or(b.turns, memoryTurns) {
		for i, measure := range []func(context.Context) ([]int64, error){
			func(ctx context.Context) ([]int64, error) { return b.idleMemory(ctx, small) },
			func(ctx context.Context) ([]int64, error) { return b.loadMemory(ctx, many) },
			b.outageMemory,
		} {
			peaks, err := measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", rows[i].what, err)
			}
			for j, bytes := range peaks {
				mib := float64(bytes) / (1 << 20)
				fmt.Fprintf(b.out, "%s, turn %d: %.1f MiB\n", rows[i+j].what, turn+1, mib)
				values[i+j] = append(values[i+j], mib)
			}
		}
	}
	for i := range rows {
		rows[i].got, rows[i].unit = spreadOf(values[i]), "MiB"
	}
	return rows, nil
}

// idleMemory measures containers that have written a line each, and then nothing for a while.
func (b *bench) idleMemory(ctx context.Context, containers int) ([]int64, error) {
	return b.loadedMemory(ctx, load{containers: containers, length: 20 * time.Second})
}

func (b *bench) loadMemory(ctx context.Context, containers int) ([]int64, error) {
	return b.loadedMemory(ctx, load{containers: containers, rate: 10, length: 20 * time.Second})
}

// loadedMemory returns the peak with a load.
func (b *bench) loadedMemory(ctx context.Context, l load) ([]int64, error) {
	h, err := b.newHost(ctx, b.binary, false, l.containers, nil)
	if err != nil {
		return nil, err
	}
	defer h.close()
	if err := h.warmUp(ctx); err != nil {
		return nil, err
	}
	if _, err := h.run(ctx, l.scaled(b.scale)); err != nil {
		return nil, err
	}
	return []int64{h.peakMemory()}, nil
}

// outageMemory returns the peak of an outage in which one container floods, and the peak
// until everything is sent afterwards.
func (b *bench) outageMemory(ctx context.Context) ([]int64, error) {
	h, err := b.newHost(ctx, b.binary, false, 1, []string{"SPOOL_MAX_SIZE=2g"})
	if err != nil {
		return nil, err
	}
	defer h.close()
	if err := h.warmUp(ctx); err != nil {
		return nil, err
	}
	outage := h.service.AddFault(cwlocal.Fault{Kind: cwlocal.Hang})
	lines, err := load{lines: int(outageSpool * b.scale / lineSize)}.write(ctx, h.containers)
	if err != nil {
		return nil, err
	}
	during := h.peakMemory()
	h.service.ClearFault(outage)
	if err := h.delivered.wait(ctx, len(h.containers)+lines, h.plugin); err != nil {
		return nil, err
	}
	return []int64{during, h.peakMemory()}, nil
}

// peakMemory returns the most resident memory that the plugin has had, in bytes
// (proc_pid_status(5), VmHWM).
func (h *host) peakMemory() (bytes int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.plugin.PID()))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(rest, &bytes)
	return bytes << 10
}

// count returns a number of containers, multiplied by the factor of the flag -scale.
func (b *bench) count(containers int) int { return max(2, int(float64(containers)*b.scale)) }
