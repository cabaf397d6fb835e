package status

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

const (
	// minProjected is the shortest time from which a month is projected.
	minProjected = 10 * time.Minute
)

// Ledger counts what CloudWatch accepts today and yesterday, by container and group. A day is
// a day in UTC, as on an AWS bill. The counts survive a restart: Run saves them.
//
// A Report counts since the plugin started, and only per stream of a running container. The
// Ledger adds up the differences between one report and the next. What a container sent
// between its last report and its end is in Report.Ended, so the Ledger checks its own sum
// against the sum of the report and counts the rest.
type Ledger struct {
	file ledgerFile

	// mu guards the fields below. It is held for memory operations only.
	mu   sync.Mutex
	book book

	// streams has the counters of the last report.
	streams map[streamKey]streamCount
	// counted is what was added to book since the plugin started.
	counted int64
}

// Usage is what CloudWatch accepted, at one moment.
type Usage struct {
	// Day is when today began.
	Day time.Time
	// Since is when the counting began: with yesterday, or later.
	Since time.Time
	// Time is the moment.
	Time time.Time
	// Ingested has today's counts and yesterday's, largest first.
	Ingested []Ingested
}

// Total is the sum of all containers.
func (u Usage) Total() Ingested {
	var sum Ingested
	for _, i := range u.Ingested {
		sum.Bytes += i.Bytes
		sum.Yesterday += i.Yesterday
	}
	return sum
}

// Month projects the bytes of the whole current month from those of today and yesterday. It
// returns false if the plugin has not counted for long enough.
func (u Usage) Month(i Ingested) (bytes int64, ok bool) {
	counted := u.Time.Sub(u.Since)
	if counted < minProjected {
		return 0, false
	}
	first := time.Date(u.Day.Year(), u.Day.Month(), 1, 0, 0, 0, 0, time.UTC)
	month := first.AddDate(0, 1, 0).Sub(first)
	return int64(float64(i.Bytes+i.Yesterday) * (float64(month) / float64(counted))), true
}

// streamKey identifies a counter of a report.
type streamKey struct {
	id, region, endpoint, role, group, stream, output string
}

// streamCount is a counter of a report, and the key under which a Ledger counts it.
type streamCount struct {
	key   ingestedKey
	bytes int64
}

// OpenLedger returns the Ledger of a state directory. It reads the file in dir, and blocks for
// as long as the disk does. A file that it cannot use is set aside, and logged once.
func OpenLedger(fsys durable.FS, dir string, log *slog.Logger) *Ledger {
	l := &Ledger{file: ledgerFile{fsys: fsys, name: filepath.Join(dir, ledgerName), log: log}}
	l.book = l.file.load()
	return l
}

// Observe counts what CloudWatch accepted since the last report. It does not block. The
// reports must be of one run of the plugin, in order.
func (l *Ledger) Observe(r *Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.setDay(r.Time)
	total := r.Ended.Delivered.Bytes
	streams := make(map[streamKey]streamCount, len(l.streams))
	for i := range r.Containers {
		c := &r.Containers[i]
		total += c.Delivered.Bytes
		for j := range c.Streams {
			s := &c.Streams[j]
			id := streamKey{c.ID, s.Region, s.Endpoint, s.Role, s.Group, s.Stream, s.Output}
			now := streamCount{ingestedKey{c.Name, s.Group}, s.Delivered.Bytes}
			streams[id] = now
			before := l.streams[id].bytes
			if now.bytes < before {
				before = 0 // The container runs again, and its counter began at 0.
			}
			l.addLocked(now.key, now.bytes-before)
		}
	}
	l.addLocked(ownerOfGone(l.streams, streams), total-l.counted)
	l.streams = streams
}

// ownerOfGone returns whose the streams are that are in before and not in now. It returns the
// key of the sum of all if they are of several containers, or if there are none.
func ownerOfGone(before, now map[streamKey]streamCount) ingestedKey {
	var owner ingestedKey
	found := false
	for id, s := range before {
		if _, ok := now[id]; ok {
			continue
		}
		if found && owner != s.key {
			return ingestedKey{}
		}
		owner, found = s.key, true
	}
	return owner
}

func (l *Ledger) addLocked(key ingestedKey, bytes int64) {
	if bytes > 0 {
		l.counted += bytes
		l.book.add(key, bytes)
	}
}

// Usage returns the counts.
func (l *Ledger) Usage() Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := Usage{Day: l.book.day, Since: l.book.since, Time: l.book.time, Ingested: l.book.ingested()}
	slices.SortFunc(u.Ingested, func(a, b Ingested) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Yesterday, a.Yesterday),
			cmp.Compare(a.Container, b.Container), cmp.Compare(a.Group, b.Group))
	})
	return u
}

// Today returns today's counts, largest first.
func (l *Ledger) Today() []Ingested {
	return slices.DeleteFunc(l.Usage().Ingested, func(i Ingested) bool { return i.Bytes == 0 })
}
