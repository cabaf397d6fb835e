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

func (x *loss) add(b *batch, r record) {
	at := time.Unix(0, r.time)
	if x.Events == 0 || at.Before(x.From) {
		x.From = at
	}
	if x.Events == 0 || at.After(x.To) {
		x.To = at
	}
	x.Events++
	x.Bytes += int64(r.bytes)
	x.ranges = append(x.ranges, b.ranges[r.rangesFrom:r.rangesTo]...)
}

// recordLoss accounts for events that CloudWatch does not have and never will. Each feed gets its own, at the acknowledgement
// that covers them. Pieces of a line that ends in a later batch are owed until that batch is acknowledged. If the feed is
// rewound before, the whole line comes again, and what is lost is found again.
func (s *sender) recordLoss(b *batch, why events.LossReason, lost []record, err error) {
	if len(lost) == 0 {
		return
	}
	now, later := make([]loss, len(b.parts)), make([]loss, len(b.parts))
	for _, r := range lost {
		if r.hasRanges() || r.offset < b.parts[r.part].rangedEnd {
			now[r.part].add(b, r)
		} else {
			later[r.part].add(b, r)
		}
	}
	for i := range b.parts {
		for _, x := range []*loss{&now[i], &later[i]} {
			if x.Events == 0 {
				continue
			}
			x.Target, x.Reason, x.err, x.seq = s.target, why, err, b.seq
			x.Bytes += int64(b.cutBytes) // of the only event of such a batch
			if d := b.parts[i].delivery; x == &now[i] {
				s.reportLoss(d, *x)
			} else {
				d.owed = append(d.owed, *x)
			}
		}
	}
}

// recordCutEnd accounts for the end of the only event of a batch, which was cut off.
func (s *sender) recordCutEnd(b *batch) {
	r := b.records[0]
	t := time.Unix(0, r.time)
	x := loss{Dropped: Dropped{Target: s.target, Reason: events.TooLarge, Events: 1, Bytes: int64(b.cutBytes), From: t, To: t}, seq: b.seq}
	if d := b.parts[r.part].delivery; r.hasRanges() {
		s.reportLoss(d, x)
	} else {
		d.owed = append(d.owed, x)
	}
}

// reportLoss counts and logs a loss and reports it to its feed. The acknowledgement that the feed accounts for it with must
// follow.
func (s *sender) reportLoss(d *Delivery, x loss) {
	x.Events, x.Bytes = d.feed.Lost(x.Reason, x.ranges, x.Events, x.Bytes, x.From, x.To)
	if x.Events == 0 {
		return
	}
	s.u.countDropped(x.Dropped)
	d.lossLog(s.log, x).Lost(x.Events, x.Bytes)
}

// takeOwed removes and returns what is owed for lines of the delivery that end in b: no batch between the loss and b has
// ranges, which would be those of the line. All parts of a line have one time, so that none is sent before the last one
// is answered; what comes behind the line may be answered before its end is.
func (s *sender) takeOwed(d *Delivery, b *batch) (due []loss) {
	d.owed = slices.DeleteFunc(d.owed, func(o loss) bool {
		is := o.seq < b.seq && b.acknowledges(d) && !slices.ContainsFunc(s.inFlight, func(u *batch) bool {
			return o.seq < u.seq && u.seq < b.seq && u.acknowledges(d)
		})
		if is {
			due = append(due, o)
		}
		return is
	})
	return due
}

// lossLog returns the log of what the delivery loses for the reason of d.
func (d *Delivery) lossLog(log *slog.Logger, x loss) *faultlog.Loss {
	if loss := d.losses[x.Reason]; loss != nil {
		return loss
	}
	var attrs []any
	if name, _, _ := d.feed.Backlog(); name != "" {
		attrs = append(attrs, "container", name)
	}
	attrs = append(attrs, "reason", x.Reason.String())
	if x.err != nil {
		attrs = append(attrs, "err", brief(x.err))
	}
	if hint := lossHint(x.Reason); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	d.losses[x.Reason] = faultlog.NewLoss(log, "CloudWatch does not accept log events: they are lost", attrs...)
	return d.losses[x.Reason]
}

// closeLossLogs logs what was lost since the last lines.
func (d *Delivery) closeLossLogs() {
	for _, loss := range d.losses {
		if loss != nil {
			loss.Close()
		}
	}
}
