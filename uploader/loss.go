package uploader

import (
	"slices"
	"time"

	"github.com/logspool/logspool/events"
)

// lose accounts for events that the service did not take.
func (l *lane) lose(b *batch, why Reason, lost []record) {
	if len(lost) == 0 {
		return
	}
	d := Dropped{
		Target: l.target, Reason: why, Events: len(lost),
		From: time.Unix(0, lost[0].time), To: time.Unix(0, lost[len(lost)-1].time),
	}
	for _, r := range lost {
		d.Bytes += int64(r.bytes)
	}
	d.Bytes += int64(b.lost) // of the only event of such a batch
	l.drop(b, d)
}

// drop accounts for events of a batch that will not be delivered. Of several feeds that share the stream, one is
// told: it stands for the stream. A batch that acknowledges nothing has but parts of a line whose last part has
// the ranges of all: what is lost of it is owed until that part is acknowledged. If the feed is rewound before, the
// whole line comes again, and what is lost is found again.
func (l *lane) drop(b *batch, d Dropped) {
	for _, part := range b.parts {
		if len(part.ranges) > 0 {
			var whole []events.Range
			if d.Events == len(b.records) && len(b.parts) == 1 {
				whole = part.ranges
			}
			l.tell(part.member, d, whole)
			return
		}
	}
	m := b.parts[0].member
	m.owed = append(m.owed, owed{d, b.seq})
}

// owed is a loss that its feed has to be told of at an acknowledgement to come.
type owed struct {
	Dropped
	seq uint64 // of the batch
}

// tell counts a loss and tells of it. The acknowledgement that the feed accounts for it with must follow.
func (l *lane) tell(m *Subscription, d Dropped, ranges []events.Range) {
	l.u.drop(d)
	m.feed.Lost(d.Reason.String(), ranges, d.Events, d.Bytes, d.From, d.To)
}

// owing removes and returns what is owed for lines of the member that end in b: no batch between the loss and b has
// ranges, which would be those of the line. All parts of a line have one time, so that none is sent before the last one
// is answered; what comes behind the line may be answered before its end is.
func (l *lane) owing(m *Subscription, b *batch) (due []owed) {
	m.owed = slices.DeleteFunc(m.owed, func(o owed) bool {
		is := o.seq < b.seq && b.acknowledges(m) && !slices.ContainsFunc(l.underWay, func(u *batch) bool {
			return o.seq < u.seq && u.seq < b.seq && u.acknowledges(m)
		})
		if is {
			due = append(due, o)
		}
		return is
	})
	return due
}
