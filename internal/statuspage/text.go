package statuspage

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"

	"github.com/logspool/logspool/internal/digits"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
)

const (
	// maxName is how much of a name the page shows, and maxText how much of an error, in
	// bytes. The longest name of CloudWatch Logs has 512 characters.
	maxName = 2048
	maxText = 1000

	// unknown is shown for a number that is not known.
	unknown = "–"
)

// functions are what the template can call.
var functions = template.FuncMap{
	"name":  func(s string) string { return oneline.Text(s, maxName) },
	"text":  func(s string) string { return oneline.Text(s, maxText) },
	"bytes": size,
	"count": count,
	"clock": clock,
	"stamp": stamp,
	"costs": func(rows []costRow, container bool) costTable { return costTable{rows, container} },
}

// size returns bytes in the units that docker prints, with a space.
func size(n int64) string { return floatSize(float64(max(0, n))) }

func floatSize(n float64) string {
	return units.CustomSize("%.4g %s", n, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"})
}

// count returns n with a comma between thousands.
func count(n int64) string { return digits.Separate(fmt.Sprint(max(0, n))) }

// plural returns n and the noun, with an s if n is not 1.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(int64(n)) + " " + noun + "s"
}

// lineRate returns lines per second.
func lineRate(r float64) string {
	switch {
	case math.IsNaN(r) || r <= 0:
		return "0"
	case r < 0.1:
		return "<0.1"
	case r < 10:
		return fmt.Sprintf("%.1f", r)
	}
	return count(int64(math.Round(r)))
}

// byteRate returns bytes per second, without the unit of time.
func byteRate(r float64) string {
	if math.IsNaN(r) || r <= 0 {
		return "0"
	}
	return floatSize(math.Max(1, math.Round(r)))
}

// age returns a duration in its two largest units, such as "4 s" or "3 h 12 min". It rounds
// up, so that nothing is older than it says.
func age(d time.Duration) string {
	s := int64(math.Ceil(d.Seconds()))
	switch {
	case s <= 0:
		return "0 s"
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 24*3600:
		return two(s/3600, "h", s%3600/60, "min")
	}
	return two(s/(24*3600), "d", s%(24*3600)/3600, "h")
}

func two(n int64, unit string, rest int64, smaller string) string {
	if rest == 0 {
		return fmt.Sprintf("%d %s", n, unit)
	}
	return fmt.Sprintf("%d %s %d %s", n, unit, rest, smaller)
}

// clock returns a time of the day of now, and the date too if it is another day. It returns
// "" if the time is not known.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	t, now = t.UTC(), now.UTC()
	if t.Truncate(24 * time.Hour).Equal(now.Truncate(24 * time.Hour)) {
		return t.Format("15:04")
	}
	if t.Year() == now.Year() {
		return t.Format("2 Jan 15:04")
	}
	return t.Format("2 Jan 2006 15:04")
}

// stamp returns a time for the datetime attribute.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// link is a name, and the address of its page in the console if there is one.
type link struct{ Name, Link string }

func newLink(name, address string) link { return link{oneline.Text(name, maxName), address} }

// costTable is a table of costs, with or without a column for the containers.
type costTable struct {
	Rows      []costRow
	Container bool
}

// reasons returns why lines were lost, and how many for each reason if there are several.
func reasons(by map[string]status.Counter) string {
	var parts []string
	for _, reason := range sortedKeys(by) {
		if n := by[reason].Lines; len(by) > 1 {
			reason = count(n) + " " + reason
		}
		parts = append(parts, reason)
	}
	return strings.Join(parts, ", ")
}

// sentence returns s as one line with a capital letter and a full stop.
func sentence(s string) string {
	if s = clause(s); s == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(string(r)) + s[n:]
}

// clause returns s as one line with a full stop. It begins as s does.
func clause(s string) string {
	s = strings.TrimSpace(oneline.Text(s, maxText))
	if s != "" && !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "…") {
		s += "."
	}
	return s
}
