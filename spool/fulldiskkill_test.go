package spool

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable/durabletest"
)

// TestKillOnFullDiskLosesNoCount: if the disk is full from time to time and the process
// is killed at any time, each line is delivered or reported as lost. Too many may be
// reported, but never too few.
func TestKillOnFullDiskLosesNoCount(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		disk := durabletest.NewDisk()
		var b *Budget
		all := make([]*budgeted, 3)
		lost := make([]int, len(all))
		numbers := make([]map[int64]bool, len(all))
		open := func() {
			b = NewBudget(8 << 20)
			for i := range all {
				n := 0
				if all[i] != nil {
					n = all[i].n
				} else {
					numbers[i] = map[int64]bool{}
				}
				s, _, err := Open(Options{Dir: fmt.Sprint("/", i), FS: disk, Budget: b, MaxSize: 2 << 20, History: 100 << 10, DropNewest: i == 2})
				if err != nil {
					rt.Fatal(err)
				}
				all[i] = &budgeted{appender: &appender{s: s}, n: n}
				_ = s.Prepare()
			}
		}
		open()
		deliver := func(i, most int) {
			r := all[i].s.NewReader()
			defer r.Close()
			ranges, lostNow := takeItems(r, most, func(p []byte) { numbers[i][frameTime(p)] = true })
			lost[i] += lostNow
			_ = all[i].s.Ack(ranges)
		}
		index := func(t *rapid.T) int { return rapid.IntRange(0, len(all)-1).Draw(t, "spool") }
		write := func(t *rapid.T) {
			w := all[index(t)]
			w.write(rapid.IntRange(1, 600).Draw(t, "frames"))
			w.s.Dropped()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": write, "append2": write, "append3": write,
			"deliver": func(t *rapid.T) { deliver(index(t), rapid.IntRange(1, 2000).Draw(t, "most")) },
			"pending": func(t *rapid.T) { all[index(t)].s.Pending() },
			"prefix":  func(t *rapid.T) { all[index(t)].s.evictPrefix() },
			"history": func(t *rapid.T) { all[index(t)].s.evictHistory() },
			"kill": func(t *rapid.T) {
				disk = disk.Killed()
				open()
			},
			"disk": func(t *rapid.T) {
				disk.Limit(rapid.SampledFrom([]int64{0, 1, 200 << 10, 1 << 20}).Draw(t, "limit"))
			},
		})
		disk.Limit(0)
		for i, w := range all {
			for rounds := 0; w.s.Pending(); rounds++ {
				if rounds > 10 {
					rt.Fatalf("spool %d stays pending", i)
				}
				w.s.ReleaseGap()
				deliver(i, 1<<20)
			}
			if len(numbers[i])+lost[i] < w.n {
				rt.Fatalf("spool %d: %d read and %d lost of %d", i, len(numbers[i]), lost[i], w.n)
			}
		}
	})
}
