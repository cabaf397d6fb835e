package spool

import (
	"bytes"
	"encoding/binary"
)

// A frame is what dockerd writes with one write(2): a big-endian u32 length and that many
// bytes of protobuf (moby, api/types/plugins/logdriver/io.go). The spool knows only the
// length and the time of a frame.
const (
	frameHeaderSize = 4

	// MaxFrame is the maximum length of a frame, in bytes of protobuf; a greater length is
	// damage. dockerd cuts lines at 16 KiB (moby, daemon/logger/copier.go, defaultBufSize).
	// Other writers may use a megabyte, and the rest is for the other fields.
	MaxFrame = 1<<20 + 64<<10

	// signatureSize is how many bytes from a frame's start are needed to recognise a
	// frame in unknown bytes: the length, `0a 06 "stdout"` or `0a 06 "stderr"`, and the
	// tag of the time.
	signatureSize = frameHeaderSize + 9
)

var (
	signatureStdout = []byte("\x0a\x06stdout\x10")
	signatureStderr = []byte("\x0a\x06stderr\x10")
)

// frameLength returns the length in the frame header at the start of p, and whether a
// frame may begin like that. p must hold the four bytes of the length. The first byte of
// protobuf is checked if p holds it.
func frameLength(p []byte) (n int, plausible bool) {
	l := binary.BigEndian.Uint32(p)
	if l == 0 || l > MaxFrame {
		return 0, false
	}
	if len(p) > frameHeaderSize {
		tag := p[frameHeaderSize]
		wire := tag & 7
		if tag>>3 == 0 || wire != 0 && wire != 1 && wire != 2 && wire != 5 {
			return 0, false
		}
	}
	return int(l), true
}

// findFrame returns the offset of the first place in p where a frame surely begins; -1 if
// there is none. It finds the next frame after damage.
func findFrame(p []byte) int {
	for off := 0; ; {
		i := nextSignature(p[off:])
		if i < 0 {
			return -1
		}
		off += i
		if start := off - frameHeaderSize; start >= 0 {
			if _, ok := frameLength(p[start:]); ok {
				return start
			}
		}
		off++
	}
}

func nextSignature(p []byte) int {
	a := bytes.Index(p, signatureStdout)
	if a >= 0 {
		p = p[:a+len(signatureStdout)-1] // only an earlier one matters
	}
	if b := bytes.Index(p, signatureStderr); b >= 0 {
		return b
	}
	return a
}

// frameTime returns time_nano, field 2 of the LogEntry; 0 if p does not include it. p is the
// protobuf of a frame, or the beginning of it.
func frameTime(p []byte) int64 {
	// dockerd writes field 1 and then field 2. A few other fields are skipped.
	for range 8 {
		tag, n := binary.Uvarint(p)
		if n <= 0 {
			return 0
		}
		p = p[n:]
		switch tag & 7 {
		case 0:
			v, n := binary.Uvarint(p)
			if n <= 0 {
				return 0
			}
			if tag>>3 == 2 {
				return int64(v)
			}
			p = p[n:]
		case 1:
			if len(p) < 8 {
				return 0
			}
			p = p[8:]
		case 2:
			l, n := binary.Uvarint(p)
			if n <= 0 || l > uint64(len(p)-n) {
				return 0
			}
			p = p[n+int(l):]
		case 5:
			if len(p) < 4 {
				return 0
			}
			p = p[4:]
		default:
			return 0
		}
	}
	return 0
}

// tail is the state of a stream at any place, which need not be the end of a frame.
type tail struct {
	remaining uint32  // remaining is how many bytes of the last frame are still to come.
	prefix    [3]byte // prefix has the first bytes of an incomplete length.
	prefixLen uint8
}

// boundary reports whether the place is the end of a frame.
func (t tail) boundary() bool { return t.remaining == 0 && t.prefixLen == 0 }

// BlockInfo describes a piece of the stream. First is the piece's length if no frame starts in
// it. The times are 0 if no frame has one.
type BlockInfo struct {
	First   int   // First is the offset of the first frame that starts in the piece.
	Frames  int   // Frames is the number of frames that start in the piece.
	MinTime int64 // MinTime is the least time of these frames, in Unix nanoseconds.
	MaxTime int64 // MaxTime is the greatest time of these frames, in Unix nanoseconds.

	// Skipped is how many bytes Tracker passed over because they are damaged. It is not on
	// disk.
	Skipped int

	tail tail
}

// Remaining returns the number of bytes of the last frame that are still to come. It is also 0
// if the frame's length is incomplete.
func (i BlockInfo) Remaining() int { return int(i.tail.remaining) }

// Tracker follows a stream, and knows where frames start in it. The zero value is at the
// start of a frame.
type Tracker struct{ tail tail }

// Tracker returns a tracker at the end of the described piece of the stream.
func (i BlockInfo) Tracker() Tracker { return Tracker{i.tail} }

// Whole returns the length of the longest part of p, from its start, that ends with a whole
// frame, and describes that part. p follows the tracker's place in the stream. The length is 0
// if p contains no end of a frame. Whole does not move the tracker: see Advance.
func (t *Tracker) Whole(p []byte) (int, BlockInfo) { return t.scan(p, true) }

// All describes all of p, whether it ends with a whole frame or not.
func (t *Tracker) All(p []byte) BlockInfo { _, i := t.scan(p, false); return i }

// Advance moves the tracker to the end of the piece of the stream that i describes.
func (t *Tracker) Advance(i BlockInfo) { t.tail = i.tail }

func (t *Tracker) scan(p []byte, whole bool) (int, BlockInfo) {
	info := BlockInfo{First: len(p)}
	off, complete := t.firstFrame(p, &info.tail)
	if !complete {
		return 0, info
	}
	end, atEnd := off, info // the part that ends with a whole frame
	for off < len(p) {
		rest := p[off:]
		if len(rest) < frameHeaderSize {
			info.First = min(info.First, off)
			info.tail.prefixLen = uint8(copy(info.tail.prefix[:], rest))
			info.Frames++
			break
		}
		l, ok := frameLength(rest)
		if !ok {
			// Damage. It goes into the spool as it is; only the start of the next frame
			// matters. A signature may be cut by the end of p, so that much is left for
			// the next call.
			from, skip := off, findFrame(rest[1:])
			switch {
			case skip >= 0:
				off += 1 + skip
			case whole:
				off = max(off+1, len(p)-signatureSize+1)
			default:
				off = len(p)
			}
			info.Skipped += off - from
			end, atEnd = off, info
			if skip < 0 {
				break
			}
			continue
		}
		info.First = min(info.First, off)
		info.Frames++
		next := off + frameHeaderSize + l
		info.addTime(frameTime(rest[frameHeaderSize:min(len(rest), frameHeaderSize+l)]))
		if next > len(p) {
			info.tail.remaining = uint32(next - len(p))
			break
		}
		off = next
		end, atEnd = off, info
	}
	if !whole {
		return len(p), info
	}
	atEnd.First = min(atEnd.First, end)
	return end, atEnd
}

// firstFrame returns the offset in p at which the first frame starts. complete is false if the
// frame before it does not end in p; then to is set to the state at the end of p.
func (t *Tracker) firstFrame(p []byte, to *tail) (off int, complete bool) {
	off = int(t.tail.remaining)
	if t.tail.prefixLen > 0 {
		// Complete the length first.
		var header [frameHeaderSize]byte
		had := copy(header[:], t.tail.prefix[:t.tail.prefixLen])
		n := copy(header[had:], p)
		if had+n < frameHeaderSize {
			*to = t.tail
			to.prefixLen += uint8(copy(to.prefix[had:], p))
			return 0, false
		}
		l, ok := frameLength(header[:])
		if !ok {
			l = 0 // damage: look for the next frame from here on
		}
		off = n + l
	}
	if off > len(p) {
		*to = tail{remaining: uint32(off - len(p))}
		return 0, false
	}
	return off, true
}

func (i *BlockInfo) addTime(t int64) {
	if t == 0 {
		return
	}
	if i.MinTime == 0 || t < i.MinTime {
		i.MinTime = t
	}
	if t > i.MaxTime {
		i.MaxTime = t
	}
}
