package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

const (
	// drainSize is how many bytes of lines, with their newlines, wait at the end of the outage.
	drainSize  = 1_000_000_000
	drainTurns = 3
	// drainConnections is how many connections the trivial client has. The plugin has as many
	// requests of one stream in flight.
	drainConnections = 4
)

// drain measures how fast a backlog of one container is sent after an outage, compared with a
// trivial client.
func (b *bench) drain(ctx context.Context) (rows []row, err error) {
	file := filepath.Join(b.dir, "lines")
	size := int64(drainSize*b.scale) / int64(len(line)) * int64(len(line))
	if err := writeLines(file, size); err != nil {
		return nil, err
	}
	defer os.Remove(file)
	for _, c := range []struct {
		name string
		gzip bool
	}{{"gzip", true}, {"plain", false}} {
		var runs []drained
		for turn := range cmp.Or(b.turns, drainTurns) {
			r, err := b.drainTurn(ctx, file, size, c.gzip)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(b.out, "drain, %s, turn %d: %v\n", c.name, turn+1, r)
			runs = append(runs, r)
		}
		rows = append(rows, drainRows(c.name, size, runs)...)
	}
	return rows, nil
}

// drained is one turn: how long the same lines took with each client.
type drained struct {
	plugin, trivial, prepared drainRun
	// wait is how long the plugin waited after the end of the outage, before a request was
	// accepted. It is a part of plugin.took.
	wait time.Duration
}

// drainRun is how long the lines took, and the processor time of the client and the stand-in.
type drainRun struct{ took, client, standIn time.Duration }

func (d drained) String() string {
	return fmt.Sprintf("plugin %v, of which it waited %.2f s; trivial client %v; prepared requests %v", d.plugin, d.wait.Seconds(), d.trivial, d.prepared)
}

func (r drainRun) String() string {
	return fmt.Sprintf("%.2f s (processor %.2f s, stand-in %.2f s)", r.took.Seconds(), r.client.Seconds(), r.standIn.Seconds())
}

func drainRows(name string, size int64, runs []drained) []row {
	var ratio, prepared, rate, cpu []float64
	for _, r := range runs {
		ratio = append(ratio, r.trivial.took.Seconds()/r.plugin.took.Seconds())
		prepared = append(prepared, r.prepared.took.Seconds()/r.plugin.took.Seconds())
		rate = append(rate, float64(size)/1e6/r.plugin.took.Seconds())
		cpu = append(cpu, r.plugin.client.Seconds()/r.trivial.client.Seconds())
	}
	what := fmt.Sprintf("draining a backlog of %.2g GB after an outage, %s", float64(size)/1e9, name)
	return []row{
		{what: what + ", bytes/s relative to a trivial client", got: spreadOf(ratio), unit: "×", limit: 0.8, atLeast: true, note: drainNote},
		{what: what + ", relative to requests that were prepared before", got: spreadOf(prepared), unit: "×"},
		{what: what, got: spreadOf(rate), unit: "MB/s"},
		{what: what + ", the plugin's CPU relative to the trivial client's", got: spreadOf(cpu), unit: "×"},
	}
}

const drainNote = "One container, lines of 100 bytes. The time is that from the end of the outage, during which each request was answered with 503, to the last line; " +
	"it has the wait of the plugin before it tries again. The trivial client reads the same lines from a file, escapes, compresses (with gzip), signs and posts them, " +
	"over 4 connections, as many as the plugin has for one stream. The stand-in is a process of its own, a new one for each run."

// drainTurn sends the lines with each client.
func (b *bench) drainTurn(ctx context.Context, file string, size int64, zipped bool) (d drained, err error) {
	if d.plugin, d.wait, err = b.drainPlugin(ctx, size, zipped); err != nil {
		return d, err
	}
	settings := trivialSettings{File: file, Size: size, Connections: drainConnections, Gzip: zipped}
	if d.trivial, err = b.drainTrivial(ctx, settings); err != nil {
		return d, err
	}
	settings.Prepared = true
	d.prepared, err = b.drainTrivial(ctx, settings)
	return d, err
}

func (b *bench) drainTrivial(ctx context.Context, settings trivialSettings) (r drainRun, err error) {
	service, err := b.startStandIn(ctx, standInSettings{Keep: cwlocal.KeepNone})
	if err != nil {
		return r, err
	}
	defer service.close()
	settings.URL = service.url
	var result trivialResult
	if err := b.outputOf(ctx, "trivial client", settings, &result); err != nil {
		return r, err
	}
	r.took, r.client = result.Took, result.CPU
	r.standIn, err = cpuOf(service.program)
	return r, err
}

// drainPlugin writes the lines to a container during an outage, and measures their delivery
// afterwards.
func (b *bench) drainPlugin(ctx context.Context, size int64, zipped bool) (r drainRun, waited time.Duration, err error) {
	service, err := b.startStandIn(ctx, standInSettings{Keep: cwlocal.KeepNone})
	if err != nil {
		return r, 0, err
	}
	defer service.close()
	env := []string{"SPOOL_MAX_SIZE=4g", "GZIP=off"}
	if zipped {
		env[1] = "GZIP=on"
	}
	h := &host{}
	defer h.close()
	if err := b.startHost(h, service.url, b.binary, env); err != nil {
		return r, 0, err
	}
	if err := h.startContainers(ctx, 1); err != nil {
		return r, 0, err
	}
	if err := service.fail(ctx, cwlocal.Fault{Kind: cwlocal.Unavailable}); err != nil {
		return r, 0, err
	}
	lines, err := load{lines: int(size) / len(line)}.write(ctx, h.containers)
	if err != nil {
		return r, 0, err
	}
	return h.deliver(ctx, service, lines)
}

// deliver ends the outage, and measures the delivery.
func (h *host) deliver(ctx context.Context, service *standIn, lines int) (r drainRun, waited time.Duration, err error) {
	client, err := h.cpu()
	if err != nil {
		return r, 0, err
	}
	standIn, err := cpuOf(service.program)
	if err != nil {
		return r, 0, err
	}
	begun := time.Now()
	if err := service.recover(ctx); err != nil {
		return r, 0, err
	}
	if err := service.waitEvents(ctx, "", 1); err != nil {
		return r, 0, err
	}
	waited = time.Since(begun)
	if err := service.waitEvents(ctx, "", int64(lines)); err != nil {
		return r, 0, fmt.Errorf("%w; the plugin's log ends with\n%s", err, h.plugin.Log.Tail(20))
	}
	r.took = time.Since(begun)
	after, err := h.cpu()
	if err != nil {
		return r, 0, err
	}
	r.client = after - client
	after, err = cpuOf(service.program)
	r.standIn = after - standIn
	return r, waited, err
}

// writeLines writes a file of lines.
func writeLines(name string, size int64) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	for range size / int64(len(line)) {
		if _, err := w.WriteString(line); err != nil {
			return err
		}
	}
	return w.Flush()
}
