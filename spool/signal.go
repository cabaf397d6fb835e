package spool

import "sync/atomic"

// signal tells any number of waiting goroutines that something has changed. It costs an atomic load to tell when
// nobody waits. The zero value is ready.
//
// Whoever waits takes the channel first, and looks whether there is anything to wait for then; whoever tells has made
// the change before. So either the change is seen, or the channel is there to be closed.
type signal struct{ waiting atomic.Pointer[chan struct{}] }

// wait returns a channel that the next tell closes.
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

// notify wakes all that wait.
func (s *signal) notify() {
	if s.waiting.Load() != nil {
		if c := s.waiting.Swap(nil); c != nil {
			close(*c)
		}
	}
}
