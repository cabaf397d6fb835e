package scaletest

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/digits"
	"github.com/logspool/logspool/internal/docpart"
	"github.com/logspool/logspool/internal/plot"
)

const (
	root     = "../.."
	document = "docs/scale.md"
)

// table is a Markdown table.
type table [][]string

func (rows table) String() string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	return b.String()
}

// marks are around a part of the document that the tests write.
func marks(name string) (begin, end string) {
	return "<!-- make scale writes: " + name + " -->\n\n", "\n<!-- end of " + name + " -->"
}

// report prints a part of the document, and writes it with -write.
func report(t *testing.T, name string, content fmt.Stringer) {
	t.Helper()
	fmt.Printf("%s\n\n%s\n", name, content)
	if !*write || t.Failed() {
		return
	}
	begin, end := marks(name)
	if err := docpart.Replace(filepath.Join(root, document), begin, end, content.String()); err != nil {
		t.Fatal(err)
	}
}

// show draws a chart, and writes it with -write.
func show(t *testing.T, name string, c plot.Chart) {
	t.Helper()
	svg, err := c.SVG()
	if err != nil {
		t.Error(err)
		return
	}
	if !*write || t.Failed() {
		return
	}
	if err := os.WriteFile(filepath.Join(root, "docs", "images", name), svg, 0o644); err != nil {
		t.Error(err)
	}
}

// number writes a number with two significant digits, and a comma after each thousand.
func number(f float64) string {
	if f >= 10 {
		unit := math.Pow(10, math.Floor(math.Log10(f))-1)
		f = math.Round(f/unit) * unit
	} else {
		f = math.Round(f*10) / 10
	}
	return digits.Separate(strconv.FormatFloat(f, 'f', -1, 64))
}

// duration writes a duration with two or three significant digits.
func duration(d time.Duration) string {
	s := d.Seconds()
	switch {
	case s < 1:
		return "less than 1 s"
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 180:
		return fmt.Sprintf("%.0f s", s)
	case s < 7200:
		return fmt.Sprintf("%.0f min", s/60)
	default:
		return fmt.Sprintf("%.1f h", s/3600)
	}
}

func ratio(f float64) string { return fmt.Sprintf("1/%.0f", 1/f) }

// quantileOf returns the delay that this share of the delays do not exceed.
func quantileOf(all []time.Duration, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[int(share*float64(len(all)-1))]
}

// advice are fleets for the table of settings.
var advice = []struct{ hosts, containers int }{{10, 10}, {100, 20}, {1000, 50}, {10_000, 50}}

// The share of a quota that a fleet should use, so that retries and other users of the account
// have room; the longest time that the streams of a boot storm should need; and the default
// DELAY.
const (
	usable       = 0.7
	creationTime = 10 * time.Minute
	defaultDelay = 4 * time.Second
)

// settings is the arithmetic: what to set for which size.
func settings() table {
	rows := table{{
		"hosts × containers", "one stream per", "senders", "`PutLogEvents`/s at most, with `DELAY=4`", "`DELAY`",
		"or, with `DELAY=4`, a quota of `PutLogEvents`/s", "all new streams exist after", "or, after ten minutes, with a quota of `CreateLogStream`/s",
	}}
	for _, a := range advice {
		for _, s := range []sharing{perHost, perService, perContainer} {
			senders := a.hosts * s.perHost(a.containers)
			created := senders
			if s == perService {
				created = (senders + serviceHosts - 1) / serviceHosts
			}
			rate := float64(senders) / defaultDelay.Seconds()
			delay := max(defaultDelay, time.Duration(math.Ceil(float64(senders)/(usable*defaultQuotas.puts)/5)*5)*time.Second)
			if float64(senders)/defaultDelay.Seconds() <= usable*defaultQuotas.puts {
				delay = defaultDelay
			}
			rows = append(rows, []string{
				fmt.Sprintf("%s × %d", number(float64(a.hosts)), a.containers), s.String(), number(float64(senders)), number(rate),
				fmt.Sprintf("%.0f", delay.Seconds()), enough(rate/usable, defaultQuotas.puts, 1000),
				duration(time.Duration(float64(created) / defaultQuotas.streams * float64(time.Second))),
				enough(float64(created)/creationTime.Seconds(), defaultQuotas.streams, 10),
			})
		}
	}
	return rows
}

// enough returns the quota to ask for, rounded up to a multiple of unit.
func enough(need, have, unit float64) string {
	if need <= have {
		return "the default is enough"
	}
	return number(math.Ceil(need/unit) * unit)
}

func TestSettingsTableIsWhatTheFormulasSay(t *testing.T) {
	if *write {
		report(t, "settings", settings())
		return
	}
	text, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	begin, end := marks("settings")
	_, got, _, ok := docpart.Cut(string(text), begin, end)
	if !ok {
		t.Fatalf("%s has no part for the settings", document)
	}
	if want := settings().String(); got != want {
		t.Errorf("the table of settings in %s is not up to date; make scale writes it:\n%s", document, want)
	}
}
