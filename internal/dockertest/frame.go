package dockertest

import "encoding/binary"

// Frame returns a frame as dockerd writes it into a FIFO. at is the time in nanoseconds.
// meta is what the frame has besides source, time and line, in protobuf's encoding.
func Frame(source string, at int64, line string, meta []byte) []byte {
	p := append([]byte{0x0a, byte(len(source))}, source...)
	p = binary.AppendUvarint(append(p, 0x10), uint64(at))
	if line != "" {
		p = append(binary.AppendUvarint(append(p, 0x1a), uint64(len(line))), line...)
	}
	p = append(p, meta...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}
