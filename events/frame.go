package events

import (
	"encoding/binary"
	"fmt"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/gogo/protobuf/proto"
)

// Frame is one entry as dockerd wrote it: a complete line without its newline, or a piece
// of a line that is longer than dockerd's buffer of 16 KiB (moby,
// daemon/logger/copier.go). A line whose length is a multiple of 16 KiB has an empty last
// piece. Output that ends without a newline has no last piece.
//
// A dockerd before 20.10 sends pieces without PartialID, Ordinal and Last.
type Frame struct {
	Source Source
	// Time is dockerd's time in nanoseconds since the Unix epoch, which all pieces of one
	// line share.
	Time int64
	// Line is the text, which may be empty.
	Line []byte
	// Partial is set on every piece of a divided line, including the last one.
	Partial bool
	// PartialID is the same in all pieces of one line, and empty in complete lines.
	PartialID []byte
	// Ordinal counts the pieces of a line, from 1.
	Ordinal int32
	// Last is set on the last piece.
	Last bool
}

// Decode decodes the payload of one frame into f. The payload is the protobuf message
// without the four bytes of its length. Decode accepts the same payloads as
// proto.Unmarshal of a logdriver.LogEntry, and returns the same values. f.Line and
// f.PartialID may be parts of payload: they are valid as long as payload is.
//
// A payload in the order and form in which dockerd writes it costs no allocation. After
// an error, f is the zero Frame.
func Decode(payload []byte, f *Frame) error {
	if decodeUsual(payload, f) {
		return nil
	}
	*f = Frame{}
	var e logdriver.LogEntry
	if err := proto.Unmarshal(payload, &e); err != nil {
		return fmt.Errorf("couldn't decode a frame of %d bytes: %w", len(payload), err)
	}
	f.Source = sourceOf([]byte(e.Source))
	f.Time, f.Line, f.Partial = e.TimeNano, e.Line, e.Partial
	if m := e.PartialLogMetadata; m != nil {
		f.PartialID, f.Ordinal, f.Last = []byte(m.Id), m.Ordinal, m.Last
	}
	return nil
}

// sourceOf returns the Source that dockerd calls name.
func sourceOf(name []byte) Source {
	switch string(name) {
	case "stdout":
		return Stdout
	case "stderr":
		return Stderr
	default:
		return Unknown
	}
}

// The tags are the first bytes of the fields of LogEntry and PartialLogEntryMetadata:
// field number times 8, plus the wire type (moby,
// api/types/plugins/logdriver/entry.proto).
const (
	varint = 0
	length = 2

	tagSource   = 1*8 + length
	tagTime     = 2*8 + varint
	tagLine     = 3*8 + length
	tagPartial  = 4*8 + varint
	tagMetadata = 5*8 + length

	tagLast    = 1*8 + varint
	tagID      = 2*8 + length
	tagOrdinal = 3*8 + varint
)

// decodeUsual decodes a payload that has each field at most once and in ascending order,
// as the generated MarshalTo writes them. It returns false for all other payloads, valid
// or not, which the official codec must decode. The contents of f are then undefined.
func decodeUsual(payload []byte, f *Frame) bool {
	*f = Frame{}
	p := parser{rest: payload}
	if p.tag(tagSource) {
		f.Source = sourceOf(p.bytes())
	}
	if p.tag(tagTime) {
		f.Time = int64(p.varint())
	}
	if p.tag(tagLine) {
		f.Line = p.bytes()
	}
	if p.tag(tagPartial) {
		f.Partial = p.bool()
	}
	if p.tag(tagMetadata) {
		m := parser{rest: p.bytes()}
		if m.tag(tagLast) {
			f.Last = m.bool()
		}
		if m.tag(tagID) {
			f.PartialID = m.bytes()
		}
		if m.tag(tagOrdinal) {
			f.Ordinal = int32(m.varint()) // cut to 32 bits, as the codec does
		}
		if !m.done() {
			return false
		}
	}
	return p.done()
}

// parser takes fields off the front of a message. Once it finds something unusual, it
// stays bad.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) done() bool { return !p.bad && len(p.rest) == 0 }

// tag takes one tag byte if it comes next.
func (p *parser) tag(b byte) bool {
	if p.bad || len(p.rest) == 0 || p.rest[0] != b {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) varint() uint64 {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 {
		p.bad = true
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *parser) bool() bool {
	v := p.varint()
	p.bad = p.bad || v > 1
	return v == 1
}

func (p *parser) bytes() []byte {
	n := p.varint()
	if p.bad || n > uint64(len(p.rest)) {
		p.bad = true
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}
