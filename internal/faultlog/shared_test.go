package faultlog

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestSharedFaultLastsUntilNoMemberFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		s := NewShared(log, "failed", "works", func(failing []string) []any { return []any{"failing", len(failing)} })
		s.Failed("a", "timeout")
		s.Failed("b", "denied", "err", "no")
		s.Failed("c", "denied")
		check(t, "failures", lines(), `level=ERROR msg=failed failing=1`, `level=ERROR msg=failed err=no times=2 failing=2`)
		s.Succeeded("a")
		s.Forget("b")
		check(t, "while one member fails", lines())
		s.Succeeded("c")
		check(t, "when none fails", lines(), `level=INFO msg=works after=0s times=3`)
	})
}

func TestForgottenMemberDoesNotEndAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		s := NewShared(log, "failed", "works", func([]int) []any { return nil })
		s.Failed(1, "")
		s.Forget(1)
		check(t, "forgotten", lines(), `level=ERROR msg=failed`)
		if s.Since().IsZero() {
			t.Error("the failure has ended")
		}
	})
}

func TestDescribeNamesTheLargestBacklogs(t *testing.T) {
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	var all []Backlog
	for i := range 8 {
		all = append(all, Backlog{Name: fmt.Sprint("c", i), Bytes: int64(10 * i), Oldest: at.Add(time.Duration(-i) * time.Hour)})
	}
	all = append(all, Backlog{Bytes: 1}, Backlog{Name: "c1", Bytes: 65})
	const want = "[containers c1, c7, c6, c5, c4 and 2 more waiting_bytes 346 oldest 2026-11-21T18:02:03Z]"
	if got := fmt.Sprint(Describe(all)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(Describe(nil)); got != "[waiting_bytes 0]" {
		t.Errorf("nothing waits: %s", got)
	}
}
