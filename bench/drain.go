package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

const (
	// drainSize is how many bytes of lines, with their newlines, wait at the end of the outage.
	drainSize  = 1_000_000_000
	lineBytes  = lineSize + 1
	drainTurns = 3
	// drainConnections is how many connections the trivial client has. The plugin has as many
	// requests of one stream in flight.
	drainConnections = 4
)

// drain measures how fast a backlog of one container is sent after an outage, compared with a
// trivial client.
func (b *bench) drain(ctx context.Context) (rows []row, err error) {
	file := filepath.Join(b.dir, "lines")
	lines := int(drainSize * b.scale / lineBytes)
	if err := writeLines(file, lines); err != nil {
		return nil, err
	}
	defer os.Remove(file)
	for _, c := range []struct {
		name string
		gzip bool
	}{{"gzip", true}, {"plain", false}} {
		var runs []drained
		for turn := range cmp.Or(b.turns, drainTurns) {
			r, err := b.drainTurn(ctx, file, lines, c.gzip)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(b.out, "drain, %s, turn %d: %v\n", c.name, turn+1, r)
			runs = append(runs, r)
		}
		more := drainRows(c.name, lines*lineBytes, runs)
		for i := range more {
			if len(rows) > 0 {
				more[i].note = "" // it is the same as before
			}
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// drained is one turn: how long the same lines took with each client.
type drained struct {
	plugin, prepared, fromFile drainRun
	// wait is how long the plugin waited after the end of the outage, until a request was
	// accepted. It is no part of plugin.took.
	wait time.Duration
}

// drainRun is how long the lines took, and the processor time of the client and the stand-in.
type drainRun struct{ took, client, standIn time.Duration }

func (d drained) String() string {
	return fmt.Sprintf("plugin %v after a wait of %.2f s; prepared requests %v; lines from a file %v", d.plugin, d.wait.Seconds(), d.prepared, d.fromFile)
}

func (r drainRun) String() string {
	return fmt.Sprintf("%.2f s (processor %.2f s, stand-in %.2f s)", r.took.Seconds(), r.client.Seconds(), r.standIn.Seconds())
}

// drainRows returns the rows of the turns with one encoding. Only the first of them has a
// target.
func drainRows(encoding string, size int, runs []drained) []row {
	what := fmt.Sprintf("draining a backlog of %.2g GB after an outage, %s", float64(size)/1e9, encoding)
	r := []row{
		{what: what + ": rate relative to a trivial client", unit: "×", limit: 0.8, atLeast: true, note: drainNote},
		{what: what + ": relative to a client that reads the lines from a file", unit: "×", note: fromFileNote},
		{what: what + ": relative to the trivial client, by processor time", unit: "×", note: byCPUNote},
		{what: what + ": MB/s", unit: "MB/s"},
		{what: what + ": the wait before the first request is accepted", unit: "s"},
	}
	values := make([][]float64, len(r))
	for _, d := range runs {
		for i, v := range []float64{
			d.prepared.took.Seconds() / d.plugin.took.Seconds(),
			d.fromFile.took.Seconds() / d.plugin.took.Seconds(),
			(d.prepared.client + d.prepared.standIn).Seconds() / (d.plugin.client + d.plugin.standIn).Seconds(),
			float64(size) / 1e6 / d.plugin.took.Seconds(),
			d.wait.Seconds(),
		} {
			values[i] = append(values[i], v)
		}
	}
	for i := range r {
		r[i].got = spreadOf(values[i])
	}
	return r
}

const (
	drainNote = "One container, lines of 100 bytes, from the first accepted batch after the outage to the last line. During the outage, each request is answered with 503. " +
		"The trivial client sends requests that it has built before: each of its 4 connections, as many as the plugin has for one stream, posts one signed batch again and again. " +
		"That is all that the stand-in accepts on this machine. The stand-in is a process of its own, on the same cores, and a new one for each run."
	fromFileNote = "This client reads the same lines from a file, escapes, compresses (with gzip), signs and posts them over 4 connections. It does nothing for order or against loss."
	byCPUNote    = "The processor time of client and stand-in for the trivial client, divided by that of plugin and stand-in. If all cores are busy, the rates have this ratio. Other load on the machine changes it little."
)

// drainTurn sends the lines with each client.
func (b *bench) drainTurn(ctx context.Context, file string, lines int, zipped bool) (d drained, err error) {
	if d.plugin, d.wait, err = b.drainPlugin(ctx, lines, zipped); err != nil {
		return d, err
	}
	settings := trivialSettings{File: file, Lines: lines, Connections: drainConnections, Gzip: zipped}
	if d.fromFile, err = b.drainTrivial(ctx, settings); err != nil {
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
	r.standIn, err = processorTime(service.program.PID())
	return r, err
}

// drainPlugin writes the lines to a container during an outage, and measures their delivery
// afterwards.
func (b *bench) drainPlugin(ctx context.Context, lines int, zipped bool) (r drainRun, waited time.Duration, err error) {
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
	if err := writeText(ctx, h.containers[0], lineSize, lines); err != nil {
		return r, 0, err
	}
	profiled := h.startProfile(ctx, b.profile, "drain-"+env[1], b.time(10*time.Second))
	r, waited, err = h.deliver(ctx, service, lines)
	return r, waited, errors.Join(err, profiled())
}

// deliver ends the outage, and measures the delivery.
func (h *host) deliver(ctx context.Context, service *standIn, lines int) (r drainRun, waited time.Duration, err error) {
	client, err := h.cpu()
	if err != nil {
		return r, 0, err
	}
	standIn, err := processorTime(service.program.PID())
	if err != nil {
		return r, 0, err
	}
	ended := time.Now()
	if err := service.recover(ctx); err != nil {
		return r, 0, err
	}
	if err := service.waitEvents(ctx, "", 1); err != nil {
		return r, 0, fmt.Errorf("%w; the plugin's log ends with\n%s", err, h.plugin.Log.Tail(20))
	}
	first := time.Now()
	if err := service.waitEvents(ctx, "", int64(lines)); err != nil {
		return r, 0, fmt.Errorf("%w; the plugin's log ends with\n%s", err, h.plugin.Log.Tail(20))
	}
	r.took = time.Since(first)
	after, err := h.cpu()
	if err != nil {
		return r, 0, err
	}
	r.client = after - client
	after, err = processorTime(service.program.PID())
	r.standIn = after - standIn
	return r, first.Sub(ended), err
}

// writeLines writes a file of lines.
func writeLines(name string, lines int) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	text := logLines(lineSize)
	for i := range lines {
		if _, err := w.WriteString(text[i%len(text)]); err != nil {
			return err
		}
	}
	return w.Flush()
}
