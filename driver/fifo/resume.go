package fifo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

// resume drops the last block of the spool from the FIFO if it is still at the head. In
// both cases the tracker continues after that block.
//
// A crash can leave these states:
//   - The whole block is at the head. It was appended and not dropped.
//   - The block is not at the head. It was dropped, and the FIFO has what dockerd wrote
//     after it. That may be a block whose append was cut short.
//
// There is no third state, because a splice drops all of the block or nothing. resume
// compares the whole block, because repetitive text would match by chance. A block in
// which a frame starts cannot be there twice, because the frame has its time in
// nanoseconds. A block from the middle of a frame can. For such a block, the position
// where the next frame must start decides.
func (f *FIFO) resume(last *Last) error {
	f.tracker = last.Info.Tracker()
	private, err := makePipe()
	if err != nil {
		return err
	}
	defer private.close()
	n, err := tee(f.fd, private.ends[1], maxTake)
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
		// There is less, or the private pipe is too small to show it all, as past the
		// soft limit of pipe(7). Then the beginning of the block decides if a frame's
		// time is in it.
		if there >= len(last.Payload) && last.Info.First+spool.FrameTimeSize <= len(head) && bytes.HasPrefix(last.Payload, head) {
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

// dropLast drops the last block, which is at the head. If that fails, the intake tries
// again.
func (f *FIFO) dropLast(last *Last) error {
	f.undropped = len(last.Payload)
	_ = f.in.drop(f)
	return nil
}

// isAtHead reports whether the bytes at the head are a block in which no frame starts,
// rather than equal bytes after it.
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
	// The contents do not decide. The length does if dockerd has written the rest of the
	// frame and nothing after it.
	return len(head) == len(last.Payload)+remaining
}

type answer int

const (
	undecided answer = iota
	no
	yes
)

// frameAt says whether a frame starts at p[at]. It is undecided if p is too short.
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
