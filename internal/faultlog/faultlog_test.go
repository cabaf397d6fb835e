package faultlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func newLog() (*slog.Logger, func() []string) {
	var mu sync.Mutex
	var b bytes.Buffer
	write := func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	}
	h := slog.NewTextHandler(writer(write), &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "since" {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(h), func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		b.Reset()
		if lines[0] == "" {
			return nil
		}
		return lines
	}
}

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestFaultIsLoggedWhileItLasts: a failure is logged when it begins, every ten minutes while it lasts, and when it ends.
func TestFaultIsLoggedWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		f := NewFault(log, "sending failed", "sending works again", func() []any { return []any{"waiting", 7} })
		for range 25 * 60 {
			f.Failed("timeout", "err", "no answer")
			time.Sleep(time.Second)
		}
		check(t, "25 minutes", lines(),
			`level=ERROR msg="sending failed" err="no answer" waiting=7`,
			`level=ERROR msg="sending failed" err="no answer" times=601 waiting=7`,
			`level=ERROR msg="sending failed" err="no answer" times=1201 waiting=7`)
		f.Succeeded()
		f.Succeeded()
		check(t, "the end", lines(), `level=INFO msg="sending works again" after=25m0s times=1500`)
	})
}

// TestAnotherKindOfFaultIsLoggedAtOnce: another kind of failure is logged at once. Kinds that alternate are not logged each time.
func TestAnotherKindOfFaultIsLoggedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		f := NewFault(log, "failed", "works", nil)
		for range 10 {
			f.Failed("a")
			f.Failed("b")
			f.Succeeded()
			time.Sleep(time.Second)
		}
		if got := lines(); len(got) != 3 {
			t.Errorf("%d lines: %q", len(got), got)
		}
		time.Sleep(time.Minute)
		f.Failed("a")
		check(t, "later", lines(), `level=ERROR msg=failed`)
	})
}

// TestLossIsSummedUp: a loss is logged at once, and then once a minute while it goes on.
func TestLossIsSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		l := NewLoss(log, "lines are lost", "container", "web")
		defer l.Close()
		l.Lost(2, 20)
		check(t, "the first", lines(), `level=ERROR msg="lines are lost" container=web lines=2 bytes=20`)
		time.Sleep(time.Second / 2) // so that no loss coincides with a summary
		for range 90 {
			l.Lost(1, 10)
			time.Sleep(time.Second)
		}
		check(t, "the first minute", lines(), `level=ERROR msg="lines are lost" container=web lines=60 bytes=600 total_lines=62`)
		time.Sleep(time.Hour)
		check(t, "the second minute", lines(), `level=ERROR msg="lines are lost" container=web lines=30 bytes=300 total_lines=92`)
		l.Lost(1, 5)
		check(t, "another loss", lines(), `level=ERROR msg="lines are lost" container=web lines=1 bytes=5 total_lines=93`)
		l.Lost(1, 5)
		l.Close()
		check(t, "the end", lines(), `level=ERROR msg="lines are lost" container=web lines=1 bytes=5 total_lines=94`)
	})
}

// TestWarningIsLoggedAsOne: what is about to fail is logged like a failure, as a warning, and is in the set.
func TestWarningIsLoggedAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		var set Set
		f := NewWarning(slog.New(NewHandler(log.Handler(), &set)), "nearly full", "not full", nil)
		for range 11 * 60 {
			f.Failed("", "n", 1)
			time.Sleep(time.Second)
		}
		if n := len(set.Ongoing()); n != 1 {
			t.Errorf("%d are in the set", n)
		}
		f.Succeeded()
		check(t, "a warning", lines(), `level=WARN msg="nearly full" n=1`, `level=WARN msg="nearly full" n=1 times=601`,
			`level=INFO msg="not full" after=11m0s times=660`)
		if n := len(set.Ongoing()); n != 0 {
			t.Errorf("%d are in the set after the end", n)
		}
	})
}
