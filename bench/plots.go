package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/logspool/logspool/internal/plot"
)

// charts are the two charts of what the drivers cost and accept: by line size, or by number of
// containers.
type charts struct {
	name, title, xLabel string
	floods              []flood
	x                   func(flood) float64
	drivers             []string
	turns               int
}

// plotBytes is how many bytes a container writes in the charts by line size, unless that were
// more than plotMaxLines.
const (
	plotBytes    = 64e6
	plotMaxLines = 400_000
)

// plotLines is how many lines all containers write in the charts by number of containers. Each
// of them writes at least plotMinLines, which is more than pipes hold.
const (
	plotLines    = 1_000_000
	plotMinLines = 2000
)

// fewContainers is the number of containers up to which a flood is measured in turns. More of
// them take too long to start.
const fewContainers = 30

func (b *bench) allCharts() []charts {
	size := charts{name: "size", title: "one container, as fast as it can", xLabel: "bytes per line", turns: 3,
		x:       func(f flood) float64 { return float64(f.size) },
		drivers: []string{awslogsDefault, awslogsNoCache, logspool, yardstickGzip}}
	for _, n := range []int{20, 50, 100, 300, 1000, 4096, 16384, 65536} {
		size.floods = append(size.floods, flood{containers: 1, size: n, lines: int(b.scale * min(plotMaxLines, plotBytes/float64(n)))})
	}
	number := charts{name: "containers", title: "lines of 100 bytes, as fast as possible", xLabel: "containers", turns: 3,
		x:       func(f flood) float64 { return float64(f.containers) },
		drivers: []string{awslogsDefault, awslogsNoCache, logspool}}
	for _, n := range []int{1, 3, 10, 30, 100, 300, 1000} {
		if float64(n) <= 1000*b.scale {
			number.floods = append(number.floods, flood{containers: n, size: lineSize, lines: max(int(b.scale*plotLines)/n, plotMinLines), stay: true})
		}
	}
	return []charts{size, number}
}

// plots draws the charts. It has no table.
func (b *bench) plots(ctx context.Context) (table string, err error) {
	l, drivers, err := b.newLab(ctx, []string{awslogsDefault, awslogsNoCache, logspool, yardstickGzip})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for _, c := range b.allCharts() {
		if !b.only.MatchString(c.name) {
			continue
		}
		if err := b.plot(ctx, l, drivers, c); err != nil {
			return "", err
		}
	}
	return "", nil
}

func (b *bench) plot(ctx context.Context, l *lab, drivers []*driver, c charts) error {
	cpu := plot.Chart{Title: "CPU of dockerd and the plugin: " + c.title, XLabel: c.xLabel, YLabel: "CPU seconds per GB", LogX: true, LogY: true}
	rate := plot.Chart{Title: "Throughput: " + c.title, XLabel: c.xLabel, YLabel: "MB/s accepted", LogX: true, LogY: true}
	drivers = slices.DeleteFunc(slices.Clone(drivers), func(d *driver) bool { return !slices.Contains(c.drivers, d.name) })
	for _, f := range c.floods {
		turns := c.turns
		if f.containers > fewContainers {
			turns = 1
		}
		uses, err := b.engineTurns(ctx, l, drivers, f, turns)
		if err != nil {
			return fmt.Errorf("%d containers, %d-byte lines: %w", f.containers, f.size, err)
		}
		for _, d := range drivers {
			addPoint(&cpu, d.name, c.x(f), useSpread(use.cost, uses[d.name]).median)
			addPoint(&rate, d.name, c.x(f), useSpread(use.rate, uses[d.name]).median*float64(f.size)/1e6)
		}
		// An interrupted measurement leaves the charts of its points.
		if err := errors.Join(b.draw("cpu-by-"+c.name, cpu), b.draw("throughput-by-"+c.name, rate)); err != nil {
			return err
		}
	}
	return nil
}

// addPoint adds a point to the line with a name.
func addPoint(c *plot.Chart, name string, x, y float64) {
	i := slices.IndexFunc(c.Lines, func(l plot.Line) bool { return l.Name == name })
	if i < 0 {
		i, c.Lines = len(c.Lines), append(c.Lines, plot.Line{Name: name})
	}
	l := &c.Lines[i]
	l.X, l.Y = append(l.X, x), append(l.Y, y)
}

// draw writes a chart into the directory for it.
func (b *bench) draw(name string, c plot.Chart) error {
	svg, err := c.SVG()
	if err != nil || b.images == "" {
		return err
	}
	return os.WriteFile(filepath.Join(b.images, name+".svg"), svg, 0o644)
}
