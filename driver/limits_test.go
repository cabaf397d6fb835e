package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/spool"
)

// TestFIFOLimit: half of the descriptors are for containers. A start beyond that is refused with the limit, the count and
// what to do, and leaves nothing; delivery works for all that run, and a container that stops makes room.
func TestFIFOLimit(t *testing.T) {
	h := newHost(t)
	h.files = 120
	h.start()
	const n = 60
	var fifos []*fakeFIFO
	for i := range n {
		f := h.fifo(fmt.Sprint("f", i))
		h.run(fmt.Sprint("c", i), f, nil)
		fifos = append(fifos, f)
	}
	over := h.fifo("over")
	err := h.startLogging(over.path, &container.Info{ID: "over"})
	if err == nil || !strings.Contains(err.Error(), "60 containers") || !strings.Contains(err.Error(), "120 open files") ||
		!strings.Contains(err.Error(), "LimitNOFILE") || strings.Contains(err.Error(), "\n") {
		t.Errorf("StartLogging: %v", err)
	}
	if _, err := os.Lstat(over.path); !notExist(err) {
		t.Errorf("the FIFO: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(h.dir, "state", "containers", "over")); !notExist(err) {
		t.Errorf("the directory: %v", err)
	}
	for i, f := range fifos {
		f.write("stdout", "a line")
		h.shipper.wait(t, fmt.Sprint("g/c", i), 1)
	}
	h.stop()
	h.start() // all of them are attached again
	for i, f := range fifos {
		f.write("stdout", "another")
		h.shipper.wait(t, fmt.Sprint("g/c", i), 2)
	}
	h.end(fifos[0])
	until(t, "the first has ended", func() bool { return h.fifos.attachment(fifos[0].path) == nil })
	h.run("over", h.fifo("over"), nil)
}

// TestReaderLimit: docker logs beyond the limit get an error and no descriptor; those that end make room.
func TestReaderLimit(t *testing.T) {
	h := newHost(t)
	h.files = 120
	h.start()
	h.tenLines()
	var reading []*session
	for range h.limits.readers {
		s, err := h.beginReading(t.Context(), "web")
		must(t, err)
		reading = append(reading, s)
	}
	_, err := h.beginReading(t.Context(), "web")
	if err == nil || !strings.Contains(err.Error(), "docker logs are being answered") || !strings.Contains(err.Error(), "120 open files") {
		t.Errorf("docker logs: %v", err)
	}
	h.endReading(reading[0])
	if reading[0], err = h.beginReading(t.Context(), "web"); err != nil {
		t.Error(err)
	}
	for _, s := range reading {
		h.endReading(s)
	}
}

// TestShareOut: what is shared out is never more than there is, and every share is of use.
func TestShareOut(t *testing.T) {
	for _, open := range []int{64, 120, 256, 1024, 4096, 1 << 20} {
		l := shareDescriptors(open)
		sum := ownFiles + l.fifos + l.spools*spoolFiles + l.readers*readerFiles
		if sum > open || l.fifos < 1 || l.spools < 2 || l.readers < 1 {
			t.Errorf("%d: %+v, %d in all", open, l, sum)
		}
	}
	if l := shareDescriptors(0); l.fifos < 1 || l.spools < 1 || l.readers < 1 {
		t.Errorf("nothing: %+v", l)
	}
	var r syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r))
	if got := openFileLimit(); uint64(got) != min(r.Cur, 1<<31-1) {
		t.Errorf("RLIMIT_NOFILE is %d, taken for %d", r.Cur, got)
	}
}

// TestLabel: a container's name in the log is one printable line of bounded length, cut between characters.
func TestLabel(t *testing.T) {
	const id = "1f2e3d4c5b6a7988776655443322110000112233445566778899aabbccddeeff"
	for _, tc := range []struct{ name, id, want string }{
		{"/web", id, "web (1f2e3d4c5b6a)"},
		{"", id, "1f2e3d4c5b6a"},
		{"/web", "", "web"},
		{"/a\nb\x1b[31m\u202e\xff", "x\ny", `a b\x1b[31m\u202e\xff (x y)`},
		{"/" + strings.Repeat("é", 100), id, strings.Repeat("é", 32) + "… (1f2e3d4c5b6a)"},
		{"/x" + strings.Repeat("é", 100), id, "x" + strings.Repeat("é", 31) + "… (1f2e3d4c5b6a)"},
	} {
		if got := label(tc.name, tc.id); got != tc.want || !utf8.ValidString(got) {
			t.Errorf("%q, %q: %q, want %q", tc.name, tc.id, got, tc.want)
		}
	}
}

// TestLossesAreLogged: what the spool or the feed loses is logged with the container, the count and the reason.
func TestLossesAreLogged(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	var o spool.Options
	openSpool = func(with spool.Options) (*spool.Spool, spool.Repair, error) { o = with; return spool.Open(with) }
	t.Cleanup(func() { openSpool = spool.Open })
	h.run("web", f, nil)
	o.OnLoss(spool.Gap{Reason: spool.Full, Frames: 7, Bytes: 700})
	o.OnLoss(spool.Gap{Reason: spool.Full, Frames: 2, Bytes: 200})
	h.all()[0].losses.lost("too_old", 3, 30)
	h.logs("level=ERROR", "a container's lines are lost", `container="web (web)"`, "reason=spool_full", "lines=7", "bytes=700")
	h.logs("level=ERROR", "a container's lines are lost", "reason=too_old", "lines=3")
	h.end(f)
	h.gone()
	h.logs("reason=spool_full", "lines=2", "bytes=200", "total_lines=9")
}

// TestNearlyFull: a spool that is four fifths full is a warning, once.
func TestNearlyFull(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	h.run("web", f, map[string]string{"spool-max-size": "1m"})
	const message = "a container's spool is four fifths full"
	write := func(n int) {
		for range n {
			f.write("stdout", strings.Repeat("x", 10_000))
		}
		f.empty()
	}
	write(70)
	if strings.Contains(h.logged(), message) {
		t.Error("warned with 700 kB of 1 MiB")
	}
	write(25)
	h.logs("level=WARN", message, `container="web (web)"`, "limit=1048576")
	h.shipper.setDown(false)
	h.shipper.wait(t, "g/web", 95)
	h.shipper.setDown(true)
	write(95)
	if n := strings.Count(h.logged(), message); n != 2 {
		t.Errorf("warned %d times", n)
	}
}

// TestLogLevels: a user's mistake is a warning, a failure of the disk an error.
func TestLogLevels(t *testing.T) {
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
	h.logs("level=WARN", "StartLogging failed", `container="typo (typo)"`)
	h.logs("level=ERROR", "StartLogging failed", `container="disk (disk)"`)
}

// TestBacklogIsNamed: a plugin that stops says how much is undelivered, and of which containers.
func TestBacklogIsNamed(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	for i := range 8 {
		f := h.fifo(fmt.Sprint("f", i))
		h.run(fmt.Sprint("c", i), f, nil)
		for range i {
			f.write("stdout", "a line")
		}
		f.empty()
	}
	h.stop()
	h.logs("level=WARN", "the plugin stops with undelivered lines", "undelivered_bytes=",
		`containers="c7 (c7), c6 (c6), c5 (c5), c4 (c4), c3 (c3) and 2 more"`)
}
