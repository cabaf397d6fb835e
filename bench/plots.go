package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/logspool/logspool/internal/plot"
)

// plotted are the drivers in the charts.
var plotted = []string{awslogsDefault, awslogsNoCache, logspool, yardstickGzip}

// The points of the charts. With each line size, a container writes about as many bytes; all
// containers together write as many lines.
var (
	plotSizes      = []int{20, 50, 100, 300, 1000, 4096, 16384, 65536}
	plotContainers = []int{1, 3, 10, 30, 100, 300, 1000}
)

const (
	plotBytes    = 64e6
	plotMaxLines = 400_000
	plotLines    = 1_000_000 // plotLines is how many lines all containers write.
)

// plots draws the processor time and the throughput by line size and by number of containers.
func (b *bench) plots(ctx context.Context) (table string, err error) {
	l, drivers, err := b.newLab(ctx, plotted)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var sizes, containers []flood
	for _, size := range plotSizes {
		sizes = append(sizes, flood{containers: 1, size: size, lines: int(b.scale * min(plotMaxLines, plotBytes/float64(size)))})
	}
	for _, n := range plotContainers {
		if float64(n) <= 1000*b.scale || n == 1 {
			containers = append(containers, flood{containers: n, size: lineSize, lines: int(b.scale*plotLines) / n})
		}
	}
	for _, c := range []struct {
		name, title, label string
		floods             []flood
		x                  func(flood) float64
	}{
		{"size", "one container, as fast as it can", "bytes per line", sizes, func(f flood) float64 { return float64(f.size) }},
		{"containers", "lines of 100 bytes, as fast as possible", "containers", containers, func(f flood) float64 { return float64(f.containers) }},
	} {
		if !b.only.MatchString(c.name) {
			continue
		}
		cpu := plot.Chart{Title: "CPU of dockerd and the plugin: " + c.title, XLabel: c.label, YLabel: "CPU seconds per GB", LogX: true, LogY: true}
		rate := plot.Chart{Title: "Throughput: " + c.title, XLabel: c.label, YLabel: "MB/s accepted", LogX: true, LogY: true}
		for _, d := range drivers {
			line := plot.Line{Name: d.name}
			costs := line
			for _, f := range c.floods {
				u, err := l.run(ctx, d, f)
				if err != nil {
					return "", fmt.Errorf("%s, %d containers, %d-byte lines: %w", d.name, f.containers, f.size, err)
				}
				fmt.Fprintf(b.out, "%s, %d containers, %d-byte lines: %v\n", d.name, f.containers, f.size, u)
				line.X, line.Y = append(line.X, c.x(f)), append(line.Y, u.rate()*float64(f.size)/1e6)
				costs.X, costs.Y = append(costs.X, c.x(f)), append(costs.Y, u.cost())
			}
			cpu.Lines, rate.Lines = append(cpu.Lines, costs), append(rate.Lines, line)
		}
		err := errors.Join(b.draw("cpu-by-"+c.name, cpu), b.draw("throughput-by-"+c.name, rate))
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// draw writes a chart into the directory for it.
func (b *bench) draw(name string, c plot.Chart) error {
	svg, err := c.SVG()
	if err != nil || b.images == "" {
		return err
	}
	return os.WriteFile(filepath.Join(b.images, name+".svg"), svg, 0o644)
}
