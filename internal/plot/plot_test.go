package plot

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

var out = flag.String("out", "", "write the chart of the tests to this file")

func example(lines int) Chart {
	c := Chart{Title: "Requests per second <by & size>", XLabel: "hosts", YLabel: "requests/s", LogX: true, LogY: true}
	for i := range lines {
		l := Line{Name: fmt.Sprintf("DELAY %d < 60", i)}
		for x := 1.0; x <= 1e4; x *= 10 {
			l.X, l.Y = append(l.X, x), append(l.Y, x*float64(i+1)*3)
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}

// texts returns what an SVG says, after checking that it is XML.
func texts(t *testing.T, svg []byte) []string {
	t.Helper()
	var all []string
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if s, ok := token.(xml.CharData); ok && strings.TrimSpace(string(s)) != "" {
			all = append(all, strings.TrimSpace(string(s)))
		}
	}
}

func mustDraw(t *testing.T, c Chart) []byte {
	t.Helper()
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	return svg
}

func TestChartNamesItsLinesAndAxes(t *testing.T) {
	c := example(5)
	svg := mustDraw(t, c)
	if *out != "" {
		if err := os.WriteFile(*out, svg, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	said := texts(t, svg)
	want := []string{c.Title, c.XLabel, c.YLabel, "10,000"}
	for _, l := range c.Lines {
		want = append(want, l.Name)
	}
	for _, w := range want {
		if !slices.Contains(said, w) {
			t.Errorf("the chart does not say %q: %q", w, said)
		}
	}
	if !bytes.Contains(svg, []byte("sans-serif")) {
		t.Error("the chart needs a font that few readers have")
	}
}

func TestSameChartGivesSameBytes(t *testing.T) {
	if !bytes.Equal(mustDraw(t, example(9)), mustDraw(t, example(9))) {
		t.Error("two drawings of one chart differ")
	}
}

func TestLongNamesGetTheWholeWidth(t *testing.T) {
	c := example(2)
	if n := c.legendColumns(); n != 2 {
		t.Errorf("%d columns of short names", n)
	}
	c.Lines[1].Name = strings.Repeat("a long name ", 6)
	if n := c.legendColumns(); n != 1 {
		t.Errorf("%d columns of long names", n)
	}
	mustDraw(t, c)
}

func TestManyLinesLookDifferent(t *testing.T) {
	seen := map[string]bool{}
	for i := range len(colours) * len(dashes) {
		seen[fmt.Sprint(colours[i%len(colours)], dashes[i%len(dashes)])] = true
	}
	if len(seen) != len(colours)*len(dashes) {
		t.Errorf("%d looks for %d lines", len(seen), len(colours)*len(dashes))
	}
}

func TestChartsOfOneValueAreDrawn(t *testing.T) {
	for _, log := range []bool{false, true} {
		for _, y := range []float64{0, 1, 7, 1e6} {
			if log && y == 0 {
				continue
			}
			mustDraw(t, Chart{LogX: log, LogY: log, Lines: []Line{{"one", []float64{3}, []float64{y}}}})
		}
	}
}

func TestBadChartsAreErrors(t *testing.T) {
	one := []float64{1}
	for name, c := range map[string]Chart{
		"no lines":         {},
		"without a name":   {Lines: []Line{{"", one, one}}},
		"no points":        {Lines: []Line{{"a", nil, nil}}},
		"1 values of x":    {Lines: []Line{{"a", one, []float64{1, 2}}}},
		"logarithmic axis": {LogY: true, Lines: []Line{{"a", one, []float64{0}}}},
		"logarithmic":      {LogX: true, Lines: []Line{{"a", []float64{-1}, one}}},
		"NaN":              {Lines: []Line{{"a", one, []float64{math.NaN()}}}},
		"nfinite":          {Lines: []Line{{"a", one, []float64{math.Inf(1)}}}},
	} {
		svg, err := c.SVG()
		if err == nil || svg != nil || name != "nfinite" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestNumbersArePlain(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.1 + 0.2: "0.3", 1: "1", 999: "999", 1000: "1,000", 1e6: "1,000,000", 2.5e9: "2,500,000,000",
		-1234.5: "−1,234.5", 1e-3: "0.001",
	} {
		if got := plain(v); got != want {
			t.Errorf("%g is written %q, want %q", v, got, want)
		}
	}
}

func TestTicksAreFewAndInRange(t *testing.T) {
	for _, r := range [][2]float64{{0, 1}, {0, 7}, {3, 9999}, {0, 1e7}, {-5, 5}, {0.001, 0.002}} {
		ticks := linearTicks{}.Ticks(r[0], r[1])
		if len(ticks) < 4 || len(ticks) > 11 {
			t.Errorf("%d ticks from %g to %g: %v", len(ticks), r[0], r[1], ticks)
		}
		for _, tick := range ticks {
			if tick.Value < r[0] || tick.Value > r[1] {
				t.Errorf("a tick at %g is outside %v", tick.Value, r)
			}
		}
	}
}
