package spool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// openFiles returns the number of descriptors of this process for files below dir.
func openFiles(t *testing.T, dir string) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

// TestFilesAreBounded: no more spools have files open than LimitFiles allows, and an idle one
// has none.
func TestFilesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := NewBudget(1 << 30)
		b.LimitFiles(5)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		var all []*appender
		for i := range 40 {
			s := mustOpen(t, Options{Dir: filepath.Join(dir, fmt.Sprint(i)), Budget: b})
			defer s.Close()
			all = append(all, &appender{s: s})
		}
		if n := openFiles(t, dir); n != 0 {
			t.Errorf("%d files of unused spools are open", n)
		}
		for round := range 3 {
			for _, a := range all {
				a.append(t, numbered(round*10+1, round*10+10, 100))
				if err := a.s.Ack([]stream.Range{{From: 0, To: a.s.End() - 5}}); err != nil {
					t.Fatal(err)
				}
				if n := openFiles(t, dir); n > 10 {
					t.Fatalf("%d files are open", n)
				}
			}
		}
		time.Sleep(3 * idleTime)
		synctest.Wait()
		if n := openFiles(t, dir); n != 0 {
			t.Errorf("%d files of idle spools are open", n)
		}
		for i, a := range all {
			r := a.s.NewReader()
			if got := len(frames(r)); got != 1 {
				t.Errorf("spool %d: %d frames", i, got)
			}
			r.Close()
		}
		cancel()
		<-done
	})
}

// TestEvictionClosesFiles: files that an eviction or another recording call opened are closed
// when they are idle.
func TestEvictionClosesFiles(t *testing.T) {
	b := NewBudget(64 << 20)
	for name, do := range map[string]func(s *Spool) bool{
		"evict for another": func(s *Spool) bool { return s.evictFor(nil) },
		"hold a gap":        func(s *Spool) bool { s.HoldGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 1}); return true },
		"recover a torn block": func(s *Spool) bool {
			s.mu.Lock()
			s.recovered.torn = &Torn{}
			s.mu.Unlock()
			s.RecoverTorn()
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newBudgeted(t, b, Options{MaxSize: 1 << 20})
			if err := w.s.Prepare(); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				w.write(400)
			}
			idle := func() {
				b.closeIdle() // marks the files as unused
				b.closeIdle()
			}
			idle()
			if !do(w.s) {
				t.Fatal("nothing was done")
			}
			if w.s.cursor.file.handle == nil {
				t.Fatal("nothing was recorded")
			}
			if idle(); w.s.cursor.file.handle != nil || w.s.active.file != nil {
				t.Error("a file of an idle spool is open")
			}
		})
	}
}
