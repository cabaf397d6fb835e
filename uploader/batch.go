package uploader

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// batch is one PutLogEvents call: a finished body, and what must be known about its events
// when the answer arrives. The sender that built the batch owns it. While the request is in
// flight, the payload and the records belong to the request.
type batch struct {
	seq uint64 // seq is the batch's number among the sender's batches, in build order.
	payload
	contents
	permit *permit
	memory

	rejected rejected // rejected is set by the request.
}

// payload is a request's body.
type payload struct {
	out       []byte
	gzip      bool // gzip says that out is compressed.
	plainSize int  // plainSize is the body's length before compression.
}

// contents are the events of a batch.
type contents struct {
	// records has one record for each event, in the body's order.
	records []record
	// ranges has the ranges of all records, in the order in which the events were added.
	ranges []stream.Range
	// parts has one part for each delivery whose events these are.
	parts []part

	// counted is the size of the events as CloudWatch counts it: the messages, and
	// eventOverhead for each.
	counted int64
	// minMS and maxMS are the times of the earliest and the latest event, in milliseconds
	// since 1970.
	minMS, maxMS int64
	// cutBytes is how many bytes were cut off the only message, because it was too large.
	cutBytes int
}

// large reports whether the finished batch is about as large as any can be: its bytes are at least
// half of the limit, or its events are nearly as many as the limit.
func (b *batch) large() bool {
	return b.counted >= maxBatchBytes/2 || len(b.records) >= maxBatchEvents*7/8 || b.plainSize >= maxBodyBytes/2
}

// record is one event of a batch. It has no ranges if the event was made from the middle
// of a very large frame, which a later event acknowledges.
type record struct {
	// time is the event's time as dockerd gave it, in nanoseconds since 1970.
	time int64
	// offset is where the event's JSON begins in the builder's body.
	offset uint32
	// size is the length of that JSON, with its trailing comma.
	size uint32
	// bytes is the size of the message as CloudWatch counts it, without eventOverhead.
	bytes uint32
	// part is the index of the event's part.
	part uint32

	// rangesFrom and rangesTo bound the event's ranges in the batch's ranges.
	rangesFrom, rangesTo uint32
}

// hasRanges reports whether the acknowledgement of the record's part covers the event
// itself.
func (r record) hasRanges() bool { return r.rangesTo > r.rangesFrom }

// part is what one delivery gave to a batch. Events from rangedEnd on are pieces of a
// line that a later batch acknowledges.
type part struct {
	delivery *Delivery
	ranges   []stream.Range
	// rangedEnd is one more than the offset of the last event that has ranges, and 0 if
	// none has.
	rangedEnd uint32

	// keptEvents counts the events that CloudWatch accepted and did not drop.
	keptEvents int
	// keptBytes is their size as CloudWatch counts it.
	keptBytes int64
}

// fit says whether an event went into a batch.
type fit int

const (
	taken   fit = iota // it is in the batch
	noRoom             // the batch is full, and the event begins the next one
	tooFar             // the event is too far in time from the batch's events, but another may fit
	skipped            // there is nothing to send, but the batch acknowledges the event's ranges
)

// builder collects the events of one batch. It writes the JSON of each event once, in the
// order in which the events are added. If that is not their order in time, finish sorts the
// pieces without escaping them again. A builder and its buffers are reused.
type builder struct {
	body   []byte // body is the head, and then each event's JSON with a trailing comma.
	head   int    // head is the length of the head, which is everything before the first event.
	b      *batch
	size   size
	sorted bool // sorted says that the events were added in their order in time.

	last   int64  // last is the millisecond of the event added last.
	prefix []byte // prefix is the JSON of an event of that millisecond before its message.
}

// begin starts a batch for the target that is not larger than s.
func (bl *builder) begin(t target.Target, s size, b *batch) {
	bl.b, bl.size, bl.sorted = b, s, true
	bl.setPrefix(0)
	body := appendString(append(bl.body[:0], `{"logGroupName":`...), t.Group)
	body = appendString(append(body, `,"logStreamName":`...), t.Stream)
	body = appendEntity(append(body, ','), t.Entity)
	body = append(body, `"logEvents":[`...)
	bl.body, bl.head = body, len(body)
	*b = batch{
		payload:  payload{out: b.out[:0]},
		contents: contents{records: b.records[:0], ranges: b.ranges[:0], parts: b.parts[:0]},
		memory:   b.memory,
	}
}

// add adds one event of parts[p] to the batch, or says why it does not fit. It does not
// keep ev.
func (bl *builder) add(p int, ev *events.Event) fit {
	b, n, msg := bl.b, len(bl.b.records), ev.Message
	if len(msg) == 0 { // CloudWatch refuses a batch that has an empty message
		b.parts[p].addRanges(ev.Ranges)
		return skipped
	}
	ms := milliseconds(ev.Time)
	lo, hi := ms, ms
	if n > 0 {
		lo, hi = min(b.minMS, ms), max(b.maxMS, ms)
		room := bl.size.bytes - int(b.counted) - eventOverhead
		switch {
		case n >= bl.size.events, len(msg) > room, len(bl.body) >= maxBodyGrowth*bl.size.bytes:
			return noRoom
		case hi-lo >= maxBatchSpan.Milliseconds():
			return tooFar
		case ms != bl.last && bl.nearlyFull():
			return noRoom
		}
	} else {
		msg = events.Truncate(msg, maxMessageBytes)
		b.cutBytes = len(ev.Message) - len(msg)
	}

	inOrder := n == 0 || bl.last <= ms
	if ms != bl.last {
		bl.setPrefix(ms)
	}
	offset := len(bl.body)
	body, counted := events.AppendEscaped(append(bl.body, bl.prefix...), msg)
	bl.body = append(body, `"},`...)
	if n > 0 && int(b.counted)+counted+eventOverhead > bl.size.bytes {
		bl.body = bl.body[:offset] // the message grew when invalid UTF-8 was replaced
		return noRoom
	}
	bl.sorted = bl.sorted && inOrder
	b.append(p, ev, offset, len(bl.body)-offset, counted)
	b.minMS, b.maxMS = lo, hi
	b.counted += int64(counted + eventOverhead)
	return taken
}

// setPrefix sets the prefix for a millisecond, which is that of many events of a busy
// container.
func (bl *builder) setPrefix(ms int64) {
	bl.last = ms
	bl.prefix = append(bl.prefix[:0], `{"timestamp":`...)
	bl.prefix = strconv.AppendInt(bl.prefix, ms, 10)
	bl.prefix = append(bl.prefix, `,"message":"`...)
}

// append adds the record of an event of parts[p], whose JSON has this offset and size in the
// body, and whose message counts as bytes.
func (b *batch) append(p int, ev *events.Event, offset, size, bytes int) {
	n := len(b.records)
	b.records = append(b.records, record{})
	r := &b.records[n] // filled in place: a record copied from elsewhere takes much longer
	r.time, r.offset, r.size, r.bytes, r.part = ev.Time, uint32(offset), uint32(size), uint32(bytes), uint32(p)
	r.rangesFrom = uint32(len(b.ranges))
	b.ranges = append(b.ranges, ev.Ranges...)
	r.rangesTo = uint32(len(b.ranges))
	b.parts[p].addRanges(ev.Ranges)
	if len(ev.Ranges) > 0 {
		b.parts[p].rangedEnd = r.offset + 1
	}
}

// nearlyFull reports whether the batch is in its last sixteenth. There it ends at the first
// new millisecond, because batches that have no millisecond in common may be in flight
// together.
func (bl *builder) nearlyFull() bool {
	return len(bl.b.records) >= bl.size.events-bl.size.events/16 ||
		int(bl.b.counted) >= bl.size.bytes-bl.size.bytes/16
}

// finish writes the request's body into the batch. The events are in the order of their
// milliseconds, and those of one millisecond in the order in which they were added.
// Nanoseconds do not count: CloudWatch does not know them, and dockerd may write two lines
// in another order than it stamped them. z compresses the body; if it is nil, the body is
// plain.
func (bl *builder) finish(z *compressor) {
	b := bl.b
	if !bl.sorted {
		slices.SortFunc(b.records, func(x, y record) int {
			return cmp.Or(cmp.Compare(milliseconds(x.time), milliseconds(y.time)), cmp.Compare(x.offset, y.offset))
		})
	}
	b.gzip = z != nil
	b.plainSize = len(bl.body) - 1 + len(tail)
	switch {
	case z == nil && bl.sorted:
		// The buffers change places, so that the body is sent as it was built.
		b.out, bl.body = append(bl.body[:len(bl.body)-1], tail...), b.out[:0]
	case z == nil:
		b.out = bl.appendSorted(b.out)
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

// appendSorted appends the body in the order of the records.
func (bl *builder) appendSorted(dst []byte) []byte {
	dst = append(dst, bl.body[:bl.head]...)
	for i, r := range bl.b.records {
		dst = append(dst, bl.piece(i, r)...)
	}
	return append(dst, tail...)
}

// piece returns the JSON of the i-th event, with its comma unless it is the last.
func (bl *builder) piece(i int, r record) []byte {
	end := r.offset + r.size
	if i == len(bl.b.records)-1 {
		end--
	}
	return bl.body[r.offset:end]
}

// addRanges adds the ranges of one event, and joins adjacent ones.
func (p *part) addRanges(ranges []stream.Range) {
	for _, r := range ranges {
		if n := len(p.ranges); n > 0 && p.ranges[n-1].To == r.From {
			p.ranges[n-1].To = r.To
		} else {
			p.ranges = append(p.ranges, r)
		}
	}
}

// addPart adds a part for the delivery and returns its index.
func (b *batch) addPart(d *Delivery) int {
	n := len(b.parts)
	if n < cap(b.parts) {
		b.parts = b.parts[:n+1] // reuse the memory of its ranges
		b.parts[n] = part{delivery: d, ranges: b.parts[n].ranges[:0]}
	} else {
		b.parts = append(b.parts, part{delivery: d})
	}
	return n
}

// acknowledges reports whether the batch has ranges of the delivery.
func (b *batch) acknowledges(d *Delivery) bool {
	return slices.ContainsFunc(b.parts, func(p part) bool { return p.delivery == d && len(p.ranges) > 0 })
}

// overlaps reports whether the two batches may have a millisecond in common. CloudWatch
// shows events of one millisecond in the order in which it received their batches.
func (b *batch) overlaps(o *batch) bool { return b.minMS <= o.maxMS && o.minMS <= b.maxMS }

// milliseconds returns CloudWatch's timestamp for a time in nanoseconds. CloudWatch accepts
// none before 1970.
func milliseconds(ns int64) int64 { return max(ns, 0) / int64(time.Millisecond) }

// size bounds a batch.
type size struct{ events, bytes int }

var (
	fullSize = size{maxBatchEvents, maxBatchBytes}
	// probeSize is the size of the first try after a failure, which may fail too.
	probeSize = size{500, 64 << 10}
	// littleSize is the size of a batch of a sender with little to send.
	littleSize = size{2 * littleEvents, 2 * littleBytes}
)

// atMost returns the smaller of two sizes.
func (s size) atMost(most size) size {
	return size{min(s.events, most.events), min(s.bytes, most.bytes)}
}

// sizer decides how large the next batch may be. A batch is full size normally, and small
// while it is unknown whether CloudWatch accepts any. While a poison event must be found,
// each batch is half as large as the one that was refused.
type sizer struct {
	now size
	// suspect is how many of the next events may include a poison event, and 0 if none is
	// searched for.
	suspect int
}

// probe makes the next batch small.
func (s *sizer) probe() {
	s.now.bytes = min(s.now.bytes, probeSize.bytes)
	s.now.events = min(s.now.events, probeSize.events)
}

// refused says that CloudWatch refused a batch of n events permanently.
func (s *sizer) refused(n int) {
	s.suspect = n
	s.now.events = max(1, n/2)
}

// completed says that the next n events are delivered or dropped.
func (s *sizer) completed(n int) {
	s.now.bytes = min(s.now.bytes*8, maxBatchBytes)
	if s.suspect -= n; s.suspect > 0 {
		s.now.events = max(1, s.suspect/2)
		return
	}
	s.suspect = 0
	s.now.events = min(max(s.now.events, n)*8, maxBatchEvents)
}

// appendEntity appends the entity as a member of PutLogEvents' body. The API requires at
// least two key attributes, one of them the type. CloudWatch rejects an entity that lacks
// one, which costs no events.
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
	body, _ = events.AppendEscaped(append(body, '"'), []byte(s))
	return append(body, '"')
}
