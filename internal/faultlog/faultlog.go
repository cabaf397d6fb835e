// Package faultlog logs failures and losses that last. An operator who reads the last hour of
// the log sees what is wrong now, and a failure that lasts for a day costs a hundred lines and
// not a million.
//
//   - A Fault logs an ongoing failure when it begins, when its kind changes, every ten minutes
//     while it lasts, and when it ends.
//   - A Shared is a Fault of several members. It lasts until no member fails any more.
//   - A Loss logs lost data when the loss begins, and then a summary once a minute while it
//     goes on.
//   - Describe and Largest say what waits for delivery, and whose it is.
//
// Everything is logged at level ERROR, except for a Fault of NewWarning, which is logged at
// level WARN, and for the end of a failure, which is INFO. All methods may be called from any
// goroutine, and do not block.
//
// The package must not know what failed or what was lost.
package faultlog

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// Repeat is how often an ongoing failure is logged again.
	Repeat = 10 * time.Minute

	// summary is how often an ongoing loss is summed up.
	summary = time.Minute

	// flap is how long a kind of failure is not logged again after it was logged. It
	// applies when kinds alternate, and when a failure begins again soon after its end.
	flap = time.Minute

	// maxKinds bounds how many kinds of failure are remembered for flap.
	maxKinds = 16
)

// Fault is one thing that can fail for some time, such as sending to a log group. Make one
// with NewFault.
type Fault struct {
	log    *slog.Logger
	level  slog.Level   // level is the level of the lines while it fails.
	failed string       // failed is the message while it fails.
	ended  string       // ended is the message when it works again.
	detail func() []any // detail returns more attributes for the lines while it fails.
	set    *Set         // set has the fault while it lasts, or is nil.
	fixed  []slog.Attr  // fixed are the attributes of log.

	// mu guards the fields below.
	mu     sync.Mutex
	since  time.Time            // since is when the failure began, or zero while it works.
	logged time.Time            // logged is when the failure was last logged.
	shown  bool                 // shown says that the failure was logged since it began.
	kind   string               // kind is the kind that was logged last.
	times  int                  // times counts the failures since the failure began.
	kinds  map[string]time.Time // kinds has the time of each kind's last line, for flap.
	last   struct {
		kind  string
		attrs []any
	} // last is the last failure, for ongoing.
}

// NewFault returns a Fault. failed is the message while it fails, ended the message when
// it works again. detail, if not nil, returns attributes that describe what is affected
// now. It is called only when a line is logged, without a lock, and must not block.
func NewFault(log *slog.Logger, failed, ended string, detail func() []any) *Fault {
	if detail == nil {
		detail = func() []any { return nil }
	}
	set, fixed := setOf(log)
	return &Fault{log: log, level: slog.LevelError, failed: failed, ended: ended, detail: detail, set: set, fixed: fixed, kinds: map[string]time.Time{}}
}

// NewWarning returns a Fault of something that works and is about to fail, such as a spool
// that is nearly full. The arguments are those of NewFault.
func NewWarning(log *slog.Logger, failed, ended string, detail func() []any) *Fault {
	f := NewFault(log, failed, ended, detail)
	f.level = slog.LevelWarn
	return f
}

// Failed reports one more failure. kind is the sort of failure, as an operator sees it:
// another kind is logged at once. attrs describe this failure.
func (f *Fault) Failed(kind string, attrs ...any) {
	now := time.Now()
	f.mu.Lock()
	if f.since.IsZero() {
		f.since, f.times, f.shown = now, 0, false
	}
	f.times++
	f.last.kind, f.last.attrs = kind, attrs
	f.set.add(f)
	if !f.dueLocked(kind, now) {
		f.mu.Unlock()
		return
	}
	repeated := f.shown && f.kind == kind
	f.kind, f.logged, f.shown = kind, now, true
	since, times := f.since, f.times
	f.mu.Unlock()
	if repeated || times > 1 {
		attrs = append(slices.Clip(attrs), "since", since.UTC().Format(time.RFC3339), "times", times)
	}
	f.log.Log(context.Background(), f.level, f.failed, append(slices.Clip(attrs), f.detail()...)...)
}

// dueLocked decides whether a failure is logged now, and remembers its kind if it is.
func (f *Fault) dueLocked(kind string, now time.Time) bool {
	for k, at := range f.kinds {
		if now.Sub(at) >= flap {
			delete(f.kinds, k)
		}
	}
	_, recent := f.kinds[kind]
	repeat := f.shown && now.Sub(f.logged) >= Repeat
	news := (!f.shown || f.kind != kind) && !recent && len(f.kinds) < maxKinds
	if !repeat && !news {
		return false
	}
	f.kinds[kind] = now
	return true
}

// Succeeded reports a success. It logs the end of a failure that was logged.
func (f *Fault) Succeeded(attrs ...any) {
	f.mu.Lock()
	if f.since.IsZero() { // This is the usual case, and must be cheap.
		f.mu.Unlock()
		return
	}
	since, times, shown := f.since, f.times, f.shown
	f.since, f.shown = time.Time{}, false
	f.set.remove(f)
	f.mu.Unlock()
	if !shown {
		return
	}
	f.log.Info(f.ended, append(attrs, "after", time.Since(since).Round(time.Millisecond), "times", times)...)
}

// Forget takes the fault out of its Set, because what failed is gone. It logs nothing.
func (f *Fault) Forget() { f.set.remove(f) }

// ongoing implements member.
func (f *Fault) ongoing() Ongoing {
	f.mu.Lock()
	o := Ongoing{Message: f.failed, Kind: f.last.kind, Since: f.since, Times: f.times}
	attrs := f.last.attrs
	f.mu.Unlock()
	o.Attrs = attrMap(f.fixed, attrs)
	return o
}

// Since returns when the present failure began. It is zero if the last report was a success.
func (f *Fault) Since() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since
}

// Loss is data of one owner that is lost for one reason, such as the lines of a container
// whose spool is full. Make one with NewLoss, and Close it.
type Loss struct {
	log     *slog.Logger
	message string
	attrs   []any
	set     *Set        // set has the loss while it goes on, or is nil.
	fixed   []slog.Attr // fixed are the attributes of log.

	// mu guards the fields below.
	mu     sync.Mutex
	since  time.Time   // since is when the present loss began.
	timer  *time.Timer // timer runs while the loss goes on.
	events int         // events counts the events that were lost since the last line.
	bytes  int64       // bytes counts the bytes that were lost since the last line.
	total  int64       // total counts the events that were lost since NewLoss.
}

// NewLoss returns a Loss. message is the message of its lines, and attrs are on each of them.
func NewLoss(log *slog.Logger, message string, attrs ...any) *Loss {
	set, fixed := setOf(log)
	return &Loss{log: log, message: message, attrs: attrs, set: set, fixed: fixed}
}

// Lost reports the loss of events, and of their size in bytes. events is 0 if their number is
// unknown.
func (l *Loss) Lost(events int, bytes int64) {
	l.mu.Lock()
	l.events += events
	l.bytes += bytes
	l.total += int64(events)
	if l.timer != nil {
		l.mu.Unlock()
		return
	}
	l.timer, l.since = time.AfterFunc(summary, l.sumUp), time.Now()
	l.set.add(l)
	attrs := l.takeLocked()
	l.mu.Unlock()
	l.log.Error(l.message, attrs...)
}

// ongoing implements member.
func (l *Loss) ongoing() Ongoing {
	l.mu.Lock()
	o := Ongoing{Message: l.message, Since: l.since, Times: int(l.total), Loss: true}
	l.mu.Unlock()
	o.Attrs = attrMap(l.fixed, l.attrs)
	return o
}

// sumUp logs what was lost since the last line. It ends the timer if that is nothing.
func (l *Loss) sumUp() {
	l.mu.Lock()
	if l.events == 0 && l.bytes == 0 {
		l.timer = nil
		l.set.remove(l)
		l.mu.Unlock()
		return
	}
	if l.timer != nil {
		l.timer = time.AfterFunc(summary, l.sumUp)
	}
	attrs := l.takeLocked()
	l.mu.Unlock()
	l.log.Error(l.message, attrs...)
}

// Close logs what was lost since the last line, and ends the timer.
func (l *Loss) Close() {
	l.mu.Lock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
		l.set.remove(l)
	}
	lost := l.events > 0 || l.bytes > 0
	attrs := l.takeLocked()
	l.mu.Unlock()
	if lost {
		l.log.Error(l.message, attrs...)
	}
}

// takeLocked returns the attributes of a line about what was lost since the last line, and
// counts from zero again.
func (l *Loss) takeLocked() []any {
	attrs := append([]any{}, l.attrs...)
	if l.events > 0 {
		attrs = append(attrs, "lines", l.events)
	}
	attrs = append(attrs, "bytes", l.bytes)
	if l.total > int64(l.events) {
		attrs = append(attrs, "total_lines", l.total)
	}
	l.events, l.bytes = 0, 0
	return attrs
}
