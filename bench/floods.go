package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// floodTurns is how often each driver is measured.
const floodTurns = 5

// floods measures one container that writes as fast as it can, with a real Docker engine and
// one driver after the other.
func (b *bench) floods(ctx context.Context) (rows []row, err error) {
	names := []string{awslogsDefault, logspool, awslogsNoCache, discarding, jsonFile, logspool + atLatency, localDriver,
		logspoolPlain, yardstick, awslogsDefault + atLatency, yardstickGzip}
	l, drivers, err := b.newLab(ctx, names)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	short, err := b.engineTurns(ctx, l, drivers, flood{containers: 1, lines: int(1_000_000 * b.scale), size: lineSize}, floodTurns)
	if err != nil {
		return nil, err
	}
	rows = floodRows(l.version, short)
	b.tables = append(b.tables, costTable(short))
	alone := slices.DeleteFunc(slices.Clone(drivers), func(d *driver) bool { return d.latency > 0 || d.local || d.plugin == "" })
	long, err := b.engineTurns(ctx, l, alone, flood{containers: 1, lines: int(300_000 * b.scale), size: longLine}, floodTurns)
	if err != nil {
		return rows, err
	}
	b.tables = append(b.tables, costTable(long))
	return append(rows, aloneRows(short, long)...), nil
}

// longLine is the length of the lines of a service whose lines are long.
const longLine = 1000

// engineTurns measures drivers in turns, and returns the results by the name of the driver. Each
// turn begins with another driver.
func (b *bench) engineTurns(ctx context.Context, l *lab, drivers []*driver, f flood, turns int) (map[string][]use, error) {
	uses := map[string][]use{}
	for turn := range cmp.Or(b.turns, turns) {
		for i := range drivers {
			d := drivers[(turn+i)%len(drivers)]
			if d.seldom && turn%2 == 1 {
				continue
			}
			u, err := l.run(ctx, d, f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.name, err)
			}
			fmt.Fprintf(b.out, "%s, turn %d: %v\n", d.name, turn+1, u)
			uses[d.name] = append(uses[d.name], u)
		}
	}
	return uses, nil
}

// useSpread returns the distribution of a figure of a driver.
func useSpread(of func(use) float64, uses []use) spread {
	all := make([]float64, len(uses))
	for i, u := range uses {
		all[i] = of(u)
	}
	return spreadOf(all)
}

// useRatio compares two drivers, turn by turn.
func useRatio(of func(use) float64, a, to []use) spread {
	all := make([]float64, len(a))
	for i := range all {
		all[i] = of(a[i]) / of(to[i])
	}
	return spreadOf(all)
}

// aloneRows compares the plugin's own processor time with the yardstick's.
func aloneRows(short, long map[string][]use) (rows []row) {
	own := func(u use) float64 { return u.plugin.Seconds() / u.gb() }
	for _, r := range []struct {
		what          string
		uses          map[string][]use
		ours, theirs  string
		limit, beyond float64
	}{
		{"100-byte lines, plain", short, logspoolPlain, yardstick, 0.75, 0.6},
		{"100-byte lines, gzip", short, logspool, yardstickGzip, 0.9, 0.75},
		{"1,000-byte lines, plain", long, logspoolPlain, yardstick, 0.5, 0.4},
		{"1,000-byte lines, gzip", long, logspool, yardstickGzip, 0.5, 0.4},
	} {
		rows = append(rows, row{what: "CPU of the plugin alone, " + r.what + ", relative to the yardstick", unit: "×", limit: r.limit, beyond: r.beyond,
			got: useRatio(own, r.uses[r.ours], r.uses[r.theirs])})
	}
	return rows
}

func floodRows(version string, uses map[string][]use) []row {
	ratio := func(of func(use) float64, a, to string) spread { return useRatio(of, uses[a], uses[to]) }
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

// costOrder is the order of the drivers in the tables of their costs.
var costOrder = []string{logspool, logspoolPlain, logspool + atLatency, awslogsDefault, awslogsNoCache, awslogsDefault + atLatency,
	jsonFile, localDriver, yardstick, yardstickGzip, discarding}

// costTable returns what each driver costs.
func costTable(uses map[string][]use) string {
	var b strings.Builder
	for _, name := range costOrder {
		if uses[name] == nil {
			continue
		}
		if b.Len() == 0 {
			f := uses[name][0].flood
			fmt.Fprintf(&b, "One container, %s lines of %s bytes, as fast as it can:\n\n", thousands(f.lines), thousands(f.size))
			b.WriteString("| driver | dockerd, CPU s/GB | plugin, CPU s/GB | lines/s accepted |\n|---|---|---|---|\n")
		}
		figure := func(of func(use) float64) string {
			s := useSpread(of, uses[name])
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
