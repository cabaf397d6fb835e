package fifo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

// resume finds out whether the last block, which is in the spool, is still at the head of the FIFO,
// and drops it if it is. Either way the tracker is then behind it.
//
// The states that a crash can leave:
//   - the whole block is at the head: it was appended and not dropped;
//   - it is not: it was dropped. What is there now was written after it. That may be a block whose append was cut short.
//
// A splice drops all of the block or nothing, so there is no third state. The whole block is compared,
// never a part: repetitive text matches by chance. A block with a frame's start in it cannot stand there
// twice, because the frame has its time in nanoseconds. One from the middle of a frame can, so then the
// place where the next frame must start decides.
func (f *FIFO) resume(last *Last) error {
	f.tracker = last.Info.Tracker()
	private, err := makePipe()
	if err != nil {
		return err
	}
	defer private.close()
	n, err := tee(f.fd, private.ends[1])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("couldn't look into it: %w", err)
	}
	head := make([]byte, n)
	if err := readFull(private.ends[0], head); err != nil {
		return err
	}
	there, err := unix.IoctlGetInt(f.fd, unix.TIOCINQ) // FIONREAD
	if err != nil {
		return fmt.Errorf("couldn't ask how much is in it: %w", err)
	}
	if last.Torn != nil && last.Torn.Matches(head, there) {
		last.Recovered()
		return nil
	}
	if len(last.Payload) == 0 {
		return nil
	}
	if len(head) < len(last.Payload) {
		// Less is there, or the private pipe is too small to show it all: past the soft limit of pipe(7) it may be.
		// Then the beginning of a block decides as well as the whole if a frame's time is in it.
		if there >= len(last.Payload) && last.Info.First+frameStart <= len(head) && bytes.HasPrefix(last.Payload, head) {
			return f.dropLast(last)
		}
		return nil
	}
	if !bytes.HasPrefix(head, last.Payload) {
		return nil
	}
	if last.Info.Frames == 0 && !isAtHead(head, last) {
		return nil
	}
	return f.dropLast(last)
}

// dropLast drops the last block, which is at the head. The intake tries again what fails.
func (f *FIFO) dropLast(last *Last) error {
	f.undropped = len(last.Payload)
	_ = f.in.drop(f)
	return nil
}

// frameStart is more than the bytes from a frame's start to the end of its time.
const frameStart = 32

// isAtHead decides for a block in which no frame starts, and whose bytes are at the head.
func isAtHead(head []byte, last *Last) bool {
	remaining := last.Info.Remaining()
	ifThere := frameAt(head, len(last.Payload)+remaining)
	ifDropped := frameAt(head, remaining)
	switch {
	case ifThere == yes && ifDropped != yes:
		return true
	case ifDropped == yes && ifThere != yes:
		return false
	}
	// Nothing decides by what is there; how much is there does when the writer has written the frame to
	// its end and nothing after it.
	return len(head) == len(last.Payload)+remaining
}

type answer int

const (
	undecided answer = iota
	no
	yes
)

// frameAt says whether a frame starts at p[at]; unknown when p does not reach so far.
func frameAt(p []byte, at int) answer {
	const seen = 5 // the length and the first byte of protobuf
	if at < 0 || len(p) < at+seen {
		return undecided
	}
	length := binary.BigEndian.Uint32(p[at:])
	if length == 0 || length > spool.MaxFrame || p[at+4] != 0x0a {
		return no
	}
	return yes
}
