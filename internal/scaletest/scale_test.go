package scaletest

import (
	"testing"
	"time"
)

// small is a fleet of ten hosts, against their share of the quotas of an account with 10,000.
var small = scenario{
	hosts: 10_000, containers: 2, share: 1.0 / 1000, quotas: defaultQuotas, streams: perHost,
	delay: 4 * time.Second, interval: 2 * time.Second, exist: true, boot: 10 * time.Second,
}

// sum adds what was counted in the seconds of the scenario that count.
func (o *outcome) sum(operation string) (sum calls) {
	for _, s := range o.counted(operation) {
		sum.offered += s.offered
		sum.accepted += s.accepted
		sum.throttled += s.throttled
		sum.failed += s.failed
	}
	return sum
}

// counted returns the calls of the seconds that count.
func (o *outcome) counted(operation string) []calls {
	all := o.seconds[operation]
	first, end := int(o.countFrom.Seconds()), int(o.countTo.Seconds())
	return all[min(first, len(all)):min(end, len(all))]
}

// peak returns how many calls per second of the fleet were offered in its busiest ten seconds.
func (o *outcome) peak(operation string) float64 {
	var most, last int
	all := o.counted(operation)
	for i, s := range all {
		if last += s.offered; i >= 10 {
			last -= all[i-10].offered
		}
		most = max(most, last)
	}
	return float64(most) / 10 / o.share
}

// perSecond returns a rate of the whole fleet.
func (o *outcome) perSecond(n int) float64 {
	return float64(n) / o.share / (o.countTo - o.countFrom).Seconds()
}

// A fleet whose streams with traffic / DELAY are below the quota is not throttled, and its
// lines wait for little more than DELAY.
func TestFleetStaysBelowQuota(t *testing.T) {
	s := small
	s.length, s.countFrom = 2*time.Minute, 30*time.Second
	o := s.run(t)
	puts := o.sum("PutLogEvents")
	if rate, most := o.perSecond(puts.offered), 1.05*float64(s.hosts)/s.delay.Seconds(); rate > most || rate < most/3 {
		t.Errorf("%.0f requests/s; at most %.0f have a line to send", rate, most)
	}
	if puts.throttled*50 > puts.offered {
		t.Errorf("%d of %d requests were throttled", puts.throttled, puts.offered)
	}
	if worst := o.quantile(1); worst > s.delay+3*time.Second {
		t.Errorf("a line waited for %v", worst)
	}
}

// If a fleet wants twice the quota, the account accepts all of its quota, and a host asks for
// little more: lines wait longer, and none is lost.
func TestFleetAboveQuotaUsesAllOfIt(t *testing.T) {
	s := small
	s.delay, s.interval, s.length, s.countFrom = time.Second, time.Second, 2*time.Minute, 30*time.Second
	o := s.run(t)
	puts := o.sum("PutLogEvents")
	if rate := o.perSecond(puts.accepted); rate < 0.9*s.quotas.puts {
		t.Errorf("only %.0f of %.0f requests/s were accepted", rate, s.quotas.puts)
	}
	if peak := o.peak("PutLogEvents"); peak > 3*s.quotas.puts {
		t.Errorf("%.0f requests/s were offered for ten seconds, for a quota of %.0f", peak, s.quotas.puts)
	}
	if puts.throttled > puts.accepted/2 {
		t.Errorf("%d requests were throttled, and only %d accepted", puts.throttled, puts.accepted)
	}
	if half, most := o.quantile(0.5), o.quantile(0.99); half > 3*time.Second || most > 25*time.Second {
		t.Errorf("half of the lines waited for up to %v, and 99 %% for up to %v", half, most)
	}
}

// If all hosts boot at once, the streams are created about as fast as the quota allows.
func TestBootStormCreatesStreamsAtTheQuota(t *testing.T) {
	s := small
	s.containers, s.exist, s.length = 1, false, 6*time.Minute
	o := s.run(t)
	ideal := time.Duration(float64(s.hosts) / s.quotas.streams * float64(time.Second))
	if took := o.lastStream.Sub(o.begin); took > ideal*3/2 {
		t.Errorf("the streams existed after %v; the quota allows %v", took, ideal)
	}
	if peak := o.peak("CreateLogStream"); peak > float64(s.hosts) {
		t.Errorf("%.0f CreateLogStream/s of %d hosts were offered for ten seconds", peak, s.hosts)
	}
	if n := o.sum("CreateLogGroup").offered; n > 10 {
		t.Errorf("%d calls created one group", n)
	}
}

// During an outage, a host makes a request every few seconds. After it, the fleet does not
// come back at once, and what waits is delivered within a minute.
func TestFleetDrainsAfterOutage(t *testing.T) {
	s := small
	s.down, s.up, s.length = 30*time.Second, 5*time.Minute, 6*time.Minute
	s.countFrom, s.countTo = s.down+30*time.Second, s.up
	o := s.run(t)
	if rate := o.perSecond(o.sum("PutLogEvents").offered); rate > float64(s.hosts)/3 {
		t.Errorf("%.0f requests/s of %d hosts in an outage", rate, s.hosts)
	}
	if took := o.emptied.Sub(o.begin) - s.up; took > time.Minute {
		t.Errorf("the lines of the outage were delivered %v after its end", took)
	}
	o.countFrom, o.countTo = s.up, s.up+time.Minute
	if peak := o.peak("PutLogEvents"); peak > 2*s.quotas.puts {
		t.Errorf("%.0f requests/s were offered for ten seconds after the outage, for a quota of %.0f", peak, s.quotas.puts)
	}
	if puts := o.sum("PutLogEvents"); puts.throttled > puts.accepted/2 {
		t.Errorf("%d requests were throttled after the outage, and only %d accepted", puts.throttled, puts.accepted)
	}
}

// If all containers write at the same second, the fleet does not send all at the same second.
func TestFleetThatWritesTogetherSpreadsItsRequests(t *testing.T) {
	s := small
	s.share, s.interval, s.aligned, s.length, s.countFrom = 1.0/200, time.Minute, true, 4*time.Minute, 90*time.Second
	o := s.run(t)
	for i, second := range o.counted("PutLogEvents") {
		if rate := float64(second.offered) / s.share; rate > 0.9*float64(s.hosts) {
			t.Errorf("%.0f of %d hosts sent in second %d", rate, s.hosts, i)
		}
	}
	if o.quantile(1) > s.delay+time.Second {
		t.Errorf("a line waited for %v", o.quantile(1))
	}
}
