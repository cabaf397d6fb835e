package spool

import (
	"bytes"
	"encoding/binary"
)

// A frame is what dockerd writes with one write(2): a big-endian u32 length and that many bytes of
// protobuf (moby, api/types/plugins/logdriver/io.go). The spool knows of a frame its length and its
// time, nothing else.
const (
	frameHeaderSize = 4

	// MaxFrame is the largest frame taken for one, in bytes of protobuf. dockerd cuts lines at 16 KiB
	// (moby, daemon/logger/copier.go, defaultBufSize); foreign writers get a megabyte and some room for
	// the other fields. A greater length is damage.
	MaxFrame = 1<<20 + 64<<10

	// signatureSize is how many bytes from a frame's start it takes to recognise one in unknown bytes:
	// length, `0a 06 "stdout"` or `0a 06 "stderr"`, and the tag of the time, which follows it.
	signatureSize = frameHeaderSize + 9
)

var (
	signatureStdout = []byte("\x0a\x06stdout\x10")
	signatureStderr = []byte("\x0a\x06stderr\x10")
)

// frameLength returns the length in the header at the start of p and whether a frame may begin so.
// p must hold the four bytes of the length; the first byte of protobuf is looked at when it is there.
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

// findFrame returns the offset of the first place in p where a frame surely begins, and -1 when there
// is none. It is how the way back in is found after damage.
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

// frameTime returns field 2 of the LogEntry, time_nano, and 0 when the bytes at hand do not reach it.
// p is the protobuf, or as much of its beginning as there is.
func frameTime(p []byte) int64 {
	// dockerd writes field 1 and then field 2; others are skipped over for a few fields.
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

// tail is what is known of a stream at a place that need not be a frame's end.
type tail struct {
	remaining uint32  // bytes of the frame under way that are still to come
	prefix    [3]byte // the bytes of a length that has not come whole
	prefixLen uint8
}

func (t tail) boundary() bool { return t.remaining == 0 && t.prefixLen == 0 }

// BlockInfo describes a piece of stream: where frames start in it and what of the last one is missing.
type BlockInfo struct {
	First   int   // offset of the first frame that starts in it; its length when none does
	Frames  int   // how many frames start in it
	MinTime int64 // least and greatest time of those frames, in nanoseconds since the Unix epoch;
	MaxTime int64 // 0 when there is none

	tail tail
}

// Remaining returns how many bytes of the last frame are still to come; 0 also when not even the
// frame's length has come whole.
func (i BlockInfo) Remaining() int { return int(i.tail.remaining) }

// Tracker follows a stream and knows where frames start in it. The zero value stands at the start of
// a frame.
type Tracker struct{ tail tail }

// Tracker returns a tracker that stands where the described piece of stream ends.
func (i BlockInfo) Tracker() Tracker { return Tracker{i.tail} }

// Whole looks at p, which follows where the tracker stands, and returns how much of it ends with a
// whole frame and the description of that much. It is 0 when p holds no whole frame. The tracker stays
// where it is; move it with Advance.
func (t *Tracker) Whole(p []byte) (int, BlockInfo) { return t.scan(p, true) }

// All is Whole for all of p, whatever it ends with.
func (t *Tracker) All(p []byte) BlockInfo { _, i := t.scan(p, false); return i }

// Advance puts the tracker behind the piece of stream that i describes.
func (t *Tracker) Advance(i BlockInfo) { t.tail = i.tail }

func (t *Tracker) scan(p []byte, whole bool) (int, BlockInfo) {
	info := BlockInfo{First: len(p), tail: t.tail}
	off := 0 // start of the next frame
	if t.tail.prefixLen > 0 {
		// Finish the length first.
		var header [frameHeaderSize]byte
		had := copy(header[:], t.tail.prefix[:t.tail.prefixLen])
		n := copy(header[had:], p)
		switch {
		case had+n < frameHeaderSize:
			copy(info.tail.prefix[had:], p)
			info.tail.prefixLen += uint8(n)
			return 0, info
		default:
			l, ok := frameLength(header[:])
			if !ok {
				l = 0 // damage: look for the way back in from here
			}
			info.tail = tail{}
			off = n + l
		}
	} else {
		off = int(t.tail.remaining)
	}
	if off > len(p) {
		info.tail = tail{remaining: uint32(off - len(p))}
		return 0, info
	}
	end, atEnd := off, info // what is known of the part that ends with a whole frame
	atEnd.tail = tail{}
	info.tail = tail{}
	for off < len(p) {
		rest := p[off:]
		if len(rest) < frameHeaderSize {
			if info.First == len(p) {
				info.First = off
			}
			info.tail.prefixLen = uint8(copy(info.tail.prefix[:], rest))
			info.Frames++
			break
		}
		l, ok := frameLength(rest)
		if !ok {
			// Damage. It goes into the spool as it is; what matters is where the next frame starts.
			// A signature may be cut by p's end: leave that much for the next look.
			skip := findFrame(rest[1:])
			if skip >= 0 {
				off += 1 + skip
			} else {
				off = max(off+1, len(p)-signatureSize+1)
				if whole && off < len(p) {
					end, atEnd = off, info
					break
				}
				if !whole {
					off = len(p)
				}
			}
			end, atEnd = off, info
			continue
		}
		if info.First == len(p) {
			info.First = off
		}
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
	if atEnd.First > end {
		atEnd.First = end
	}
	return end, atEnd
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
