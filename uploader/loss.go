package uploader

import (
	"log/slog"
	"slices"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/stream"
)

// loss is what one delivery loses of one batch for one reason.
type loss struct {
	reason   events.LossReason
	events   int
	bytes    int64 // bytes is the size of the lost messages, as CloudWatch counts it.
	from, to time.Time
	ranges   []stream.Range // ranges has the ranges of the events that are lost completely.
	err      error          // err is CloudWatch's error, if it gave one.
	seq      uint64         // seq is the seq of the batch.
}

// add adds an event of the batch.
func (l *loss) add(b *batch, r record) {
	at := time.Unix(0, r.time)
	if l.events == 0 || at.Before(l.from) {
		l.from = at
	}
	if l.events == 0 || at.After(l.to) {
		l.to = at
	}
	l.events++
	l.bytes += int64(r.bytes)
	l.ranges = append(l.ranges, b.ranges[r.rangesFrom:r.rangesTo]...)
}

// recordLoss accounts for events that CloudWatch does not have and never will. It reports
// to each feed its own events before the acknowledgement that covers them. Pieces of a line
// that ends in a later batch are deferred until that batch is acknowledged. If the feed is
// rewound before, the whole line is sent again, and the loss is found again.
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
		for _, l := range []*loss{&now[i], &later[i]} {
			if l.events == 0 {
				continue
			}
			l.reason, l.err, l.seq = why, err, b.seq
			l.bytes += int64(b.cutBytes) // a cut event is the only one of its batch
			if d := b.parts[i].delivery; l == &now[i] {
				s.reportLoss(d, *l)
			} else {
				d.deferred = append(d.deferred, *l)
			}
		}
	}
}

// recordCutEnd accounts for the end of the only event of a batch, which was cut off.
func (s *sender) recordCutEnd(b *batch) {
	r := b.records[0]
	t := time.Unix(0, r.time)
	l := loss{reason: events.TooLarge, events: 1, bytes: int64(b.cutBytes), from: t, to: t, seq: b.seq}
	if d := b.parts[r.part].delivery; r.hasRanges() {
		s.reportLoss(d, l)
	} else {
		d.deferred = append(d.deferred, l)
	}
}

// reportLoss counts a loss, logs it, and reports it to its feed. The Ack that covers the
// loss must follow.
func (s *sender) reportLoss(d *Delivery, l loss) {
	l.events, l.bytes = d.feed.Lost(l.reason, l.ranges, l.events, l.bytes, l.from, l.to)
	if l.events == 0 {
		return
	}
	s.svc.stats.lost(l)
	d.lossLog(s.log, l).Lost(l.events, l.bytes)
}

// takeDeferred removes and returns the deferred losses of lines that end in b. A line ends
// in b if no batch between the loss and b has ranges. Since all parts of
// a line have one time, no part is sent before the part before it is answered; what follows
// the line may be answered before its end is.
func (s *sender) takeDeferred(d *Delivery, b *batch) (due []loss) {
	d.deferred = slices.DeleteFunc(d.deferred, func(l loss) bool {
		is := l.seq < b.seq && b.acknowledges(d) && !slices.ContainsFunc(s.flight.batches, func(o *batch) bool {
			return l.seq < o.seq && o.seq < b.seq && o.acknowledges(d)
		})
		if is {
			due = append(due, l)
		}
		return is
	})
	return due
}

// lossLog returns the log of what the delivery loses for the reason of l.
func (d *Delivery) lossLog(log *slog.Logger, l loss) *faultlog.Loss {
	if known := d.logs[l.reason]; known != nil {
		return known
	}
	var attrs []any
	if name, _, _ := d.feed.Backlog(); name != "" {
		attrs = append(attrs, "container", name)
	}
	attrs = append(attrs, "reason", l.reason.String())
	if l.err != nil {
		attrs = append(attrs, "err", ErrorText(l.err))
	}
	if hint := lossHint(l.reason); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	d.logs[l.reason] = faultlog.NewLoss(log, "CloudWatch does not accept log events; they are lost, and a marker in the stream reports them", attrs...)
	return d.logs[l.reason]
}

// closeLossLogs logs what was lost since the last summary.
func (d *Delivery) closeLossLogs() {
	for _, l := range d.logs {
		if l != nil {
			l.Close()
		}
	}
}
