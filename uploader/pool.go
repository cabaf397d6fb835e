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
// goroutine. Small batches have a budget of their own, so that they do not wait for the
// batches of backlogs.
type pool struct {
	backlog, little budget
	// compressors holds *compressor.
	compressors sync.Pool
}

// budget is the part of the pool for one kind of batch.
type budget struct {
	// building holds a token for each batch that is being built.
	building chan struct{}
	// retained counts the bytes of built batches until they are answered.
	retained *semaphore.Weighted
	// zipped and plain are what a batch takes from retained until its size is known.
	zipped, plain int64
	// most is the largest batch.
	most size

	// builders holds *builder.
	builders sync.Pool
	// batches holds *batch.
	batches sync.Pool
}

// memory is what a batch holds of a pool.
type memory struct {
	budget  *budget
	weight  int64    // weight is the batch's share of the budget's retained.
	builder *builder // builder is the batch's until the batch is built.
}

func newPool() *pool {
	p := &pool{compressors: sync.Pool{New: func() any { return newCompressor() }}}
	p.backlog.init(min(maxBuilders, runtime.GOMAXPROCS(0)), fullSize, retainedBudget, retainedZipped, retainedPlain)
	p.little.init(1, littleSize, littleBudget, littleZipped, littlePlain)
	return p
}

func (g *budget) init(builders int, most size, retained, zipped, plain int64) {
	g.building = make(chan struct{}, builders)
	g.retained = semaphore.NewWeighted(retained)
	g.most, g.zipped, g.plain = most, zipped, plain
	g.builders.New = func() any { return new(builder) }
	g.batches.New = func() any { return new(batch) }
}

// reserve returns an empty batch with a builder. backlog says that the batch may become as
// large as any; otherwise it may become as large as littleSize. reserve blocks until there is
// memory for the batch and few enough others are being built. It returns nil if ctx is done
// before that. The caller must call finish, and later unreserve or free.
func (p *pool) reserve(ctx context.Context, backlog, plain bool) *batch {
	g := &p.little
	if backlog {
		g = &p.backlog
	}
	weight := g.zipped
	if plain {
		weight = g.plain
	}
	if g.retained.Acquire(ctx, weight) != nil {
		return nil
	}
	select {
	case g.building <- struct{}{}:
	case <-ctx.Done():
		g.retained.Release(weight)
		return nil
	}
	b := g.batches.Get().(*batch)
	b.memory = memory{budget: g, weight: weight, builder: g.builders.Get().(*builder)}
	return b
}

// finish compresses the batch, unless it is plain, and ends its building.
func (p *pool) finish(b *batch) {
	switch {
	case len(b.records) == 0:
	case b.gzip:
		z := p.compressors.Get().(*compressor)
		b.builder.finish(z)
		p.compressors.Put(z)
	default:
		b.builder.finish(nil)
	}
	p.built(b)
}

// built lets another batch be built, and gives back the memory that b does not need.
func (p *pool) built(b *batch) {
	g := b.budget
	g.builders.Put(b.builder)
	b.builder = nil
	<-g.building
	if spare := b.weight - b.bytesHeld(); spare > 0 {
		g.retained.Release(spare)
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
	b.budget.retained.Release(b.weight)
	b.weight = 0
}

// free takes back a batch that nobody uses any more.
func (p *pool) free(b *batch) {
	p.unreserve(b)
	b.permit = nil
	if cap(b.out) > b.budget.most.bytes*4 {
		b.out = nil // a single event made it so large
	}
	for i := range b.parts {
		b.parts[i].delivery = nil
	}
	b.budget.batches.Put(b)
}
