package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// row is one line of the matrix.
type row struct {
	name  string
	short bool     // it is part of the short matrix
	alone bool     // it bears no other row beside it
	root  bool     // it needs root
	long  bool     // it takes minutes, and is run only if asked for
	env   []string // settings of the plugin beside the usual ones
	want  want
	do    func(ctx context.Context, t *trial) error

	// engine, instead of do, is for the rows that need a real Docker engine.
	engine *engineRow
}

// want is what a row must come to, beside that no line is lost silently, none comes out of order, nothing is damaged and
// the strict service finds no fault with any request.
type want struct {
	doubled bool // lines may come twice: the service had taken them, and could not say so
	killed  bool // lines may come twice that were under way when the plugin was killed
	marked  int  // lines that may be marked as missing; or asMany or some
	noise   bool // markers may take what never was a line for one: it looked like one
	flood   bool // the containers write as fast as they can, and so wait for the disk
	memory  int  // MiB; 0: not bounded
}

// Numbers of marked lines.
const (
	asMany = -1 // not bounded
	some   = -2 // one at least
)

const (
	// underWay is how long before a kill a line that comes twice may have been taken by the service.
	underWay = 100 * time.Millisecond

	// Containers and dockerd wait for the plugin's process at most, never for the service, whose
	// faults last longer.
	longestStart, longestStop, longestWrite = 2 * time.Second, 2 * time.Second, 2 * time.Second
)

func (w want) String() string {
	all := []string{"lost 0"}
	switch {
	case w.killed:
		all = append(all, "doubled only what was under way")
	case !w.doubled:
		all = append(all, "doubled 0")
	}
	switch w.marked {
	case asMany:
	case some:
		all = append(all, "marked what is missing")
	default:
		all = append(all, fmt.Sprintf("marked %d", w.marked))
	}
	if w.memory > 0 {
		all = append(all, fmt.Sprintf("memory < %d MiB", w.memory))
	}
	return strings.Join(all, ", ")
}

// result is what came of a row.
type result struct {
	row                          row
	balance                      balance
	slowStart, slowStop, longest time.Duration
	rss                          int // KiB
	note                         string
	notRun                       string   // why it was not run
	problems                     []string // what is not as it must be
	log                          string   // of the plugin, its end
	took                         time.Duration
}

func (r *result) failed() bool { return len(r.problems) > 0 && !r.row.compared() }

// compared: the row is Docker's own driver's, which is measured and not judged.
func (r row) compared() bool { return r.engine != nil && r.engine.driver == awslogs }

var rowNumber atomic.Int32

// runRow runs one row.
func (l *lab) runRow(ctx context.Context, r row) *result {
	res := &result{row: r}
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
			res.longest = max(res.longest, s.longestWrite())
		}
	}
	t.close()
	if err != nil {
		res.problems = append(res.problems, err.Error())
	}
	res.slowStart, res.slowStop, res.rss, res.note, res.log = t.slowStart, t.slowStop, t.rss, t.note, t.log
	for _, refusal := range t.service.Refusals() {
		res.problems = append(res.problems, fmt.Sprintf("the service refused %s: %s", refusal.Operation, refusal.Message))
		break
	}
	res.judge(t.account, t.kills)
	return res
}

// judge holds what came of a row against what must.
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
		bad("%d messages are not as they were written", b.wrong)
	}
	if b.overtold > 0 && !w.noise {
		bad("markers tell of %d lines that are not missing there", b.overtold)
	}
	if w.marked == some && b.marked == 0 {
		bad("nothing is missing: the row has not shown anything")
	}
	if w.marked >= 0 && b.marked != w.marked {
		bad("%d lines marked as missing, want %d", b.marked, w.marked)
	}
	switch {
	case w.doubled:
	case w.killed:
		if n := a.doubledElsewhere(kills, underWay); n > 0 {
			bad("%d of the doubled lines were not under way at a kill", n)
		}
	case b.doubled > 0:
		bad("%d lines doubled", b.doubled)
	}
	for _, d := range []struct {
		what      string
		took, max time.Duration
	}{{"StartLogging", r.slowStart, longestStart}, {"StopLogging", r.slowStop, longestStop}, {"a write", r.longest, longestWrite}} {
		if d.took > d.max && r.row.engine == nil && !(w.flood && d.what == "a write") {
			bad("%s took %v", d.what, d.took)
		}
	}
	if w.memory > 0 && r.rss > w.memory<<10 {
		bad("%d MiB of memory", r.rss>>10)
	}
	r.problems = append(r.problems, b.examples[:min(3, len(b.examples))]...)
}
