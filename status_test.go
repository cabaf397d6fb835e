package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

// Programs read the report, so a list is never null.
func TestReportOfAnIdlePluginHasNoNull(t *testing.T) {
	r := newReporter("node1", nil, &faultlog.Set{}, nil)
	text, err := json.Marshal(r.collect())
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"settings", "faults", "services", "containers"} {
		if !strings.Contains(string(text), `"`+list+`":[]`) {
			t.Errorf("%s is not an empty list: %s", list, text)
		}
	}
	if strings.Contains(string(text), "stopping") {
		t.Errorf("the plugin stops: %s", text)
	}
	(&statusService{reporter: r}).beginStop()
	if r.collect().Stopping.IsZero() {
		t.Error("the report does not say that the plugin stops")
	}
}

// A panic in the status ends neither the plugin nor the sampling.
func TestPanicInTheStatusIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var faults faultlog.Set
		log := slog.New(faultlog.NewHandler(slog.NewTextHandler(io.Discard, nil), &faults))
		n := 0
		r := newReporter("node1", nil, &faults, []func(*status.Report){func(*status.Report) {
			if n++; n == 2 {
				panic("a bug")
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		m := status.NewMonitor(r.collect)
		go keepRunning(ctx, m.Run, log)
		time.Sleep(6 * status.SampleInterval)
		cancel()
		synctest.Wait()
		if n < 6 {
			t.Errorf("%d samples", n)
		}
		got := m.Report().Faults
		if len(got) != 1 || got[0].Err != "a bug" || !strings.Contains(got[0].Attrs["stack"], "TestPanicInTheStatusIsAFault") {
			t.Errorf("faults: %+v", got)
		}
	})
}

func TestOpenFilesAreCounted(t *testing.T) {
	before := countOpenFiles()
	const more = 10
	for range more {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if got := countOpenFiles() - before; got != more {
		t.Errorf("%d files were opened, and %d more are counted", more, got)
	}
}

// A plugin that has no descriptor left to count them uses all of them. At 0, no alert would
// fire.
func TestOpenFilesAreCountedWithoutADescriptor(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 1, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	got := countOpenFiles()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if got != 1 {
		t.Errorf("%d files are open, want the limit", got)
	}
}
