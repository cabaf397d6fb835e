// Package costtest compares what two pieces of code cost, for tests that must fail when a
// stage of the data path becomes slower. Such a test states a ratio to simple code that does
// the same work. It does not depend on the speed of the machine, and little on other load:
// only the processor time of the test's own thread counts, and the least of several turns.
//
// The package must not know the plugin's own packages.
package costtest

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// turns is how often both pieces of code are measured. They alternate, so that a change of
	// the clock rate reaches both.
	turns = 25
	// turnTime is the least processor time of one measurement. The clock's resolution is a few
	// hundred nanoseconds.
	turnTime = 2 * time.Millisecond
)

// Ratio returns the processor time of one call of a, divided by that of one call of b. Both
// must do the same work in each call, and do it in the calling goroutine. It blocks for some
// 100 ms of processor time.
func Ratio(a, b func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	na, nb := calls(a), calls(b)
	leastA, leastB := measure(a, na), measure(b, nb)
	for range turns - 1 {
		leastA = min(leastA, measure(a, na))
		leastB = min(leastB, measure(b, nb))
	}
	return leastA / leastB
}

// AtMost fails the test if a costs more than limit times what b costs. The race detector changes
// the costs, so the test's file must be built without it (//go:build !race).
func AtMost(t testing.TB, limit float64, a, b func()) {
	t.Helper()
	ratio := Ratio(a, b)
	if t.Logf("the cost is %.3f times that of the reference, at most %g is allowed", ratio, limit); ratio > limit {
		t.Errorf("the cost is %.3f times that of the reference: at most %g is allowed", ratio, limit)
	}
}

// calls returns how many calls of f make one measurement.
func calls(f func()) int {
	for n := 1; ; n *= 2 {
		if took := measure(f, n) * float64(n); took >= float64(turnTime) {
			return n
		}
	}
}

// measure returns the processor time of one of n calls of f, in nanoseconds.
func measure(f func(), n int) float64 {
	begun := ThreadTime()
	for range n {
		f()
	}
	return float64(ThreadTime()-begun) / float64(n)
}

// ThreadTime returns the processor time that the thread has used.
func ThreadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // each Linux has this clock
	}
	return time.Duration(t.Nano())
}

// ProcessTime returns the processor time that the process has used so far, for benchmarks of
// code that uses several goroutines.
func ProcessTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // each Linux has this clock
	}
	return time.Duration(t.Nano())
}
