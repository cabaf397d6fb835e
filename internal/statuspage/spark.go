package statuspage

import (
	"fmt"
	"math"
	"strings"

	"github.com/logspool/logspool/internal/status"
)

// sparkHeight is the height of a sparkline.
const sparkHeight = 30

// spark is a sparkline.
type spark struct {
	// Line is the path of the line, and Area that of what is below it.
	Line, Area string
	// Width is the width of the picture.
	Width int
	// Label describes it in words.
	Label string
}

// sparkline draws one value of each point. The newest is at the right, and the largest at the
// top. If there are fewer points than room for them, the left stays empty. what names the
// value, and format prints it.
func sparkline(points []status.Point, room int, value func(status.Point) float64, what string, format func(float64) string) spark {
	points = points[max(0, len(points)-room):]
	if len(points) < 2 {
		return spark{}
	}
	most := 0.0
	for _, p := range points {
		most = max(most, value(p))
	}
	y := func(i int) int {
		if most <= 0 {
			return sparkHeight - 1
		}
		return sparkHeight - 1 - int(math.Round(max(0, value(points[i]))/most*(sparkHeight-2)))
	}
	var line strings.Builder
	left := room - len(points)
	for i := range points {
		// A point on a level line says nothing.
		if i > 0 && i < len(points)-1 && y(i) == y(i-1) && y(i) == y(i+1) {
			continue
		}
		fmt.Fprintf(&line, "%c%d %d", "ML"[min(i, 1)], left+i, y(i))
	}
	return spark{
		Line: line.String(), Width: room - 1,
		Label: fmt.Sprintf("%s over the last half hour: now %s, at most %s", what, format(value(points[len(points)-1])), format(most)),
	}
}

// filled returns the sparkline with the area below it.
func (s spark) filled() spark {
	if s.Line != "" {
		first, _, _ := strings.Cut(strings.TrimPrefix(s.Line, "M"), " ")
		s.Area = fmt.Sprintf("%sL%d %dL%s %dz", s.Line, s.Width, sparkHeight, first, sparkHeight)
	}
	return s
}

// coarse returns half as many points, each of which is the average of two. The newest pair is
// the last.
func coarse(points []status.Point) []status.Point {
	half := make([]status.Point, 0, len(points)/2)
	for i := len(points) % 2; i+1 < len(points); i += 2 {
		a, b := points[i], points[i+1]
		half = append(half, status.Point{Lines: (a.Lines + b.Lines) / 2, Bytes: (a.Bytes + b.Bytes) / 2})
	}
	return half
}

func lines(p status.Point) float64  { return p.Lines }
func volume(p status.Point) float64 { return p.Bytes }
