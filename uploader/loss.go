package uploader

import (
	"log/slog"
	"slices"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// Dropped describes events of one feed that CloudWatch does not have, all for one reason.
type Dropped struct {
	Target target.Target
	Reason events.LossReason
	Events int
	Bytes  int64     // of their messages, as the service counts them
	From   time.Time // of the first
	To     time.Time // of the last
}

// loss is what one delivery loses of one batch for one reason.
type loss struct {
	Dropped
	ranges []stream.Range // of the events that are lost whole
	err    error          // CloudWatch's, if it said why
	seq    uint64         // of the batch
}

func (d *loss) add(b *batch, r record) {
	at := time.Unix(0, r.time)
	if d.Events == 0 || at.Before(d.From) {
		d.From = at
	}
	if d.Events == 0 || at.After(d.To) {
		d.To = at
	}
	d.Events++
	d.Bytes += int64(r.bytes)
	d.ranges = append(d.ranges, b.ranges[r.rangesFrom:r.rangesTo]...)
}

// lose accounts for events that CloudWatch does not have and never will. Each feed gets its own, at the acknowledgement
// that covers them. Pieces of a line that ends in a later batch are owed until that batch is acknowledged. If the feed is
// rewound before, the whole line comes again, and what is lost is found again.
func (l *sender) lose(b *batch, why events.LossReason, lost []record, err error) {
	if len(lost) == 0 {
		return
	}
	now, later := make([]loss, len(b.parts)), make([]loss, len(b.parts))
	for _, r := range lost {
		if r.hasRanges() || r.offset < b.parts[r.part].lastEnd {
			now[r.part].add(b, r)
		} else {
			later[r.part].add(b, r)
		}
	}
	for i := range b.parts {
		for _, d := range []*loss{&now[i], &later[i]} {
			if d.Events == 0 {
				continue
			}
			d.Target, d.Reason, d.err, d.seq = l.target, why, err, b.seq
			d.Bytes += int64(b.cut) // of the only event of such a batch
			if m := b.parts[i].delivery; d == &now[i] {
				l.tell(m, *d)
			} else {
				m.owed = append(m.owed, *d)
			}
		}
	}
}

// loseEnd accounts for the end of the only event of a batch, which was cut off.
func (l *sender) loseEnd(b *batch) {
	r := b.records[0]
	t := time.Unix(0, r.time)
	d := loss{Dropped: Dropped{Target: l.target, Reason: events.TooLarge, Events: 1, Bytes: int64(b.cut), From: t, To: t}, seq: b.seq}
	if m := b.parts[r.part].delivery; r.hasRanges() {
		l.tell(m, d)
	} else {
		m.owed = append(m.owed, d)
	}
}

// tell counts and logs a loss and reports it to its feed. The acknowledgement that the feed accounts for it with must
// follow.
func (l *sender) tell(m *Delivery, d loss) {
	d.Events, d.Bytes = m.feed.Lost(d.Reason, d.ranges, d.Events, d.Bytes, d.From, d.To)
	if d.Events == 0 {
		return
	}
	l.u.drop(d.Dropped)
	m.lossLog(l.log, d).Lost(d.Events, d.Bytes)
}

// owing removes and returns what is owed for lines of the delivery that end in b: no batch between the loss and b has
// ranges, which would be those of the line. All parts of a line have one time, so that none is sent before the last one
// is answered; what comes behind the line may be answered before its end is.
func (l *sender) owing(m *Delivery, b *batch) (due []loss) {
	m.owed = slices.DeleteFunc(m.owed, func(o loss) bool {
		is := o.seq < b.seq && b.acknowledges(m) && !slices.ContainsFunc(l.inFlight, func(u *batch) bool {
			return o.seq < u.seq && u.seq < b.seq && u.acknowledges(m)
		})
		if is {
			due = append(due, o)
		}
		return is
	})
	return due
}

// lossLog returns the log of what the delivery loses for the reason of d.
func (m *Delivery) lossLog(log *slog.Logger, d loss) *faultlog.Loss {
	if l := m.losses[d.Reason]; l != nil {
		return l
	}
	var attrs []any
	if name, _, _ := m.feed.Backlog(); name != "" {
		attrs = append(attrs, "container", name)
	}
	attrs = append(attrs, "reason", d.Reason.String())
	if d.err != nil {
		attrs = append(attrs, "err", brief(d.err))
	}
	if hint := lossHint(d.Reason); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	m.losses[d.Reason] = faultlog.NewLoss(log, "CloudWatch does not accept log events: they are lost", attrs...)
	return m.losses[d.Reason]
}

// closeLossLogs logs what was lost since the last lines.
func (m *Delivery) closeLossLogs() {
	for _, l := range m.losses {
		if l != nil {
			l.Close()
		}
	}
}
