package events

import "encoding/binary"

// AppendEntry appends the entry of a frame for docker logs. The entry is framed as in the
// FIFO, and has the text that json-file would return (moby, daemon/logger/jsonfilelog,
// marshalMessage): a newline ends every entry except the pieces of a divided line that
// are not its last, and U+FFFD replaces each byte that is not part of valid UTF-8.
func AppendEntry(to []byte, f *Frame) []byte {
	begin := len(to)
	to = append(to, 0, 0, 0, 0)
	switch f.Source {
	case Stdout:
		to = append(to, tagSource, 6, 's', 't', 'd', 'o', 'u', 't')
	case Stderr:
		to = append(to, tagSource, 6, 's', 't', 'd', 'e', 'r', 'r')
	}
	to = append(to, tagTime)
	to = binary.AppendUvarint(to, uint64(f.Time))
	to = append(to, tagLine)
	whole := !f.Partial || f.Last
	length := repairedLen(f.Line)
	if whole {
		length++
	}
	to = binary.AppendUvarint(to, uint64(length))
	to = appendRepaired(to, f.Line)
	if whole {
		to = append(to, '\n')
	}
	if f.Partial {
		to = append(to, tagPartial, 1)
		to = appendMetadata(to, f)
	}
	binary.BigEndian.PutUint32(to[begin:], uint32(len(to)-begin-4))
	return to
}

// appendMetadata appends the position of a piece in its line.
func appendMetadata(to []byte, f *Frame) []byte {
	var fixed [24]byte
	m := fixed[:0]
	if f.Last {
		m = append(m, tagLast, 1)
	}
	m = append(m, tagID)
	m = binary.AppendUvarint(m, uint64(len(f.PartialID)))
	ordinal := binary.AppendUvarint([]byte{tagOrdinal}, uint64(int64(f.Ordinal)))
	to = append(to, tagMetadata)
	to = binary.AppendUvarint(to, uint64(len(m)+len(f.PartialID)+len(ordinal)))
	to = append(to, m...)
	to = append(to, f.PartialID...)
	return append(to, ordinal...)
}
