package driver

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/logspool/logspool/events"
)

// The first bytes of the fields of LogEntry and PartialLogEntryMetadata: field number times 8, plus the wire type
// (moby, api/types/plugins/logdriver/entry.proto).
const (
	entrySource   = 1<<3 | 2
	entryTime     = 2 << 3
	entryLine     = 3<<3 | 2
	entryPartial  = 4 << 3
	entryMetadata = 5<<3 | 2

	metadataLast    = 1 << 3
	metadataID      = 2<<3 | 2
	metadataOrdinal = 3 << 3
)

// appendEntry appends an entry as docker logs wants it: framed as in the FIFO, with what json-file gives for its text
// (moby, daemon/logger/jsonfilelog, marshalMessage). That is a newline after what ended a line, so after every entry
// but the pieces of a divided line that are not its last; and U+FFFD for each byte that is not UTF-8, as JSON has it.
func appendEntry(to []byte, f *events.Frame) []byte {
	begin := len(to)
	to = append(to, 0, 0, 0, 0)
	switch f.Source {
	case events.Stdout:
		to = append(to, entrySource, 6, 's', 't', 'd', 'o', 'u', 't')
	case events.Stderr:
		to = append(to, entrySource, 6, 's', 't', 'd', 'e', 'r', 'r')
	}
	to = append(to, entryTime)
	to = binary.AppendUvarint(to, uint64(f.Time))
	to = append(to, entryLine)
	whole := !f.Partial || f.Last
	length := textLength(f.Line)
	if whole {
		length++
	}
	to = binary.AppendUvarint(to, uint64(length))
	to = appendText(to, f.Line)
	if whole {
		to = append(to, '\n')
	}
	if f.Partial {
		to = append(to, entryPartial, 1)
		to = appendMetadata(to, f)
	}
	binary.BigEndian.PutUint32(to[begin:], uint32(len(to)-begin-4))
	return to
}

// appendMetadata appends where a piece stands in its line.
func appendMetadata(to []byte, f *events.Frame) []byte {
	var fixed [24]byte
	m := fixed[:0]
	if f.Last {
		m = append(m, metadataLast, 1)
	}
	m = append(m, metadataID)
	m = binary.AppendUvarint(m, uint64(len(f.PartialID)))
	ordinal := binary.AppendUvarint([]byte{metadataOrdinal}, uint64(int64(f.Ordinal)))
	to = append(to, entryMetadata)
	to = binary.AppendUvarint(to, uint64(len(m)+len(f.PartialID)+len(ordinal)))
	to = append(to, m...)
	to = append(to, f.PartialID...)
	return append(to, ordinal...)
}

// textLength returns how many bytes appendText appends.
func textLength(p []byte) int {
	n := len(p)
	if utf8.Valid(p) {
		return n
	}
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			n += utf8.RuneLen(utf8.RuneError) - 1
		}
		p = p[size:]
	}
	return n
}

// appendText appends p with U+FFFD in the place of each byte that is not UTF-8.
func appendText(to, p []byte) []byte {
	if utf8.Valid(p) {
		return append(to, p...)
	}
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		to = utf8.AppendRune(to, r)
		p = p[size:]
	}
	return to
}
