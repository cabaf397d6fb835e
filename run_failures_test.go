package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// The lines are delivered when CloudWatch is back, also by another process.
func TestContainersStartWriteAndStopWhileCloudWatchIsDown(t *testing.T) {
	for _, kind := range []cwlocal.FaultKind{cwlocal.Unavailable, cwlocal.Hang, cwlocal.ResetBefore, cwlocal.Throttle, cwlocal.ExpiredToken} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "LOGSPOUT_GROUP=down")
			r.service.AddFault(cwlocal.Fault{Kind: kind})
			r.start()
			s := dockertest.Sequence{Container: "web", Source: "stderr"}
			c := r.run(info("web"))
			write(t, c, &s, 5000, 200) // far more than a pipe holds
			r.stopContainer(c)
			r.stop()
			r.start()
			c = r.run(info("other"))
			other := dockertest.Sequence{Container: "other", Source: "stdout"}
			write(t, c, &other, 10, 0)
			r.stopContainer(c)
			r.service.ClearFault(0)
			for _, s := range []dockertest.Sequence{s, other} {
				r.arrived("down", s.Container, s)
			}
			r.refusedNothing()
			r.stop()
		})
	}
}

// The plugin and a container start and stop while the region is unknown and the metadata
// service hangs.
func TestHangingMetadataDelaysNothing(t *testing.T) {
	release := make(chan struct{})
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
	}))
	defer metadata.Close()
	defer close(release)
	r := newRig(t, "AWS_REGION=auto", "NOEC2=", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+metadata.URL, "ROUTE=cloudwatch://auto")
	r.start()
	c := r.run(info("web"))
	c.Write("stdout", strings.Repeat("kept until there is a region\n", 10000))
	r.stopContainer(c)
	r.stop()
}

// With live-restore, containers go on while dockerd is killed and restarted. The container
// gets a new FIFO, without a StopLogging for the old one.
func TestKilledDockerdLosesNothing(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=g")
	r.start()
	s := dockertest.Sequence{Container: "web", Source: "stdout"}
	c := r.run(info("web"))
	for range 5 {
		write(t, c, &s, 50, 100)
		// The plugin can still read the contents of a FIFO that it has open.
		c.Kill()
		var err error
		if c, err = c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(t, c, &s, 50, 100)
	r.stopContainer(c)
	r.arrived("g", "web", s)
	if left, _ := os.ReadDir(filepath.Join(r.dir, "fifos")); len(left) > 0 {
		t.Errorf("stale FIFOs: %v", left)
	}
	r.stop()
}

// A marker shows where the bytes were.
func TestLinesAroundGarbageInTheFIFOArrive(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=g")
	r.start()
	c := r.run(info("web"))
	c.Write("stdout", "before\n")
	c.WriteRaw(bytes.Repeat([]byte{0xff, 0x00, 0xfe}, 40000))
	c.Write("stdout", "after\n")
	c.WriteRaw([]byte{0, 0, 0, 9, 0x0a}) // an incomplete frame
	r.stopContainer(c)
	got := strings.Join(r.wait("g", "web", 3), "\n")
	for _, want := range []string{"before\n", "\nafter", "[logspool] missing here: ", "unreadable"} {
		if !strings.Contains("\n"+got, want) {
			t.Errorf("%q is missing in %.500q", want, got)
		}
	}
	r.stop()
}

// When the spool is full, the container does not wait, and the marker has the right number of
// lines.
func TestFullSpoolDropsAndCountsLines(t *testing.T) {
	for _, policy := range []string{"drop-oldest", "drop-newest"} {
		t.Run(policy, func(t *testing.T) {
			r := newRig(t, "LOGSPOUT_GROUP=g", "SPOOL_MAX_SIZE=1m", "SPOOL_FULL="+policy)
			r.service.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
			r.start()
			s := dockertest.Sequence{Container: "web", Source: "stdout"}
			c := r.run(info("web"))
			write(t, c, &s, 10000, 200)
			r.service.ClearFault(0)
			r.stopContainer(c)
			arrived, missing := 0, 0
			accounted := func() bool {
				arrived, missing = 0, 0
				for _, m := range r.messages("g", "web") {
					n := 0
					if _, err := fmt.Sscanf(m, "[logspool] missing here: %d lines", &n); err == nil {
						missing += n
					} else {
						arrived++
					}
				}
				return arrived+missing >= s.N
			}
			ctx, cancel := patience(t)
			defer cancel()
			if err := r.service.Wait(ctx, accounted); err != nil || arrived+missing != s.N || missing == 0 {
				t.Errorf("%d arrived + %d reported as missing, %d were written: %v", arrived, missing, s.N, err)
			}
			t.Logf("%d arrived, %d reported as missing", arrived, missing)
			r.stop()
		})
	}
}

// CloudWatch drops events because of their time, and refuses others. All other events arrive,
// even if CloudWatch refuses the marker too.
func TestMarkersReplaceRefusedEvents(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=g")
	r.service.AddFault(cwlocal.Fault{Kind: cwlocal.Poison, Text: "poison"})
	r.start()
	c := r.run(info("web"))
	c.WriteAt(time.Now().Add(-15*24*time.Hour), "stdout", "too old\ntoo old as well\n")
	c.Write("stdout", "one\ntwo, poison\nthree\n")
	c.WriteAt(time.Now().Add(3*time.Hour), "stdout", "too new\n")
	r.stopContainer(c)
	events := r.wait("g", "web", 5)
	got := strings.Join(events, "\n")
	for _, want := range []string{
		"one", "three", "missing here: 2 lines, 22 bytes, from ", "reason: too_old (", "missing here: 1 lines, 11 bytes, from ",
		"reason: refused (", "missing here: 1 lines, 7 bytes, from ", "reason: too_new (",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if strings.Contains(got, "poison") || len(events) != 5 {
		t.Errorf("got %q", got)
	}
	r.service.AddFault(cwlocal.Fault{Kind: cwlocal.Poison, Text: "logspool"})
	c = r.run(info("other"))
	c.Write("stdout", "poison\nlast\n")
	r.stopContainer(c)
	if got := r.wait("g", "other", 1); len(got) != 1 || got[0] != "last" {
		t.Errorf("got %q", got)
	}
	r.stop()
}

// The host's clock is off by more than the greatest age of a signature. The plugin learns
// CloudWatch's time from its responses.
func TestWrongClockIsCorrected(t *testing.T) {
	for _, off := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		r := newRigAt(t, func() time.Time { return time.Now().Add(off) }, "LOGSPOUT_GROUP=g")
		r.start()
		c := r.run(info("web"))
		c.Write("stdout", "one\n")
		r.stopContainer(c)
		r.wait("g", "web", 1)
		r.stop()
	}
}
