//go:build !race

package costtest

import (
	"hash/crc32"
	"testing"
)

func TestRatioIsThatOfTheWork(t *testing.T) {
	table := crc32.MakeTable(0xD5828281) // a polynomial that no processor has an instruction for
	text := make([]byte, 4096)
	var sum uint32
	work := func(n int) func() {
		return func() {
			for range n {
				sum = crc32.Update(sum, table, text)
			}
		}
	}
	for _, n := range []int{1, 2, 4} {
		if got, want := Ratio(work(n), work(2)), float64(n)/2; got < want*0.8 || got > want*1.25 {
			t.Errorf("%d times the work: got %.2f, want %.2f", n, got, want)
		}
	}
}

// recorder records whether a test has failed.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

func TestAtMostFailsAboveTheLimit(t *testing.T) {
	text := make([]byte, 4096)
	once := func() { _ = crc32.ChecksumIEEE(text) }
	thrice := func() { once(); once(); once() }
	for limit, fails := range map[float64]bool{2: true, 4: false} {
		r := &recorder{TB: t}
		if AtMost(r, limit, thrice, once); r.failed != fails {
			t.Errorf("limit %g: failed is %v", limit, r.failed)
		}
	}
}
