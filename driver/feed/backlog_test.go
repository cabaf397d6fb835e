package feed

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/stream"
)

// TestBacklogKnowsTheOldestTime checks that the oldest time is exact at the beginning
// and after a rewind. Otherwise it is never too late, and too early by at most two
// checkpoints. It is zero when everything is acknowledged.
func TestBacklogKnowsTheOldestTime(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Name: "web (1f2e3d4c5b6a)"})
	defer f.Close()
	check := func(want int64) {
		t.Helper()
		name, bytes, oldest := f.Backlog()
		if name != "web (1f2e3d4c5b6a)" || bytes != int64(r.spool.End()-r.spool.Acked()) {
			t.Fatalf("%q, %d bytes", name, bytes)
		}
		got := int64(0)
		if !oldest.IsZero() {
			got = oldest.UnixNano()
		}
		if got > want || want-got > max(2*int64(checkpointTime), (f.progress.latest-want)/16) || (got == 0) != (want == 0) {
			t.Fatalf("oldest %d, want %d", got, want)
		}
	}
	check(0)
	const lines = 20_000
	times := map[uint64]int64{}
	line := strings.Repeat("x", 100)
	var block []byte
	var at int64 = 1e9
	for i := range lines {
		at += rand.Int64N(2e7)
		times[r.spool.End()+uint64(len(block))] = at
		if block = append(block, dockertest.Frame("stdout", at, line, nil)...); len(block) > 60_000 || i == lines-1 {
			r.append(block)
			block = nil
		}
	}
	oldest := func() int64 { return times[r.spool.Acked()] }
	for left := lines; left > 0; {
		all := take(f, 1+rand.IntN(2*left))
		check(oldest())
		switch rand.IntN(3) {
		case 0:
			f.Rewind()
			check(oldest())
			f.Next(someTime)
			f.Unread()
			if _, _, got := f.Backlog(); got.UnixNano() != oldest() {
				t.Fatalf("oldest %d after a rewind, want %d", got.UnixNano(), oldest())
			}
			f.Rewind()
		default:
			left -= len(all)
			order := rand.IntN(2)
			rand.Shuffle(len(all)*order, func(i, j int) { all[i], all[j] = all[j], all[i] })
			for part := range slices.Chunk(all, max(len(all)/3, 1)) {
				var ranges []stream.Range
				for _, h := range part {
					ranges = append(ranges, h.ranges...)
				}
				if err := f.Ack(ranges); err != nil {
					t.Fatal(err)
				}
				if r.spool.Acked() < f.reader.Position() { // otherwise the frames are not read yet
					check(oldest())
				}
			}
			if left > 0 {
				f.Next(someTime)
				f.Unread()
			}
			check(oldest())
		}
	}
	check(0)
	if n := testing.AllocsPerRun(100, func() { f.Backlog() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
