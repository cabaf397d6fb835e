package main

import (
	"bytes"
	"strconv"

	"github.com/klauspost/compress/gzip"
)

// The limits of PutLogEvents.
const (
	maxEvents  = 10_000
	maxBytes   = 1 << 20
	eventBytes = 26 // what an event counts besides its message
)

// batch is the body of a PutLogEvents request in the making.
type batch struct {
	head   int // head is the length of the body without events.
	body   []byte
	events int
	bytes  int

	zipped bytes.Buffer
	gzip   *gzip.Writer
}

func (s *service) newBatch(stream string) *batch {
	b := &batch{body: make([]byte, 0, 2*maxBytes)}
	b.body = append(b.body, `{"logGroupName":"`...)
	b.body = appendEscaped(b.body, []byte(s.group))
	b.body = append(b.body, `","logStreamName":"`...)
	b.body = appendEscaped(b.body, []byte(stream))
	b.body = append(b.body, `","logEvents":[`...)
	b.head = len(b.body)
	b.gzip, _ = gzip.NewWriterLevel(&b.zipped, gzip.BestSpeed)
	return b
}

func (b *batch) reset() { b.body, b.events, b.bytes = b.body[:b.head], 0, 0 }

func (b *batch) hasSpace(line int) bool {
	return b.events < maxEvents && b.bytes+line+eventBytes <= maxBytes
}

func (b *batch) add(nanoseconds int64, line []byte) {
	if b.events > 0 {
		b.body = append(b.body, ',')
	}
	b.body = append(b.body, `{"timestamp":`...)
	b.body = strconv.AppendInt(b.body, nanoseconds/1e6, 10)
	b.body = append(b.body, `,"message":"`...)
	b.body = appendEscaped(b.body, line)
	b.body = append(b.body, `"}`...)
	b.events++
	b.bytes += len(line) + eventBytes
}

// appendEscaped appends text as it is inside a JSON string.
func appendEscaped(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// finish returns the body. It is valid until the next reset.
func (b *batch) finish(compress bool) ([]byte, error) {
	b.body = append(b.body, "]}"...)
	if !compress {
		return b.body, nil
	}
	b.zipped.Reset()
	b.gzip.Reset(&b.zipped)
	if _, err := b.gzip.Write(b.body); err != nil {
		return nil, err
	}
	err := b.gzip.Close()
	return b.zipped.Bytes(), err
}
