package plot

import (
	"math"
	"strconv"
	"strings"

	gonum "gonum.org/v1/plot"

	"github.com/logspool/logspool/internal/digits"
)

// linearTicks places ticks at round values.
type linearTicks struct{}

func (linearTicks) Ticks(low, high float64) []gonum.Tick {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, factor := range []float64{5, 2} {
		if (high-low)/(step*factor) >= 4 {
			step *= factor
			break
		}
	}
	var ticks []gonum.Tick
	for n := math.Ceil(low / step); n*step <= high; n++ {
		ticks = append(ticks, gonum.Tick{Value: n * step, Label: plain(n * step)})
	}
	return ticks
}

// logTicks places ticks at the powers of ten. In a short range, it also labels their doubles and
// quintuples.
type logTicks struct{}

func (logTicks) Ticks(low, high float64) []gonum.Tick {
	short := high/low < 2000
	var ticks []gonum.Tick
	for e := math.Floor(math.Log10(low)); math.Pow(10, e) <= high; e++ {
		for factor := 1.0; factor < 10; factor++ {
			t := gonum.Tick{Value: factor * math.Pow(10, e)}
			if t.Value < low || t.Value > high {
				continue
			}
			if factor == 1 || short && (factor == 2 || factor == 5) {
				t.Label = plain(t.Value)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// plain writes a number without an exponent, with a comma after each thousand.
func plain(v float64) string {
	number := digits.Separate(strconv.FormatFloat(roundTo(v, 6), 'f', -1, 64))
	return strings.Replace(number, "-", "−", 1)
}

// roundTo rounds v to so many significant digits.
func roundTo(v float64, digits int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil || r == 0 {
		return 0
	}
	return r
}
