package driver

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/spool"
)

// TestLossesAreLogged: losses of the spool and of the feed are logged with the container, the
// count and the reason.
func TestLossesAreLogged(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	var o spool.Options
	openSpool = func(with spool.Options) (*spool.Spool, spool.Repair, error) { o = with; return spool.Open(with) }
	t.Cleanup(func() { openSpool = spool.Open })
	h.startContainer("web", f, nil)
	o.OnLoss(spool.Gap{Reason: spool.Full, Frames: 7, Bytes: 700})
	o.OnLoss(spool.Gap{Reason: spool.Full, Frames: 2, Bytes: 200})
	h.all()[0].losses.lost("too_old", 3, 30)
	h.wantLogged("level=ERROR", "a container's lines are lost", `container="web (web)"`, "reason=spool_full", "lines=7", "bytes=700")
	h.wantLogged("level=ERROR", "a container's lines are lost", "reason=too_old", "lines=3")
	h.stopContainer(f)
	h.gone()
	h.wantLogged("reason=spool_full", "lines=2", "bytes=200", "total_lines=9")
}

// TestNearlyFullSpoolIsLoggedOnce: a spool that becomes four fifths full is logged once as a
// warning, and is a failure that lasts until the lines are delivered.
func TestNearlyFullSpoolIsLoggedOnce(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, map[string]string{"spool-max-size": "1m"})
	const message = "a container's spool is four fifths full"
	write := func(n int) {
		for range n {
			f.write("stdout", strings.Repeat("x", 10_000))
		}
		f.waitUntilEmpty()
	}
	write(70)
	if strings.Contains(h.logged(), message) || h.ongoing(message) != nil {
		t.Error("warned with 700 kB of 1 MiB")
	}
	write(25)
	h.wantLogged("level=WARN", message, `container="web (web)"`, "limit=1048576")
	if o := h.ongoing(message); o == nil || o.Attrs["container"] != "web (web)" || o.Attrs["hint"] == "" {
		t.Errorf("it does not last: %+v", o)
	}
	h.shipper.setDown(false)
	h.shipper.wait(t, "g/web", 95)
	s := h.all()[0]
	until(t, "the lines are acknowledged", func() bool { return s.spool.Undelivered() == 0 })
	s.updateFullness() // as every few seconds
	h.wantLogged("level=INFO", "a container's spool is no longer nearly full", `container="web (web)"`)
	if o := h.ongoing(message); o != nil {
		t.Errorf("it lasts after the delivery: %+v", o)
	}
	h.shipper.setDown(true)
	write(95)
	if n := strings.Count(h.logged(), message); n != 1 || h.ongoing(message) == nil {
		t.Errorf("warned %d times in a minute, and it lasts now: %v", n, h.ongoing(message) != nil)
	}
	h.shipper.setDown(false)
	h.stopContainer(f)
	h.gone()
	if o := h.ongoing(message); o != nil {
		t.Errorf("it lasts after the session has ended: %+v", o)
	}
}

// TestUserErrorIsAWarning: a user's mistake is a warning, and a failure of the disk an
// error.
func TestUserErrorIsAWarning(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	post := serve(t, h.Driver)
	start := func(id, config string) {
		f := h.fifo(id)
		_, answer, err := post(t.Context(), "POST", "/LogDriver.StartLogging", strings.NewReader(
			`{"File":"`+f.path+`","Info":{"ContainerID":"`+id+`","ContainerName":"/`+id+`","Config":`+config+`}}`))
		if err != nil || strings.Contains(answer, `{"Err":""}`) {
			t.Errorf("%s: %q, %v", id, answer, err)
		}
	}
	start("typo", `{"delay":"soon"}`)
	disk.Before(durabletest.Fail("Rename", "attachments.json", syscall.EIO))
	start("disk", `{}`)
	disk.Before(nil)
	h.wantLogged("level=WARN", "StartLogging failed", `container="typo (typo)"`)
	h.wantLogged("level=ERROR", "StartLogging failed", `container="disk (disk)"`)
}

// TestStopLogsBacklog: a plugin that stops logs how much is undelivered, and of which
// containers.
func TestStopLogsBacklog(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	for i := range 8 {
		f := h.fifo(fmt.Sprint("f", i))
		h.startContainer(fmt.Sprint("c", i), f, nil)
		for range i {
			f.write("stdout", "a line")
		}
		f.waitUntilEmpty()
	}
	h.stop()
	h.wantLogged("level=WARN", "the plugin is stopping with undelivered lines", "undelivered_bytes=",
		`containers="c7 (c7), c6 (c6), c5 (c5), c4 (c4), c3 (c3) and 2 more"`)
}

// TestRefusedLinesBecomeMarker: if others use all the space, so that nothing of a container
// is spooled, a marker is delivered before the session ends.
func TestRefusedLinesBecomeMarker(t *testing.T) {
	h := newHost(t, "SPOOL_TOTAL_SIZE=1m")
	h.shipper.setDown(true)
	h.start()
	hog := h.fifo("hog")
	h.startContainer("hog", hog, map[string]string{"spool-full": "drop-newest"})
	for range 40 {
		hog.write("stdout", strings.Repeat("x", 30_000))
	}
	for range 400 { // until it is full, however large the blocks before were
		hog.write("stdout", strings.Repeat("x", 3000))
		hog.waitUntilEmpty()
	}
	f := h.fifo("fifo")
	h.startContainer("web", f, map[string]string{"spool-full": "drop-newest"})
	f.write("stdout", lines(1, 2000)...)
	h.stopContainer(f)
	h.shipper.setDown(false)
	h.stopContainer(hog)
	h.gone()
	arrived, marked := 0, 0
	for _, line := range h.shipper.wait(t, "g/web", 1) {
		n := 0
		if _, err := fmt.Sscanf(line, "[logspool] missing here: %d lines", &n); err == nil {
			marked += n
		} else {
			arrived++
		}
	}
	if arrived+marked != 2000 || marked == 0 {
		t.Errorf("%d arrived + %d counted in markers, 2000 were written", arrived, marked)
	}
}
