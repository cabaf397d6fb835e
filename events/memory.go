package events

import (
	"sync"
	"sync/atomic"
)

const (
	// BudgetBytes is the size of the default budget, which all Pipelines of a process
	// share.
	BudgetBytes = 64 << 20

	// smallBytes is what each unfinished line or event may hold without being counted.
	// Nearly all of them are smaller, so they need no access to the shared counter.
	smallBytes = 4 << 10

	// share bounds what one line or event may hold to a fourth of the free memory. So
	// there is always some left for others, however many containers print long lines.
	share = 4
)

// Budget bounds the memory of the unfinished text of all Pipelines that share it:
// unfinished lines and events, and the event that was handed out last. A Pipeline never
// waits for memory. A line or event that holds more than a fourth of the free memory goes
// out as a part, which frees its memory.
//
// The first 4 KiB of each unfinished line and event are not counted. When the budget is
// exhausted, each line and event may hold up to two more frames until its part has been
// taken.
type Budget struct {
	size int64
	used atomic.Int64
}

// NewBudget returns a budget of size bytes.
func NewBudget(size int64) *Budget { return &Budget{size: size} }

// Used returns how many bytes are held.
func (b *Budget) Used() int64 { return b.used.Load() }

var shared = NewBudget(BudgetBytes)

// short reports whether a line or event that holds this many bytes holds too much.
func (b *Budget) short(held int) bool {
	return held > smallBytes && int64(held) > (b.size-b.used.Load())/share
}

// sizes are the sizes of buffers. A short line never occupies the buffer of a long one.
var sizes = [...]int{
	4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20,
	1<<20 + 128<<10, // the longest line and a piece
	2 << 20,         // the longest event and a line
	4 << 20,
}

// buffers holds free buffers by size, for the lines of all containers. An idle container
// keeps no buffer, however long its lines were.
var buffers [len(sizes)]sync.Pool

// getBuffer returns an empty buffer with room for n bytes.
func getBuffer(n int) *[]byte {
	for i, size := range sizes {
		if n > size {
			continue
		}
		if b, ok := buffers[i].Get().(*[]byte); ok {
			return b
		}
		n = size
		break
	}
	b := make([]byte, 0, n)
	return &b
}

// putBuffer gives a buffer back, which may have grown.
func putBuffer(b *[]byte) {
	for i := len(sizes) - 1; i >= 0 && cap(*b) <= sizes[len(sizes)-1]; i-- {
		if cap(*b) >= sizes[i] {
			*b = (*b)[:0]
			buffers[i].Put(b)
			return
		}
	}
}
