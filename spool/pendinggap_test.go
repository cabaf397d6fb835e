package spool

import (
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestMissingOutlivesAKill: what a full spool, or a full disk, has not kept is told by the process after the one that
// was killed, once.
func TestMissingOutlivesAKill(t *testing.T) {
	for _, full := range []string{"spool", "disk"} {
		t.Run(full, func(t *testing.T) {
			disk := durabletest.NewDisk()
			o := Options{Dir: "/s", FS: disk, MaxSize: 1 << 20, DropNewest: true}
			a := &appender{s: mustOpen(t, o)}
			total, last := 0, int64(0)
			write := func(blocks int) (refused int) {
				for range blocks {
					var p []byte
					for range 50 {
						total++
						p = append(p, testFrame("stdout", int64(total), []byte(strings.Repeat("y", 100)))...)
					}
					if a.s.Append(append(make([]byte, BlockHeaderSize), p...), 0, a.tracker.All(p)) != nil {
						refused++
					}
				}
				return refused
			}
			if full == "disk" {
				disk.Limit(500_000)
			}
			for range 3 { // what was counted before a kill is counted on after it
				if write(200) == 0 {
					t.Fatal("there was room for all")
				}
				a.s = mustOpen(t, o) // the process was killed
			}
			disk.Limit(0)
			r := a.s.NewReader()
			seen, told := 0, 0
			take := func() {
				for {
					item, ok := r.Next()
					if !ok {
						return
					}
					if item.Gap != nil {
						told += int(item.Gap.Frames)
						if item.Gap.MinTime != last+1 {
							t.Errorf("the gap %+v stands behind time %d", *item.Gap, last)
						}
						last = item.Gap.MaxTime
					} else {
						seen++
						last = frameTime(item.Frame)
					}
					if err := a.s.Ack([]stream.Range{item.Range}); err != nil {
						t.Fatal(err)
					}
				}
			}
			take()
			for a.s.Pending() {
				take()
			}
			if seen+told != total || told == 0 {
				t.Errorf("%d read and %d told of %d", seen, told, total)
			}
			r.Close()
			a.s = mustOpen(t, o)
			if a.s.Pending() {
				t.Error("what was told is to be told again")
			}
		})
	}
}
