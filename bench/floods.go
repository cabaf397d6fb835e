package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// floodTurns is how often each driver is measured.
const floodTurns = 5

// floods measures one container that writes as fast as it can, with a real Docker engine and
// one driver after the other.
func (b *bench) floods(ctx context.Context) ([]row, error) {
	names := []string{awslogsDefault, logspool, awslogsNoCache, discarding, jsonFile, logspool + atLatency, localDriver,
		logspoolPlain, yardstick, awslogsDefault + atLatency, yardstickGzip}
	drivers, err := b.drivers(names...)
	if err != nil {
		return nil, err
	}
	l, err := b.newLab(ctx, drivers)
	if err != nil {
		return nil, err
	}
	defer func() { err = b.keep(err, l.close()) }()
	uses := map[string][]use{}
	f := flood{containers: 1, lines: int(1_000_000 * b.scale), size: lineSize}
	for turn := range cmp.Or(b.turns, floodTurns) {
		for i := range drivers {
			d := drivers[(turn+i)%len(drivers)]
			u, err := l.run(ctx, d, f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.name, err)
			}
			fmt.Fprintf(b.out, "%s, turn %d: %v\n", d.name, turn+1, u)
			uses[d.name] = append(uses[d.name], u)
		}
	}
	b.tables = append(b.tables, costTable(names, uses))
	return floodRows(l.version, uses), nil
}

// keep returns the error of a measurement; the one of its end only if there is no other.
func (b *bench) keep(err, ending error) error { return cmp.Or(err, ending) }

func floodRows(version string, uses map[string][]use) []row {
	ratio := func(of func(use) float64, a, to string) spread {
		all := make([]float64, len(uses[a]))
		for i := range all {
			all[i] = of(uses[a][i]) / of(uses[to][i])
		}
		return spreadOf(all)
	}
	// dockerd's own share of the work, and therefore what can be reached, depends on its
	// version.
	limit, beyond := 0.55, 0.5
	if strings.HasPrefix(version, "20.10") {
		limit, beyond = 0.45, 0.42
	}
	return []row{
		{what: "CPU of dockerd and the plugin, relative to awslogs", unit: "×", limit: limit, beyond: beyond, got: ratio(use.cost, logspool, awslogsDefault)},
		{what: "CPU of dockerd and the plugin, relative to awslogs without its cache", unit: "×", limit: 1.2, beyond: 1.05,
			got: ratio(use.cost, logspool, awslogsNoCache), note: "awslogs then has no `docker logs`, and logspool has."},
		{what: "lines/s accepted, relative to awslogs", unit: "×", limit: 1.7, atLeast: true, got: ratio(use.rate, logspool, awslogsDefault)},
		{what: "lines/s accepted, relative to a plugin that discards", unit: "×", limit: 0.95, atLeast: true, got: ratio(use.rate, logspool, discarding)},
		{what: "lines/s accepted at 30 ms per request, relative to 0 ms", unit: "×", limit: 0.95, atLeast: true, got: ratio(use.rate, logspool+atLatency, logspool)},
	}
}

// costTable returns what each driver costs.
func costTable(names []string, uses map[string][]use) string {
	var b strings.Builder
	b.WriteString("| driver | dockerd, CPU s/GB | plugin, CPU s/GB | lines/s accepted |\n|---|---|---|---|\n")
	for _, name := range names {
		figure := func(of func(use) float64) string {
			var all []float64
			for _, u := range uses[name] {
				all = append(all, of(u))
			}
			s := spreadOf(all)
			if s.upper == 0 {
				return "–"
			}
			return s.in("")
		}
		b.WriteString(tableRow([]string{name,
			figure(func(u use) float64 { return u.dockerd.Seconds() / u.gb() }),
			figure(func(u use) float64 { return u.plugin.Seconds() / u.gb() }),
			figure(use.rate)}))
	}
	return b.String()
}
