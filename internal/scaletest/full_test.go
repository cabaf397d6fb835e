package scaletest

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/plot"
)

var (
	full  = flag.Bool("full", false, "simulate everything that docs/scale.md shows, which takes minutes")
	write = flag.Bool("write", false, "write the figures into docs/scale.md and docs/images")
)

// fleet is 10,000 hosts of 50 containers, one in a thousand of them simulated.
var fleet = scenario{
	hosts: 10_000, containers: 50, share: 1.0 / 1000, quotas: defaultQuotas,
	delay: 4 * time.Second, interval: time.Second, exist: true, boot: time.Minute,
}

// sharings has a DELAY for each way to share streams that the default quotas allow.
var sharings = []struct {
	sharing
	delay time.Duration
}{{perHost, 4 * time.Second}, {perService, 15 * time.Second}, {perContainer, 150 * time.Second}}

func (s scenario) with(change func(*scenario)) scenario {
	change(&s)
	return s
}

func (s scenario) String() string {
	return fmt.Sprintf("%v, `DELAY=%.0f`", s.streams, s.delay.Seconds())
}

// runAll runs scenarios at the same time, and returns their outcomes.
func runAll(t *testing.T, all map[string]scenario) map[string]*outcome {
	results := make([]*outcome, len(all))
	names := slices.Sorted(maps.Keys(all))
	t.Run("runs", func(t *testing.T) {
		for i, name := range names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				results[i] = all[name].run(t)
			})
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	outcomes := map[string]*outcome{}
	for i, name := range names {
		outcomes[name] = results[i]
	}
	return outcomes
}

// TestScale makes the figures and the charts of docs/scale.md.
func TestScale(t *testing.T) {
	if !*full && !*write {
		t.Skip("make scale runs it")
	}
	t.Run("fractions", fractions)
	t.Run("steady", steady)
	t.Run("aligned", aligned)
	t.Run("boot", boot)
	t.Run("outage", outage)
}

// rates returns the cells about PutLogEvents and about the delay of lines.
func (o *outcome) rates() []string {
	puts := o.sum("PutLogEvents")
	return []string{
		number(o.perSecond(puts.offered)), number(o.perSecond(puts.accepted)), number(o.perSecond(puts.throttled)),
		duration(o.quantile(0.5)), duration(o.quantile(0.99)), duration(o.quantile(1)),
	}
}

// fractions shows that the simulated share of the fleet does not matter.
func fractions(t *testing.T) {
	all := map[string]scenario{}
	var order []string
	for _, s := range []scenario{
		fleet.with(func(s *scenario) { s.streams = perHost }),
		fleet.with(func(s *scenario) { s.streams, s.delay = perService, 15*time.Second }),
		fleet.with(func(s *scenario) { s.streams = perService }),
	} {
		s.interval, s.length, s.countFrom, s.countTo = 2*time.Second, 7*time.Minute, 2*time.Minute, 6*time.Minute
		for _, share := range []float64{1.0 / 2000, 1.0 / 1000, 1.0 / 200} {
			s.share = share
			name := s.String() + ratio(share)
			all[name] = s
			order = append(order, name)
		}
	}
	outcomes := runAll(t, all)
	rows := table{{"one stream per", "simulated share", "`PutLogEvents`/s", "accepted", "throttled", "delay: median", "99 %", "worst"}}
	for _, name := range order {
		o := outcomes[name]
		rows = append(rows, append([]string{o.scenario.String(), ratio(o.share)}, o.rates()...))
	}
	report(t, "fractions", rows)
}

// steady shows what DELAY and the sharing of streams do to a fleet in which nothing fails.
func steady(t *testing.T) {
	delays := []time.Duration{1, 4, 15, 60, 150}
	all := map[string]scenario{}
	for _, sh := range sharings {
		for _, d := range delays {
			s := fleet.with(func(s *scenario) { s.streams, s.delay = sh.sharing, d*time.Second })
			s.length, s.countFrom, s.countTo = 14*time.Minute, 5*time.Minute, 10*time.Minute // at the end, all containers stop at once
			all[s.String()] = s
		}
	}
	outcomes := runAll(t, all)
	rows := table{{"one stream per", "`DELAY`", "senders / `DELAY`", "`PutLogEvents`/s", "accepted", "throttled", "delay: median", "99 %", "worst"}}
	requests := plot.Chart{Title: "10,000 hosts of 50 containers: PutLogEvents that the fleet tries", XLabel: "DELAY in seconds", YLabel: "requests per second", LogX: true, LogY: true}
	waits := plot.Chart{Title: "10,000 hosts of 50 containers: delay that 99 % of the lines do not exceed", XLabel: "DELAY in seconds", YLabel: "seconds", LogX: true, LogY: true}
	quota, ideal := plot.Line{Name: "the default quota"}, plot.Line{Name: "DELAY"}
	for _, sh := range sharings {
		tries, late := plot.Line{Name: "one stream per " + sh.String()}, plot.Line{Name: "one stream per " + sh.String()}
		for _, d := range delays {
			o := outcomes[fleet.with(func(s *scenario) { s.streams, s.delay = sh.sharing, d*time.Second }).String()]
			senders := float64(o.hosts * o.streams.perHost(o.containers))
			rows = append(rows, append([]string{sh.String(), seconds(o.delay), number(senders / o.delay.Seconds())}, o.rates()...))
			tries.X, tries.Y = append(tries.X, o.delay.Seconds()), append(tries.Y, o.perSecond(o.sum("PutLogEvents").offered))
			late.X, late.Y = append(late.X, o.delay.Seconds()), append(late.Y, o.quantile(0.99).Seconds())
		}
		requests.Lines, waits.Lines = append(requests.Lines, tries), append(waits.Lines, late)
	}
	for _, d := range delays {
		quota.X, quota.Y = append(quota.X, float64(d)), append(quota.Y, defaultQuotas.puts)
		ideal.X, ideal.Y = append(ideal.X, float64(d)), append(ideal.Y, float64(d))
	}
	requests.Lines, waits.Lines = append(requests.Lines, quota), append(waits.Lines, ideal)
	report(t, "steady", rows)
	show(t, "scale-requests.svg", requests)
	show(t, "scale-delay.svg", waits)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()) }

// aligned shows what happens if all containers write at the same second.
func aligned(t *testing.T) {
	all := map[string]scenario{}
	var order []string
	for _, sh := range sharings {
		s := fleet.with(func(s *scenario) {
			s.streams, s.delay, s.share, s.interval, s.aligned, s.length = sh.sharing, sh.delay, 1.0/200, time.Minute, true, 13*time.Minute
		})
		s.countFrom, s.countTo = 5*time.Minute+30*time.Second, 10*time.Minute+30*time.Second
		all[s.String()] = s
		order = append(order, s.String())
	}
	outcomes := runAll(t, all)
	rows := table{{"one stream per", "`PutLogEvents` in the busiest second", "throttled in a minute", "delay: median", "99 %", "worst"}}
	chart := plot.Chart{Title: "All containers write on the minute: PutLogEvents that the fleet tries", XLabel: "seconds after the minute", YLabel: "requests per second"}
	for _, name := range order {
		o := outcomes[name]
		most := 0
		for _, s := range o.counted("PutLogEvents") {
			most = max(most, s.offered)
		}
		minutes := (o.countTo - o.countFrom).Minutes()
		rows = append(rows, []string{
			name, number(float64(most) / o.share), number(float64(o.sum("PutLogEvents").throttled) / o.share / minutes),
			duration(o.quantile(0.5)), duration(o.quantile(0.99)), duration(o.quantile(1)),
		})
		l := plot.Line{Name: fmt.Sprintf("one stream per %v, DELAY %s", o.streams, seconds(o.delay))}
		for second := range 45 {
			l.X, l.Y = append(l.X, float64(second)), append(l.Y, float64(o.seconds["PutLogEvents"][360+second].offered)/o.share)
		}
		chart.Lines = append(chart.Lines, l)
	}
	report(t, "aligned", rows)
	show(t, "scale-aligned.svg", chart)
}
