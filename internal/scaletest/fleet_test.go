package scaletest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/uploader"
)

// sharing says which containers of a host share a stream.
type sharing int

const (
	perContainer sharing = iota
	perService           // a service's containers share a stream: ten on each of ten hosts
	perHost
)

func (s sharing) String() string { return [...]string{"container", "service", "host"}[s] }

// perHost returns how many senders a host needs for so many containers.
func (s sharing) perHost(containers int) int {
	switch s {
	case perHost:
		return 1
	case perService:
		return (containers + serviceContainers - 1) / serviceContainers
	default:
		return containers
	}
}

// A service has serviceContainers containers on each of serviceHosts hosts.
const serviceContainers, serviceHosts = 10, 10

// scenario is a fleet and what happens to it. Times count from its begin.
type scenario struct {
	hosts, containers int
	share             float64 // share is the simulated part of the hosts and of each quota.
	quotas            quotas
	streams           sharing
	delay             time.Duration

	interval time.Duration // interval is the time between two lines of a container.
	aligned  bool          // aligned says that all containers write at the same time.

	groupPerHost bool // groupPerHost says that each host has a log group, as by default.

	exist              bool          // exist says that the streams exist at the beginning.
	boot               time.Duration // boot is the time over which the containers start.
	replaced           time.Duration // replaced is when all containers are replaced, over boot, or zero.
	down, up           time.Duration // down and up bound an outage.
	length             time.Duration // length is how long the containers write.
	countFrom, countTo time.Duration // countFrom and countTo bound what is counted; countTo 0 means length.
}

// outcome is what a scenario leads to. Its rates are those of the whole fleet.
type outcome struct {
	scenario
	*account
	*measurement
	begin    time.Time
	backlogs []int // backlogs is the number of lines that wait, of the fleet, by the second.
	lines    int
}

// run simulates a scenario until each line is delivered, and checks that each was delivered
// once.
func (s scenario) run(t *testing.T) (o *outcome) {
	t.Helper()
	if s.countTo == 0 {
		s.countTo = s.length
	}
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		o = &outcome{
			scenario: s, account: newAccount(s.quotas.scale(s.share)),
			measurement: &measurement{from: now.Add(s.countFrom), to: now.Add(s.countTo)}, begin: now,
		}
		o.simulate(t)
	})
	return o
}

func (o *outcome) simulate(t *testing.T) {
	var lives []*life
	ended := make(chan error)
	for h := range int(float64(o.hosts)*o.share + 0.5) {
		u := uploader.New(uploader.Options{Config: o.config, Plain: true, Log: slog.New(slog.DiscardHandler)})
		lasts := make(chan error)
		for c := range o.containers {
			l := &life{o: o, host: h, index: c, delay: o.delay, container: container{on: o.measurement}}
			l.from, l.to = l.lifetime()
			lives = append(lives, l)
			go func() { lasts <- l.run(u) }()
			if o.replaced > 0 {
				r := &life{o: o, host: h, index: c, delay: o.delay, container: container{on: o.measurement}, generation: 1, from: l.to, to: o.length}
				lives = append(lives, r)
				go func() { lasts <- r.run(u) }()
			}
			if o.exist {
				o.groups[l.group()] = true
				o.events[l.stream()] = 0
			}
		}
		n := o.containers
		if o.replaced > 0 {
			n *= 2
		}
		go func() { ended <- endHost(u, lasts, n) }()
	}
	stop := make(chan struct{})
	go o.observe(stop)
	go o.breakDown()
	for range int(float64(o.hosts)*o.share + 0.5) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	close(stop)
	o.verify(t, lives)
}

// endHost stops an uploader when its containers have ended.
func endHost(u *uploader.Uploader, lasts <-chan error, n int) (err error) {
	for range n {
		if e := <-lasts; e != nil {
			err = e
		}
	}
	if e := u.Stop(context.Background()); e != nil {
		err = e
	}
	return err
}

// verify checks that each line is in its stream, and that no stream has more.
func (o *outcome) verify(t *testing.T, lives []*life) {
	written := map[string]int{}
	for _, l := range lives {
		n, err := l.result()
		if err != nil {
			t.Errorf("%s: %v", l.stream(), err)
		}
		written[l.stream()] += n
		o.lines += n
	}
	for name, n := range written {
		if o.events[name] != n {
			t.Errorf("%s has %d lines, but %d were written", name, o.events[name], n)
		}
	}
}

// observe records the backlog once a second.
func (o *outcome) observe(stop <-chan struct{}) {
	for {
		o.backlogs = append(o.backlogs, int(float64(o.backlog())/o.share))
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
	}
}

func (o *outcome) breakDown() {
	if o.scenario.down == o.up {
		return
	}
	time.Sleep(o.scenario.down)
	o.setDown(true)
	time.Sleep(o.up - o.scenario.down)
	o.setDown(false)
}

// life is one container from its start to its end.
type life struct {
	container
	o                       *outcome
	host, index, generation int
	delay                   time.Duration
	from, to                time.Duration
}

func (l *life) lifetime() (from, to time.Duration) {
	from, to = 0, l.o.length
	if l.o.boot > 0 && l.o.replaced == 0 {
		from = rand.N(l.o.boot)
	}
	if l.o.replaced > 0 {
		to = l.o.replaced + rand.N(max(l.o.boot, 1))
	}
	return from, to
}

func (l *life) group() string {
	if l.o.groupPerHost {
		return fmt.Sprintf("host-%d", l.host)
	}
	return "fleet"
}

func (l *life) stream() string {
	switch l.o.streams {
	case perHost:
		return fmt.Sprintf("host-%d", l.host)
	case perService:
		return fmt.Sprintf("service-%d-%d", l.host/serviceHosts, l.index/serviceContainers)
	default:
		return fmt.Sprintf("container-%d-%d-%d", l.host, l.index, l.generation)
	}
}

// run lets the container write, and returns when its last line is delivered.
func (l *life) run(u *uploader.Uploader) error {
	o := l.o
	time.Sleep(l.from)
	d := u.Attach(target.Target{
		Access: target.Access{Region: "eu-central-1"}, Group: l.group(), Stream: l.stream(), Create: target.Create{Group: true, Stream: true},
	}, l, l.delay)
	first := rand.N(o.interval)
	if o.aligned {
		first = o.interval - time.Since(o.begin)%o.interval
	}
	for time.Sleep(first); time.Since(o.begin) < l.to; time.Sleep(o.interval) {
		l.write()
		d.Notify(1, frameBytes)
	}
	d.Finish()
	<-d.Done()
	return nil
}
