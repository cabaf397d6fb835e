package uploader

import (
	"cmp"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// batch is one PutLogEvents call: a finished body, and what has to be known of its events once the
// answer is there. The sender that built it owns it, except for out while the request is in flight.
type batch struct {
	out  []byte // the request's body
	gzip bool   // out is compressed

	seq uint64 // its number among the sender's batches, in the order in which they were made

	records []record       // one an event, in the body's order
	ranges  []stream.Range // of all records, in the order in which the events were added
	parts   []part         // whose events they are
	message int64          // bytes the service counts: messages and eventOverhead each
	body    int            // bytes of the body before it was compressed
	minMS   int64
	maxMS   int64

	cutBytes int // bytes that had to be cut off the one message that was too large
	permit   *permit
	weight   int64 // what it holds of the uploader's retained budget

	rejected rejected // filled in after the request
}

// bytesHeld is the memory that the batch holds while it is in flight.
func (b *batch) bytesHeld() int64 {
	return int64(cap(b.out)) + int64(cap(b.records))*int64(unsafe.Sizeof(record{})) +
		int64(cap(b.ranges))*int64(unsafe.Sizeof(stream.Range{}))
}

// record is one event of a batch.
type record struct {
	time   int64  // nanoseconds since the epoch, as dockerd gave it; CloudWatch keeps milliseconds
	offset uint32 // where the event's JSON begins in the builder's body
	size   uint32 // length of that JSON, its trailing comma included
	bytes  uint32 // the message as the service counts it, without eventOverhead
	part   uint32 // index of the part that the event is of

	// rangesFrom and rangesTo bound the event's ranges in the batch's. They are equal for an event that was made from
	// the middle of a very large frame: the frame is acknowledged with a later one.
	rangesFrom, rangesTo uint32
}

// hasRanges reports whether the acknowledgement of the record's part covers the event itself.
func (r record) hasRanges() bool { return r.rangesTo > r.rangesFrom }

// part is what one delivery gave to a batch.
type part struct {
	delivery *Delivery
	ranges   []stream.Range
	// rangedEnd is one more than the offset of the last event that has ranges; 0: there is none. Pieces of a line that
	// come after it are acknowledged by a later batch.
	rangedEnd uint32
}

// fit says whether an event went into the batch.
type fit int

const (
	taken   fit = iota
	noRoom      // the batch is full: send it, the event begins the next one
	tooFar      // too far in time from the batch's events: another delivery's may still fit
	skipped     // nothing to send, but its ranges are the batch's
)

// builder collects the events of one batch. The events' JSON is written once, in the order in which the
// events come; where that is not the order of time, finish puts the pieces in order without
// escaping them again. A builder and its buffers are reused.
type builder struct {
	body   []byte // head, then each event's JSON with a trailing comma
	head   int    // length of what stands before the first event
	b      *batch
	size   size
	sorted bool
}

// begin starts a batch for the target, not larger than size.
func (bl *builder) begin(t target.Target, s size, b *batch) {
	bl.b, bl.size, bl.sorted = b, s, true
	body := appendString(append(bl.body[:0], `{"logGroupName":`...), t.Group)
	body = appendString(append(body, `,"logStreamName":`...), t.Stream)
	body = appendEntity(append(body, ','), t.Entity)
	body = append(body, `"logEvents":[`...)
	bl.body, bl.head = body, len(body)
	*b = batch{out: b.out[:0], records: b.records[:0], ranges: b.ranges[:0], parts: b.parts[:0], weight: b.weight}
}

// add takes one event of parts[p] into the batch, or says why it does not fit. It does not keep ev.
func (bl *builder) add(p int, ev events.Event) fit {
	b, n, msg := bl.b, len(bl.b.records), ev.Message
	if len(msg) == 0 { // the service refuses an empty message, and so the whole batch
		b.parts[p].addRanges(ev.Ranges)
		return skipped
	}
	ms := milliseconds(ev.Time)
	lo, hi := ms, ms
	if n > 0 {
		lo, hi = min(b.minMS, ms), max(b.maxMS, ms)
		room := bl.size.bytes - int(b.message) - eventOverhead
		switch {
		case n >= bl.size.events, len(msg) > room, len(bl.body) >= maxBodyBytes:
			return noRoom
		case hi-lo >= maxBatchSpan.Milliseconds():
			return tooFar
		case bl.nearlyFull() && ms != milliseconds(b.records[n-1].time):
			return noRoom
		}
	} else if len(msg) > maxMessageBytes/len(replacement) {
		// Only such a message can be too large for a batch of its own.
		msg = cut(msg, maxMessageBytes)
		b.cutBytes = len(ev.Message) - len(msg)
	}

	offset := len(bl.body)
	body := append(bl.body, `{"timestamp":`...)
	body = strconv.AppendInt(body, ms, 10)
	body = append(body, `,"message":"`...)
	body, counted := appendEscaped(body, msg)
	bl.body = append(body, `"},`...)
	if n > 0 && int(b.message)+counted+eventOverhead > bl.size.bytes {
		bl.body = bl.body[:offset] // it has grown where invalid UTF-8 was replaced
		return noRoom
	}
	bl.sorted = bl.sorted && (n == 0 || milliseconds(b.records[n-1].time) <= ms)
	b.append(p, ev.Ranges, record{
		time: ev.Time, offset: uint32(offset), size: uint32(len(bl.body) - offset), bytes: uint32(counted),
	})
	b.minMS, b.maxMS = lo, hi
	b.message += int64(counted + eventOverhead)
	return taken
}

// append adds the record of an event of parts[p] with these ranges.
func (b *batch) append(p int, ranges []stream.Range, r record) {
	r.part, r.rangesFrom = uint32(p), uint32(len(b.ranges))
	b.ranges = append(b.ranges, ranges...)
	r.rangesTo = uint32(len(b.ranges))
	b.records = append(b.records, r)
	b.parts[p].addRanges(ranges)
	if r.hasRanges() {
		b.parts[p].rangedEnd = r.offset + 1
	}
}

// nearlyFull reports whether the batch is in its last sixteenth, where it ends at the first change of the
// millisecond: a batch that shares no millisecond with the next may be in flight together with it.
func (bl *builder) nearlyFull() bool {
	return len(bl.b.records) >= bl.size.events-bl.size.events/16 ||
		int(bl.b.message) >= bl.size.bytes-bl.size.bytes/16
}

// finish writes the request's body into the batch: the events in the order of their milliseconds, those of one
// millisecond in the order in which they were added. Nanoseconds do not count: CloudWatch does not know them, and two
// lines of one millisecond may have been written in another order than they were stamped. z compresses the body; nil
// leaves it plain.
func (bl *builder) finish(z *compressor) {
	b := bl.b
	if !bl.sorted {
		slices.SortFunc(b.records, func(x, y record) int {
			return cmp.Or(cmp.Compare(milliseconds(x.time), milliseconds(y.time)), cmp.Compare(x.offset, y.offset))
		})
	}
	b.gzip = z != nil
	b.body = len(bl.body) - 1 + len(tail)
	switch {
	case z == nil && bl.sorted:
		// The buffers change places: the body is sent as it was built.
		b.out, bl.body = append(bl.body[:len(bl.body)-1], tail...), b.out[:0]
	case z == nil:
		b.out = bl.writeTo(b.out)
	default:
		z.begin(b.out)
		if bl.sorted {
			z.write(bl.body[:len(bl.body)-1])
		} else {
			z.write(bl.body[:bl.head])
			for i, r := range b.records {
				z.write(bl.piece(i, r))
			}
		}
		z.write(tail)
		b.out = z.end()
	}
	bl.b = nil
	if cap(bl.body) > 2*maxBodyBytes {
		bl.body = nil // a single event made it so large
	}
}

var tail = []byte("]}")

// writeTo appends the body in the order of the records.
func (bl *builder) writeTo(dst []byte) []byte {
	dst = append(dst, bl.body[:bl.head]...)
	for i, r := range bl.b.records {
		dst = append(dst, bl.piece(i, r)...)
	}
	return append(dst, tail...)
}

// piece returns the JSON of the event that comes i-th, with its comma unless it is the last.
func (bl *builder) piece(i int, r record) []byte {
	end := r.offset + r.size
	if i == len(bl.b.records)-1 {
		end--
	}
	return bl.body[r.offset:end]
}

// addRanges adds the ranges of one event, joining those that stand together.
func (p *part) addRanges(ranges []stream.Range) {
	for _, r := range ranges {
		if n := len(p.ranges); n > 0 && p.ranges[n-1].To == r.From {
			p.ranges[n-1].To = r.To
		} else {
			p.ranges = append(p.ranges, r)
		}
	}
}

// addPart returns the index of a new addPart for the delivery.
func (b *batch) addPart(d *Delivery) int {
	n := len(b.parts)
	if n < cap(b.parts) {
		b.parts = b.parts[:n+1] // with the ranges slice of an earlier batch, to be filled again
		b.parts[n] = part{delivery: d, ranges: b.parts[n].ranges[:0]}
	} else {
		b.parts = append(b.parts, part{delivery: d})
	}
	return n
}

// acknowledges reports whether the batch has ranges of the delivery's.
func (b *batch) acknowledges(d *Delivery) bool {
	return slices.ContainsFunc(b.parts, func(p part) bool { return p.delivery == d && len(p.ranges) > 0 })
}

// overlaps reports whether the two batches have a millisecond in common, or might have: then their order
// of arrival decides in which order the service shows those events.
func (b *batch) overlaps(o *batch) bool { return b.minMS <= o.maxMS && o.minMS <= b.maxMS }

// milliseconds is the service's time of an event. It takes no time before 1970.
func milliseconds(ns int64) int64 { return max(ns, 0) / int64(time.Millisecond) }

// size bounds a batch.
type size struct{ events, bytes int }

var (
	fullSize = size{maxBatchEvents, maxBatchBytes}
	// probeSize is for the first try after trouble, which may well be in vain.
	probeSize = size{500, 64 << 10}
)

// sizer decides how large the next batch may be: full, small while it is not clear whether the
// service takes any, and by halves where one event must be found that it never takes.
type sizer struct {
	now     size
	suspect int // one of so many events, the next ones, is to blame
}

// probe makes the next batch small.
func (s *sizer) probe() {
	s.now.bytes = min(s.now.bytes, probeSize.bytes)
	s.now.events = min(s.now.events, probeSize.events)
}

// refused reports that a batch of n events was rejected permanently.
func (s *sizer) refused(n int) {
	s.suspect = n
	s.now.events = max(1, n/2)
}

// accepted says that the next n events are through: delivered, or given up.
func (s *sizer) accepted(n int) {
	s.now.bytes = min(s.now.bytes*8, maxBatchBytes)
	if s.suspect -= n; s.suspect > 0 {
		s.now.events = max(1, s.suspect/2)
		return
	}
	s.suspect = 0
	s.now.events = min(max(s.now.events, n)*8, maxBatchEvents)
}

// appendEntity appends the entity as a member of PutLogEvents' body. The API wants two key attributes at least, one of them
// the type; an entity that lacks one is CloudWatch's to reject, which costs no events.
func appendEntity(body []byte, e target.Entity) []byte {
	if e == (target.Entity{}) {
		return body
	}
	body = append(body, `"entity":{"keyAttributes":{"Type":"Service"`...)
	for _, a := range []struct{ name, value string }{{"Name", e.Service}, {"Environment", e.Environment}} {
		if a.value != "" {
			body = append(body, `,"`+a.name+`":`...)
			body = appendString(body, a.value)
		}
	}
	body = append(body, '}')
	if e.Attributes != "" {
		body = append(append(body, `,"attributes":`...), e.Attributes...)
	}
	return append(body, `},`...)
}

// appendString appends s as a JSON string.
func appendString(body []byte, s string) []byte {
	body, _ = appendEscaped(append(body, '"'), []byte(s))
	return append(body, '"')
}
