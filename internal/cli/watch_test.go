package cli

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatAtEachIntervalAndOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		again := make(chan os.Signal, 1)
		var firsts []bool
		done := make(chan error)
		go func() {
			done <- repeat(ctx, time.Second, again, func(first bool) error { firsts = append(firsts, first); return nil })
		}()
		synctest.Wait()
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		again <- syscall.SIGWINCH
		synctest.Wait()
		cancel()
		if err := <-done; err != nil || len(firsts) != 4 || !firsts[0] || firsts[1] {
			t.Errorf("%v, %v", firsts, err)
		}
	})
	failed := errors.New("failed")
	if err := repeat(t.Context(), time.Hour, nil, func(bool) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

// watched counts the reports that it gets, and stops after some.
type watched struct {
	out    bytes.Buffer
	writes int
	most   int
	stop   context.CancelFunc
}

func (w *watched) Write(p []byte) (int, error) {
	if w.writes++; w.writes >= w.most {
		w.stop()
	}
	return w.out.Write(p)
}

// Without a terminal, there are successive reports, also while the plugin does not answer.
func TestWatchWithoutTerminal(t *testing.T) {
	good := serveReport(t, sampleReport())
	bad := serve(t, http.NotFoundHandler())
	for _, test := range []struct {
		dir    string
		asJSON bool
		check  func(out, errs string) bool
	}{
		{good, false, func(out, errs string) bool {
			return strings.Count(out, "\n\nunhealthy: ") == 2 && strings.Count(out, "CONTAINER") == 3 && !strings.Contains(out, "\x1b") && errs == ""
		}},
		{good, true, func(out, errs string) bool { return strings.Count(out, "\n") == 3 && errs == "" }},
		{bad, false, func(out, errs string) bool { return strings.Count(out, "is not the status of logspool") == 3 }},
		{bad, true, func(out, errs string) bool {
			return out == "" && strings.Count(errs, "is not the status of logspool") == 3
		}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		w := &watched{most: 3, stop: cancel}
		var errs bytes.Buffer
		s := &statusCommand{where: where{stateDir: test.dir}, watch: true, asJSON: test.asJSON, interval: time.Millisecond, maxAge: time.Minute}
		if err := s.run(ctx, w, &errs); err != nil || !test.check(w.out.String(), errs.String()) {
			t.Errorf("%v, %q, %q", err, w.out.String(), errs.String())
		}
		cancel()
	}
}

func TestScreenFitsTheHeight(t *testing.T) {
	got := screen("one\ntwo\nthree\n", 2)
	if want := home + "one" + clearLine + "\n… 2 more lines" + clearLine + clearBelow; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := screen("one\n", 2); got != home+"one"+clearLine+clearBelow {
		t.Errorf("got %q", got)
	}
	if got := screen("one\ntwo\n", 0); !strings.Contains(got, "two") {
		t.Errorf("got %q", got)
	}
}
