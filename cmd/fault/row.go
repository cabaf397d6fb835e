package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// row is one line of the matrix.
type row struct {
	name  string
	short bool     // short says that the row is part of the short matrix.
	alone bool     // alone says that no other row may run at the same time.
	root  bool     // root says that the row needs root.
	long  bool     // long says that the row takes minutes, and runs only with -long.
	env   []string // env has settings of the plugin, in addition to those of every row.
	want  want
	do    func(ctx context.Context, t *trial) error

	engine *engineRow // engine replaces do in a row that needs a real Docker engine.
}

// want is what a row must result in. In addition, in every row no line may be lost
// silently or come out of order, nothing may be damaged, and the stand-in must accept
// every request.
type want struct {
	// doubled says that lines may arrive twice, because the service stored them and its
	// answer was lost.
	doubled bool
	// killed says that lines in flight when the plugin was killed may arrive twice.
	killed bool
	// marked is how many lines are marked as missing, or anyNumber or atLeastOne.
	marked int
	// noise says that markers may count noise in the FIFO as lines.
	noise bool
	// fullSpeed says that the containers write as fast as they can, and may wait for the
	// disk.
	fullSpeed bool
	// memory is the limit of memory in MiB; 0 means none.
	memory int
}

// Numbers of marked lines.
const (
	anyNumber  = -1
	atLeastOne = -2
)

const (
	// inFlight is how long before a kill the service may have accepted a line that
	// arrives twice.
	inFlight = 100 * time.Millisecond

	// Containers and dockerd wait for the plugin's process at most, and never for the
	// service, whose faults last longer than this.
	longestStart, longestStop, longestWrite = 2 * time.Second, 2 * time.Second, 2 * time.Second
)

func (w want) String() string {
	all := []string{"lost 0"}
	switch {
	case w.killed:
		all = append(all, "duplicated only lines in flight")
	case !w.doubled:
		all = append(all, "duplicated 0")
	}
	switch w.marked {
	case anyNumber:
	case atLeastOne:
		all = append(all, "missing lines marked")
	default:
		all = append(all, fmt.Sprintf("marked %d", w.marked))
	}
	if w.memory > 0 {
		all = append(all, fmt.Sprintf("memory < %d MiB", w.memory))
	}
	return strings.Join(all, ", ")
}

// times are the longest times that containers waited for the plugin. Its methods may be
// called by several goroutines at once.
type times struct {
	mu                 sync.Mutex
	start, stop, write time.Duration
}

func (t *times) started(took time.Duration) { t.record(&t.start, took) }
func (t *times) stopped(took time.Duration) { t.record(&t.stop, took) }
func (t *times) wrote(took time.Duration)   { t.record(&t.write, took) }

func (t *times) record(longest *time.Duration, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*longest = max(*longest, took)
}

// result is what a row resulted in.
type result struct {
	row      row
	balance  balance
	times    *times
	rss      int // rss is the plugin's peak of resident memory in KiB.
	note     string
	notRun   string   // notRun is why the row was not run.
	problems []string // problems says what is not as it must be.
	log      string   // log is the end of the plugin's log.
	took     time.Duration
}

func (r *result) failed() bool { return len(r.problems) > 0 && !r.row.compared() }

// compared reports whether the row is one of Docker's own driver, which is measured and
// not judged.
func (r row) compared() bool { return r.engine != nil && r.engine.driver == awslogs }

var rowNumber atomic.Int32

// runRow runs one row.
func (l *lab) runRow(ctx context.Context, r row) *result {
	res := &result{row: r, times: &times{}}
	begun := time.Now()
	defer func() { res.took = time.Since(begun) }()
	switch {
	case r.root && !isRoot():
		res.notRun = "needs root"
	case r.long && !l.long:
		res.notRun = "takes minutes: -long"
	}
	if res.notRun != "" {
		return res
	}
	if r.engine != nil {
		l.runEngineRow(ctx, res)
		return res
	}
	t, err := newTrial(l, r, int(rowNumber.Add(1)))
	if err != nil {
		res.problems = append(res.problems, err.Error())
		return res
	}
	err = t.start()
	if err == nil {
		err = r.do(ctx, t)
	}
	for _, s := range slices.Concat(t.sources, t.visitors) {
		if c, _ := s.current(); c != nil {
			t.times.wrote(s.longestWrite())
		}
	}
	t.close()
	if err != nil {
		res.problems = append(res.problems, err.Error())
	}
	res.times, res.rss, res.note, res.log = &t.times, t.rss, t.note, t.log
	if refused := t.service.Refusals(); len(refused) > 0 {
		res.problems = append(res.problems, fmt.Sprintf("the service refused %s: %s", refused[0].Operation, refused[0].Message))
	}
	res.judge(t.account, t.kills)
	return res
}

// judge compares the result of a row with what it must be.
func (r *result) judge(a *account, kills []time.Time) {
	b, w := a.balance(), r.row.want
	r.balance = b
	bad := func(format string, args ...any) { r.problems = append(r.problems, fmt.Sprintf(format, args...)) }
	if b.written == 0 {
		bad("nothing was written")
	}
	if b.lost > 0 {
		bad("%d lines lost silently", b.lost)
	}
	if b.disordered > 0 {
		bad("%d lines out of order", b.disordered)
	}
	if b.wrong > 0 {
		bad("%d lines arrived changed", b.wrong)
	}
	if b.overmarked > 0 && !w.noise {
		bad("markers count %d lines that are not missing at their place", b.overmarked)
	}
	if w.marked == atLeastOne && b.marked == 0 {
		bad("no line is missing, so the row tested nothing")
	}
	if w.marked >= 0 && b.marked != w.marked {
		bad("%d lines marked as missing, want %d", b.marked, w.marked)
	}
	switch {
	case w.doubled:
	case w.killed:
		if n := a.doubledOutside(kills, inFlight); n > 0 {
			bad("%d of the duplicated lines were not in flight at a kill", n)
		}
	case b.doubled > 0:
		bad("%d lines duplicated", b.doubled)
	}
	for _, d := range []struct {
		what      string
		took, max time.Duration
	}{{"StartLogging", r.times.start, longestStart}, {"StopLogging", r.times.stop, longestStop}, {"a write", r.times.write, longestWrite}} {
		if d.took > d.max && r.row.engine == nil && !(w.fullSpeed && d.what == "a write") {
			bad("%s took %v", d.what, d.took)
		}
	}
	if w.memory > 0 && r.rss > w.memory<<10 {
		bad("%d MiB of memory", r.rss>>10)
	}
	r.problems = append(r.problems, b.examples[:min(3, len(b.examples))]...)
}
