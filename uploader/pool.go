package uploader

import (
	"context"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sync/semaphore"

	"github.com/logspool/logspool/internal/stream"
)

// pool bounds and reuses the memory of batches. Its methods may be called from any
// goroutine.
type pool struct {
	// building holds a token for each batch that is being built.
	building chan struct{}
	// retained counts the bytes of built batches until they are answered.
	retained *semaphore.Weighted

	// builders holds *builder.
	builders sync.Pool
	// compressors holds *compressor.
	compressors sync.Pool
	// batches holds *batch.
	batches sync.Pool
}

func newPool() *pool {
	return &pool{
		building:    make(chan struct{}, min(maxBuilders, runtime.GOMAXPROCS(0))),
		retained:    semaphore.NewWeighted(retainedBudget),
		builders:    sync.Pool{New: func() any { return new(builder) }},
		compressors: sync.Pool{New: func() any { return newCompressor() }},
		batches:     sync.Pool{New: func() any { return new(batch) }},
	}
}

// reserve returns an empty batch that may become as large as any. It blocks until there is
// memory for the batch and few enough others are being built. It returns nil if ctx is done
// before that. The caller must call built, and later unreserve or free.
func (p *pool) reserve(ctx context.Context, plain bool) *batch {
	weight := int64(retainedZipped)
	if plain {
		weight = retainedPlain
	}
	if p.retained.Acquire(ctx, weight) != nil {
		return nil
	}
	select {
	case p.building <- struct{}{}:
	case <-ctx.Done():
		p.retained.Release(weight)
		return nil
	}
	b := p.batches.Get().(*batch)
	b.weight = weight
	return b
}

// built lets another batch be built, and gives back the memory that b does not need.
func (p *pool) built(b *batch) {
	<-p.building
	if spare := b.weight - b.bytesHeld(); spare > 0 {
		p.retained.Release(spare)
		b.weight -= spare
	}
}

// bytesHeld returns the memory that the batch needs while it is in flight.
func (b *batch) bytesHeld() int64 {
	return int64(cap(b.out)) + int64(cap(b.records))*int64(unsafe.Sizeof(record{})) +
		int64(cap(b.ranges))*int64(unsafe.Sizeof(stream.Range{}))
}

// unreserve gives back the batch's memory budget. It may be called more than once.
func (p *pool) unreserve(b *batch) {
	p.retained.Release(b.weight)
	b.weight = 0
}

// free takes back a batch that nobody uses any more.
func (p *pool) free(b *batch) {
	p.unreserve(b)
	b.permit = nil
	if cap(b.out) > maxBodyBytes*2 {
		b.out = nil // a single event made it so large
	}
	for i := range b.parts {
		b.parts[i].delivery = nil
	}
	p.batches.Put(b)
}
