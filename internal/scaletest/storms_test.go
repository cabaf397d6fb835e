package scaletest

import (
	"fmt"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/plot"
)

// storm is a case of the table about new streams.
type storm struct {
	name    string
	streams int // streams is how many new streams the fleet needs.
	scenario
}

// allowed returns how long the quotas make the creations take.
func (s storm) allowed() time.Duration {
	seconds := float64(s.streams) / s.quotas.streams
	if s.groupPerHost {
		seconds = max(seconds, float64(s.hosts)/s.quotas.groups)
	}
	return time.Duration(seconds * float64(time.Second))
}

// storms are fleets whose hosts all boot within a minute, or replace all containers.
func storms() []storm {
	const perFleet = 10_000 * 50
	boot := fleet.with(func(s *scenario) { s.exist, s.interval = false, 10*time.Second })
	container := boot.with(func(s *scenario) {
		s.streams, s.delay, s.length = perContainer, 150*time.Second, 200*time.Minute
	})
	raised := container.with(func(s *scenario) { s.quotas.streams, s.length = 10*s.quotas.streams, 30*time.Minute })
	return []storm{
		{"boot", 10_000, boot.with(func(s *scenario) { s.streams, s.length = perHost, 8*time.Minute })},
		{"boot, a new log group for each host", 10_000, boot.with(func(s *scenario) {
			s.streams, s.groupPerHost, s.length = perHost, true, 25*time.Minute
		})},
		{"boot", 10_000 * 5 / serviceHosts, boot.with(func(s *scenario) { s.streams, s.delay, s.length = perService, 15*time.Second, 8*time.Minute })},
		{"boot", perFleet, container},
		{"boot, 500 `CreateLogStream`/s", perFleet, raised},
		{"all containers replaced in 10 minutes, 500 `CreateLogStream`/s", perFleet, raised.with(func(s *scenario) {
			s.exist, s.replaced, s.boot, s.length, s.countFrom = true, 5*time.Minute, 10*time.Minute, 40*time.Minute, 5*time.Minute
		})},
	}
}

// boot shows how long it takes until all streams of a fleet exist.
func boot(t *testing.T) {
	all := map[string]scenario{}
	for i, s := range storms() {
		all[fmt.Sprint(i)] = s.scenario
	}
	outcomes := runAll(t, all)
	rows := table{{"what", "one stream per", "new streams", "the quotas allow that after", "all streams exist after", "`CreateLogStream`/s", "accepted", "`PutLogEvents`/s", "throttled", "first line of a container: median", "99 %", "worst"}}
	chart := plot.Chart{Title: "10,000 hosts of 50 containers boot within a minute", XLabel: "seconds after the first host", YLabel: "% of the new streams that exist", LogX: true}
	for i, s := range storms() {
		o := outcomes[fmt.Sprint(i)]
		begin := o.begin.Add(o.replaced)
		took := o.lastStream.Sub(begin)
		o.countFrom, o.countTo = o.replaced, o.replaced+max(took, time.Minute)
		creations, puts := o.sum("CreateLogStream"), o.sum("PutLogEvents")
		firsts := o.firsts
		rows = append(rows, []string{
			s.name, s.String(), number(float64(s.streams)), duration(s.allowed()), duration(took),
			number(o.perSecond(creations.offered)), number(o.perSecond(creations.accepted)), number(o.perSecond(puts.offered)), number(o.perSecond(puts.throttled)),
			duration(quantileOf(firsts, 0.5)), duration(quantileOf(firsts, 0.99)), duration(quantileOf(firsts, 1)),
		})
		if o.replaced == 0 && !o.groupPerHost {
			l := plot.Line{Name: fmt.Sprintf("one stream per %v, a quota of %.0f CreateLogStream/s", o.streams, o.quotas.streams)}
			l.X, l.Y = o.existing(int(took.Seconds()) + 1)
			chart.Lines = append(chart.Lines, l)
		}
	}
	report(t, "boot", rows)
	show(t, "scale-boot.svg", chart)
}

// existing returns the share of the new streams that exist, by the second, in percent.
func (o *outcome) existing(seconds int) (x, y []float64) {
	var total, n int
	for _, c := range o.seconds["CreateLogStream"] {
		total += c.accepted
	}
	for second, c := range o.seconds["CreateLogStream"][:min(seconds+1, len(o.seconds["CreateLogStream"]))] {
		n += c.accepted
		if k := len(x); second == 0 || n == 0 || k > 0 && float64(second) < 1.02*x[k-1] && second < seconds-1 {
			continue
		}
		x, y = append(x, float64(second)), append(y, 100*float64(n)/float64(total))
	}
	return x, y
}

// outage shows an outage of the region of 30 minutes, and its end.
func outage(t *testing.T) {
	all := map[string]scenario{}
	var order []string
	for _, interval := range []time.Duration{time.Second, 10 * time.Second} {
		for _, sh := range sharings {
			s := fleet.with(func(s *scenario) { s.streams, s.delay, s.interval = sh.sharing, sh.delay, interval })
			s.down, s.up, s.length = 5*time.Minute, 35*time.Minute, 45*time.Minute
			s.countFrom, s.countTo = s.down, s.up
			name := fmt.Sprint(s, interval)
			all[name] = s
			order = append(order, name)
		}
	}
	outcomes := runAll(t, all)
	rows := table{{"one stream per", "lines/s of the fleet", "requests/s in the outage", "lines waiting at its end", "`PutLogEvents` in the busiest 10 s after it, per second", "throttled in the 5 minutes after it", "all delivered after"}}
	backlog := plot.Chart{Title: "A region fails from minute 5 to 35; a container writes 1 line/s", XLabel: "minutes", YLabel: "million lines that wait"}
	back := plot.Chart{Title: "The end of the outage: PutLogEvents that the fleet tries", XLabel: "seconds after the end", YLabel: "requests per second"}
	for _, name := range order {
		o := outcomes[name]
		during := o.perSecond(o.sum("PutLogEvents").offered)
		o.countFrom, o.countTo = o.up, o.up+5*time.Minute
		rows = append(rows, []string{
			o.String(), number(float64(o.hosts*o.containers) / o.interval.Seconds()), number(during), number(float64(o.backlogs[int(o.up.Seconds())])),
			number(o.peak("PutLogEvents")), number(float64(o.sum("PutLogEvents").throttled) / o.share), duration(o.emptied.Sub(o.begin) - o.up),
		})
		if o.interval != time.Second {
			continue
		}
		waiting, tries := plot.Line{Name: "one stream per " + o.streams.String()}, plot.Line{Name: "one stream per " + o.streams.String()}
		for second := 0; second < int(o.length.Seconds()); second += 10 {
			waiting.X, waiting.Y = append(waiting.X, float64(second)/60), append(waiting.Y, float64(o.backlogs[second])/1e6)
		}
		puts := o.seconds["PutLogEvents"][int(o.up.Seconds())-20:]
		for i := 0; i < 240; i += 4 {
			n := 0
			for _, c := range puts[i : i+4] {
				n += c.offered
			}
			tries.X, tries.Y = append(tries.X, float64(i-20)), append(tries.Y, float64(n)/4/o.share)
		}
		backlog.Lines, back.Lines = append(backlog.Lines, waiting), append(back.Lines, tries)
	}
	back.Lines = append(back.Lines, plot.Line{Name: "the default quota", X: []float64{-20, 220}, Y: []float64{defaultQuotas.puts, defaultQuotas.puts}})
	report(t, "outage", rows)
	show(t, "scale-backlog.svg", backlog)
	show(t, "scale-outage.svg", back)
}
