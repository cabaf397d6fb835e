package spool

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/durable/durabletest"
)

// TestFullBudgetNeverDeadlocks: one goroutine appends to all spools of a full budget, as the
// intake does. Meanwhile each spool is read, acknowledged, read as history, synced and opened
// again, and archived logs come and go. Nothing deadlocks, each line is delivered or counted as
// lost, and at the end nothing is counted.
func TestFullBudgetNeverDeadlocks(t *testing.T) {
	disk := durabletest.NewDisk()
	b := NewBudget(3 << 20)
	b.LimitFiles(3)
	var archive sync.Mutex // like the archive's: held around AddArchived and Release, and in remove
	const n = 8
	all := make([]*budgeted, n)
	for i := range all {
		all[i] = newBudgeted(t, b, Options{Dir: fmt.Sprint("/", i), FS: disk, MaxSize: 1 << 20, History: 256 << 10, DropNewest: i%3 == 2})
	}
	stop := make(chan struct{})
	var others, deliveries sync.WaitGroup
	loop := func(wg *sync.WaitGroup, f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	read, lost := make([]int, n), make([]int, n)
	deliver := func(i int, r *Reader) bool {
		ranges, lostNow := takeItems(r, 300, func([]byte) { read[i]++ })
		lost[i] += lostNow
		if len(ranges) > 0 {
			if err := all[i].s.Ack(ranges); err != nil {
				t.Error(err)
			}
		}
		return len(ranges) > 0
	}
	readers := make([]*Reader, n)
	for i, w := range all {
		readers[i] = w.s.NewReader()
		loop(&deliveries, func() {
			if !deliver(i, readers[i]) || rand.IntN(4) > 0 {
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			}
		})
		loop(&others, func() {
			h, err := w.s.NewHistory(t.Context(), HistoryOptions{Tail: 50})
			if err == nil {
				for _, ok, err := h.Next(); ok && err == nil; _, ok, err = h.Next() {
				}
				h.Close()
			}
			_ = w.s.Sync()
			w.s.Pending()
			time.Sleep(time.Millisecond)
		})
	}
	loop(&others, b.closeIdle)
	loop(&others, func() {
		archive.Lock()
		a := b.AddArchived(20<<10, time.Now(), func() error { archive.Lock(); defer archive.Unlock(); return nil })
		archive.Unlock()
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
		archive.Lock()
		a.Release()
		archive.Unlock()
		s, _, err := Open(Options{Dir: "/other", FS: disk, Budget: b})
		if err != nil {
			t.Error(err)
			return
		}
		s.AddGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 1})
		_ = s.Remove()
	})
	for i := range 2000 {
		w := all[rand.IntN(n)]
		w.write(1 + i%100)
		w.s.Dropped()
	}
	close(stop)
	others.Wait()
	deliveries.Wait()
	for i, w := range all {
		for w.s.Pending() {
			deliver(i, readers[i])
		}
		readers[i].Close()
		if read[i]+lost[i] != w.n {
			t.Errorf("spool %d: %d read and %d lost of %d", i, read[i], lost[i], w.n)
		}
		w.s.Close()
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes are counted at the end", b.Used())
	}
}
