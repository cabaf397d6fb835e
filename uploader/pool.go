package uploader

// reserve returns an empty batch that may become as large as any, once there is memory for it and a builder is free.
// It returns nil when the uploader gives up.
func (u *Uploader) reserve(plain bool) *batch {
	weight := int64(retainedZipped)
	if plain {
		weight = retainedPlain
	}
	if u.retained.Acquire(u.trying, weight) != nil {
		return nil
	}
	select {
	case u.builders <- struct{}{}:
	case <-u.trying.Done():
		u.retained.Release(weight)
		return nil
	}
	b := u.batches.Get().(*batch)
	b.weight = weight
	return b
}

// built gives back the builder, and the memory that the batch did not need.
func (u *Uploader) built(b *batch) {
	<-u.builders
	if spare := b.weight - b.bytesHeld(); spare > 0 {
		u.retained.Release(spare)
		b.weight -= spare
	}
}

// unreserve gives back the batch's share of the retained budget, if it has one still.
func (u *Uploader) unreserve(b *batch) {
	u.retained.Release(b.weight)
	b.weight = 0
}

// free takes the batch back when nobody knows it any more.
func (u *Uploader) free(b *batch) {
	u.unreserve(b)
	b.permit = nil
	if cap(b.out) > maxBodyBytes*2 {
		b.out = nil // a single event made it so large
	}
	for i := range b.parts {
		b.parts[i].delivery = nil
	}
	u.batches.Put(b)
}
