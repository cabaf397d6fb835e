package cli

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/digits"
	"github.com/logspool/logspool/internal/oneline"
)

const (
	// maxText limits a name in a table, and maxError an error, in bytes.
	maxText  = 1024
	maxError = 4096
)

// printable returns a text from outside as one printable line.
func printable(s string) string { return oneline.Text(s, maxText) }

// displayName returns a container's name, or its short ID if it has none.
func displayName(name, id string) string {
	// The operator needs the whole name, however long it is.
	if name = oneline.Text(strings.TrimPrefix(name, "/"), len(name)*4); name != "" {
		return name
	}
	return container.Label("", id)
}

// fullName returns a container's name and its short ID.
func fullName(name, id string) string {
	short := container.Label("", id)
	if name := displayName(name, id); name != short {
		return name + " (" + short + ")"
	}
	return short
}

// size returns bytes as Docker writes them, in units of 1,024.
func size(bytes int64) string { return units.BytesSize(float64(max(0, bytes))) }

// rate returns an average per second with at most three digits and a unit.
func rate(perSecond float64, format func(float64) string) string {
	switch {
	case math.IsNaN(perSecond) || perSecond <= 0:
		return "0"
	case perSecond < 0.1:
		return "<0.1"
	}
	return format(perSecond)
}

func lineRate(perSecond float64) string {
	return rate(perSecond, func(v float64) string {
		if v < 10 {
			return fmt.Sprintf("%.1f", v)
		}
		return count(int64(math.Round(v)))
	})
}

func byteRate(perSecond float64) string {
	return rate(perSecond, func(v float64) string { return units.BytesSize(math.Max(1, math.Round(v))) })
}

// count returns n with a comma between thousands.
func count(n int64) string { return digits.Separate(fmt.Sprint(n)) }

// plural returns n and the noun, with an s if n is not 1.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// age returns a duration in its two largest units, such as 4m12s or 3d4h.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Round(time.Second); {
	case d <= 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return two(d, time.Hour, "h", time.Minute, "m")
	}
	return two(d, day, "d", time.Hour, "h")
}

func two(d, unit time.Duration, name string, smaller time.Duration, smallerName string) string {
	s := fmt.Sprintf("%d%s", d/unit, name)
	if rest := d % unit / smaller; rest > 0 {
		s += fmt.Sprintf("%d%s", rest, smallerName)
	}
	return s
}

// stamp returns a time for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
