package events

import (
	"encoding/binary"
)

// Whole is a frame that is a complete line.
type Whole struct {
	Source Source
	Time   int64
	Line   []byte // Line is a part of the stream that was decoded.
	Size   int    // Size is the length of the frame in the stream, with its header.
}

// The beginning of a frame's payload as dockerd writes it: the tag of the source, its length
// and its name, and then the tag of the time.
const (
	headerSize   = 4 // the big-endian length of the payload
	sourceSize   = 8
	stdoutSource = 0x74756f6474730600 + tagSource // "\x0a\x06stdout" in little-endian order
	stderrSource = 0x7272656474730600 + tagSource
	// minWhole is less than the length of any frame that DecodeWhole accepts, and enough to
	// read its first fields.
	minWhole = headerSize + sourceSize + 1 + timeSize + 2
	// timeSize is the length of a time between 1972 and 2262.
	timeSize = 9
)

// DecodeWhole decodes the frame at the beginning of stream if it is a complete line in the
// form in which dockerd writes it. It returns false for every other frame, valid or not, which
// the caller must pass to Decode. What it returns is what Decode returns.
func DecodeWhole(stream []byte, w *Whole) bool {
	if len(stream) < minWhole {
		return false
	}
	size := headerSize + int(binary.BigEndian.Uint32(stream))
	if size < minWhole || size > len(stream) {
		return false
	}
	switch binary.LittleEndian.Uint64(stream[headerSize:]) {
	case stdoutSource:
		w.Source = Stdout
	case stderrSource:
		w.Source = Stderr
	default:
		return false
	}
	p := stream[headerSize+sourceSize : size : size]
	at, ok := decodeTime(p[1:])
	if p[0] != tagTime || !ok || p[1+timeSize] != tagLine {
		return false
	}
	p = p[2+timeSize:]
	n, taken := int(p[0]), 1
	if n >= 1<<7 {
		long, read := binary.Uvarint(p)
		if read <= 0 || long > uint64(len(p)) {
			return false
		}
		n, taken = int(long), read
	}
	if taken+n != len(p) {
		return false // more fields follow
	}
	w.Time, w.Line, w.Size = at, p[taken:], size
	return true
}

// decodeTime decodes a varint of exactly nine bytes, of which it joins the first eight at
// once.
func decodeTime(p []byte) (ns int64, ok bool) {
	w, last := binary.LittleEndian.Uint64(p), p[timeSize-1]
	if w&highs != highs || last >= 1<<7 {
		return 0, false
	}
	w &^= highs
	w = w&0x007f007f007f007f | w&0x7f007f007f007f00>>1
	w = w&0x00003fff00003fff | w&0x3fff00003fff0000>>2
	w = w&0x000000000fffffff | w&0x0fffffff00000000>>4
	return int64(w | uint64(last)<<56), true
}
