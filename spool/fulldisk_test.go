package spool

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"pgregory.net/rapid"
)

// TestFullDiskCountsExactly: a disk that refuses any calls for want of space, at any time, costs lines that are counted
// exactly, and after it has space again nothing is left pending.
func TestFullDiskCountsExactly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		disk := durabletest.NewDisk()
		b := NewBudget(8 << 20)
		all := make([]*budgeted, 3)
		lost := make([]int, len(all))
		read := make([]int, len(all))
		for i := range all {
			s, _, err := Open(Options{Dir: fmt.Sprint("/", i), FS: disk, Budget: b, MaxSize: 2 << 20, History: 1 << 20, DropNewest: i == 2})
			if err != nil {
				rt.Fatal(err)
			}
			all[i] = &budgeted{appender: &appender{s: s}}
		}
		deliver := func(i, most int) {
			r := all[i].s.NewReader()
			defer r.Close()
			ranges, missing := takeItems(r, most, func([]byte) { read[i]++ })
			lost[i] += missing
			_ = all[i].s.Ack(ranges)
		}
		index := func(t *rapid.T) int { return rapid.IntRange(0, len(all)-1).Draw(t, "spool") }
		calls := 0
		write := func(t *rapid.T) {
			w := all[index(t)]
			calls = 0
			w.write(rapid.IntRange(1, 600).Draw(t, "frames"))
			w.s.Dropped()
			if calls > 500 {
				t.Fatalf("%d calls of the disk for one block", calls)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": write, "append2": write, "append3": write,
			"deliver": func(t *rapid.T) { deliver(index(t), rapid.IntRange(1, 2000).Draw(t, "most")) },
			"pending": func(t *rapid.T) { all[index(t)].s.Pending() },
			"disk": func(t *rapid.T) {
				ops := rapid.SampledFrom([]string{"", "WriteAt", "OpenFile", "Rename", "any"}).Draw(t, "ops")
				half := rapid.Bool().Draw(t, "half")
				disk.FailWhen(func(_ int, op, name string) durabletest.Failure {
					calls++
					needs := op == "WriteAt" || op == "Rename" || op == "OpenFile" && strings.HasSuffix(name, ".tmp")
					if needs && (op == ops || ops == "any") {
						return durabletest.Failure{Err: syscall.ENOSPC, After: half}
					}
					return durabletest.Failure{}
				})
			},
		})
		disk.FailWhen(nil)
		for i, w := range all {
			for rounds := 0; w.s.Pending(); rounds++ {
				if rounds > 10 {
					rt.Fatalf("spool %d is pending without end", i)
				}
				deliver(i, 1<<20)
			}
			if read[i]+lost[i] != w.n {
				rt.Fatalf("spool %d: %d read and %d lost of %d", i, read[i], lost[i], w.n)
			}
			w.s.Close()
		}
		if b.Used() != 0 {
			rt.Fatalf("%d bytes are counted at the end", b.Used())
		}
	})
}
