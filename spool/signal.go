package spool

import "sync/atomic"

// signal notifies any number of waiting goroutines of a change. If none waits, notify
// costs one atomic load. The zero value is ready for use.
//
// A waiting goroutine takes the channel first, and then checks whether it still has to
// wait. The notifying goroutine makes the change before it calls notify. So either the
// waiting goroutine sees the change, or notify sees its channel.
type signal struct{ waiting atomic.Pointer[chan struct{}] }

// wait returns a channel that the next notify closes.
func (s *signal) wait() <-chan struct{} {
	for {
		if c := s.waiting.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if s.waiting.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

// notify wakes all waiting goroutines.
func (s *signal) notify() {
	if s.waiting.Load() != nil {
		if c := s.waiting.Swap(nil); c != nil {
			close(*c)
		}
	}
}
