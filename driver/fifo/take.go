package fifo

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/logspool/logspool/spool"
)

// takeFrom takes a copy of the contents of a FIFO, and drops what it takes from the FIFO.
func (in *Intake) takeFrom(f *FIFO, block []byte) {
	f.recovered()
	in.counts.reads.Add(1)
	f.empty = 0
	p := block[spool.BlockHeaderSize:]
	more := in.private.size/2 < len(p) && unread(f.fd) > len(p)
	whole, info, err := f.scan(p, more)
	f.found(len(p), more || whole < len(p))
	if whole == 0 {
		return
	}
	in.give(f, block[:spool.BlockHeaderSize+whole], info, err)
	if err := in.drop(f); err != nil {
		in.fail(f, err)
		return
	}
	in.more = in.more || more
	step("after drop")
	f.sink.Dropped()
}

// scan returns how much of p to take: whole frames, or all of p if no frame in it is
// complete, or 0 to wait for more. more says that p is not all that is there. If p makes
// the tracker panic, scan takes all of p without a description and returns the panic as
// the error.
func (f *FIFO) scan(p []byte, more bool) (n int, info spool.BlockInfo, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, info, err = len(p), opaque(len(p)), panicked(r)
		}
	}()
	n, info = f.tracker.Whole(p)
	if n == 0 {
		if f.stuckSize != len(p) {
			f.stuckSize, f.stuck = len(p), 0
		}
		if f.stuck++; !more && f.stuck < stuckRounds {
			return 0, info, nil
		}
		n, info = len(p), f.tracker.All(p)
	}
	f.stuck, f.stuckSize = 0, 0
	return n, info, nil
}

// opaque describes n bytes whose contents are unknown.
func opaque(n int) spool.BlockInfo { return spool.BlockInfo{First: n, Skipped: n} }

// give passes a block to the sink. If the sink panics on it, give passes it once more, without a
// description. If it panics again, the bytes are lost: they must neither end the process nor
// block the FIFO. scanErr is the panic of the tracker, or nil.
func (in *Intake) give(f *FIFO, block []byte, info spool.BlockInfo, scanErr error) {
	step("before append")
	n := len(block) - spool.BlockHeaderSize
	lost, err := 0, f.take(block, info)
	if err != nil {
		info = opaque(n)
		if f.take(block, info) != nil {
			lost = n
		}
	}
	if err = cmp.Or(err, scanErr); err != nil {
		f.sink.Panicked(err, lost)
	}
	in.counts.skipped(info.Skipped)
	step("between append and drop")
	f.tracker.Advance(info)
	f.undropped = n
}

// take calls Sink.Take and returns a panic as an error.
func (f *FIFO) take(block []byte, info spool.BlockInfo) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = panicked(r)
		}
	}()
	f.sink.Take(block, info)
	return nil
}

// maxStack bounds the length of the stack trace in an error.
const maxStack = 2 << 10

func panicked(r any) error {
	stack := debug.Stack()
	return fmt.Errorf("panic: %v: %s", r, stack[:min(len(stack), maxStack)])
}

// step is called between the steps of taking a piece out of a FIFO. A test replaces it to
// kill the process at each step.
var step = func(string) {}
