// Package plot draws line charts as SVG, for the pages in docs/. Programs and tests use it.
// The plugin does not contain it.
//
// The same chart gives the same bytes, so that a new file means new figures.
package plot

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	gonum "gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Line is a line of a chart through the points (X[i], Y[i]), in their order.
type Line struct {
	Name string
	X, Y []float64
}

// Chart is a chart of one or more lines. Without LogY, its y axis begins at zero if no value is
// negative. A logarithmic axis takes only values above zero.
type Chart struct {
	Title, XLabel, YLabel string
	LogX, LogY            bool
	Lines                 []Line
}

// An SVG point is 4/3 pixels, so a chart is 700 pixels wide. The legend is below the axes, so that
// it hides no data.
const (
	width        = 525
	height       = 320
	margin       = 9
	legendRow    = 16
	legendColumn = (width - 4*margin) / 2
	legendThumb  = 34
	maxMarkers   = 24 // maxMarkers is the most points of a line that get a marker each.
)

// colours are the colours of Okabe and Ito that are dark enough for a white background. Readers
// with each kind of colour blindness can distinguish them.
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, // green
	color.RGBA{0x00, 0x00, 0x00, 0xff}, // black
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // purple
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky blue
}

// Their number has no common divisor with the number of colours, so that 35 lines differ.
var dashes = [][]vg.Length{nil, {7, 3}, {2, 2}, {9, 3, 2, 3}, {4, 2}}

// SVG draws the chart. It fails if there is no line, if a line has no name or no points, if its
// X and Y differ in length, or if a value cannot be drawn.
func (c Chart) SVG() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := c.axes()
	legends := make([]gonum.Legend, c.legendColumns())
	for i := range legends {
		legends[i] = newLegend()
	}
	for i, l := range c.Lines {
		parts, err := l.draw(i)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", l.Name, err)
		}
		var thumbs []gonum.Thumbnailer
		for _, part := range parts {
			p.Add(part)
			thumbs = append(thumbs, part.(gonum.Thumbnailer))
		}
		legends[i%len(legends)].Add(l.Name, thumbs...)
	}
	c.padRange(p)

	rows := vg.Length((len(c.Lines)+len(legends)-1)/len(legends)*legendRow + margin)
	w, h := vg.Length(width), height+rows
	canvas := vgsvg.New(w, h)
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	p.Draw(draw.Crop(whole, margin, -2*margin, rows+margin/2, -margin))
	for i := range legends {
		left := 4*margin + vg.Length(i)*legendColumn
		legends[i].Draw(draw.Crop(whole, left, 0, 0, rows-h))
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("couldn't write the chart: %w", err)
	}
	return portable(b.Bytes()), nil
}

func newLegend() gonum.Legend {
	l := gonum.NewLegend()
	l.Top, l.Left = true, true
	l.ThumbnailWidth, l.Padding = legendThumb, 3
	l.TextStyle.Font = sans(9)
	return l
}

// legendColumns returns 2, or 1 if a name is too long for half of the width. Readers without
// Liberation may see a wider font.
func (c Chart) legendColumns() int {
	style := newLegend().TextStyle
	for _, l := range c.Lines {
		if legendThumb+style.Width(" "+l.Name)*5/4 > legendColumn-margin {
			return 1
		}
	}
	return 2
}

// portable names fonts for readers who do not have Liberation, which has Arial's widths.
func portable(svg []byte) []byte {
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
}

func (c Chart) check() error {
	if len(c.Lines) == 0 {
		return fmt.Errorf("chart %q has no lines", c.Title)
	}
	for _, l := range c.Lines {
		switch {
		case l.Name == "":
			return fmt.Errorf("chart %q has a line without a name", c.Title)
		case len(l.X) != len(l.Y):
			return fmt.Errorf("line %q has %d values of x, and %d of y", l.Name, len(l.X), len(l.Y))
		case len(l.X) == 0:
			return fmt.Errorf("line %q has no points", l.Name)
		}
		for i := range l.X {
			if c.LogX && l.X[i] <= 0 || c.LogY && l.Y[i] <= 0 {
				return fmt.Errorf("line %q has the point (%g, %g), which a logarithmic axis cannot show", l.Name, l.X[i], l.Y[i])
			}
		}
	}
	return nil
}

// axes returns a plot with the axes, the grid and the titles, and without the lines.
func (c Chart) axes() *gonum.Plot {
	p := gonum.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.XLabel, c.YLabel
	p.Title.TextStyle.Font, p.Title.Padding = sans(11), 6
	for _, s := range []*text.Style{&p.X.Label.TextStyle, &p.Y.Label.TextStyle} {
		s.Font = sans(9.5)
	}
	p.X.Label.Padding, p.Y.Label.Padding = 3, 3
	for _, s := range []*text.Style{&p.X.Tick.Label, &p.Y.Tick.Label} {
		s.Font = sans(9)
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = linearTicks{}, linearTicks{}
	if c.LogX {
		p.X.Scale, p.X.Tick.Marker = gonum.LogScale{}, logTicks{}
	}
	if c.LogY {
		p.Y.Scale, p.Y.Tick.Marker = gonum.LogScale{}, logTicks{}
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xdd}, color.Gray{0xdd}
	p.Add(grid)
	return p
}

// padRange chooses the range of the axes after the lines were added.
func (c Chart) padRange(p *gonum.Plot) {
	for _, a := range []struct {
		axis *gonum.Axis
		log  bool
	}{{&p.X, c.LogX}, {&p.Y, c.LogY}} {
		if a.axis.Min < a.axis.Max {
			continue
		}
		// The scales divide by the length of the range.
		if a.log {
			a.axis.Min, a.axis.Max = a.axis.Min/2, a.axis.Max*2
		} else {
			a.axis.Min, a.axis.Max = a.axis.Min-1, a.axis.Max+1
		}
	}
	if !c.LogY && !c.negative() {
		p.Y.Min = 0
	}
	if !c.LogY {
		p.Y.Max += (p.Y.Max - p.Y.Min) / 25 // a line along the upper edge is hard to see
	}
}

func (c Chart) negative() bool {
	for _, l := range c.Lines {
		for _, y := range l.Y {
			if y < 0 {
				return true
			}
		}
	}
	return false
}

// draw returns the parts of the i-th line of a chart.
func (l Line) draw(i int) ([]gonum.Plotter, error) {
	points := make(plotter.XYs, len(l.X))
	for j := range points {
		points[j] = plotter.XY{X: l.X[j], Y: l.Y[j]}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	line.Color, line.Width, line.Dashes = colours[i%len(colours)], 1.5, dashes[i%len(dashes)]
	if len(points) > maxMarkers {
		return []gonum.Plotter{line}, nil
	}
	marks, err := plotter.NewScatter(points)
	if err != nil {
		return nil, err
	}
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
	marks.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: 2.5, Shape: shapes[i%len(shapes)]}
	return []gonum.Plotter{line, marks}, nil
}

func sans(size float64) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(math.Max(size, 1))}
}
