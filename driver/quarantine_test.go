package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// TestNewerSpoolIsQuarantined: a spool of a newer version is quarantined, and the container
// gets a new one. The quarantine is reported at each start, and delivered by a version that
// can read it.
func TestNewerSpoolIsQuarantined(t *testing.T) {
	h := newHost(t)
	f := h.stopUndelivered()
	state := filepath.Join(h.dir, "state")
	marker := filepath.Join(state, "containers", "web", archive.SpoolName, "newer")
	must(t, os.WriteFile(marker, nil, 0o600))
	openSpool = func(o spool.Options) (*spool.Spool, spool.Repair, error) {
		if _, err := os.Stat(filepath.Join(o.Dir, "newer")); err == nil {
			return nil, spool.Repair{}, fmt.Errorf("couldn't open %q: %w", o.Dir, spool.ErrVersion)
		}
		return spool.Open(o)
	}
	t.Cleanup(func() { openSpool = spool.Open })
	h.shipper.setDown(false)
	h.start()
	f.write("stdout", lines(11, 20)...)
	if got := h.shipper.wait(t, "g/web", 10); !slices.Equal(got, lines(11, 20)) {
		t.Errorf("delivered: %q", got)
	}
	kept, _ := filepath.Glob(filepath.Join(state, "kept", "web-*"))
	if len(kept) != 1 {
		t.Fatalf("kept: %v", kept)
	}
	h.wantLogged("a newer version of the plugin wrote a container's spool", "kept_in="+kept[0], "level=ERROR")
	h.stopContainer(f)
	h.gone()
	h.stop()
	h.start()
	h.wantLogged("undelivered lines are set aside because only a newer version of the plugin can read them", "kept_in="+kept[0])
	h.stop()
	openSpool = spool.Open // an upgrade
	must(t, os.Remove(filepath.Join(kept[0], archive.SpoolName, "newer")))
	h.start()
	h.wantLogged("lines that were set aside can be read now, but the container has a new log")
	h.stop()
	must(t, os.RemoveAll(filepath.Join(state, "stopped", "web"))) // it has expired
	h.start()
	if got := h.shipper.wait(t, "g/web", 20); !slices.Equal(got[10:], lines(1, 10)) {
		t.Errorf("delivered: %q", got)
	}
	h.gone()
	if left, _ := filepath.Glob(filepath.Join(state, "kept", "*")); len(left) > 0 {
		t.Errorf("kept: %v", left)
	}
}

// TestReadingKeepsNewerSpool: docker logs of a stopped container whose log a newer version
// wrote changes nothing.
func TestReadingKeepsNewerSpool(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.startWithTenLines()
	h.stopContainer(f)
	h.gone()
	openSpool = func(spool.Options) (*spool.Spool, spool.Repair, error) {
		return nil, spool.Repair{}, spool.ErrVersion
	}
	_, err := h.beginReading(t.Context(), "web")
	openSpool = spool.Open
	if err == nil || !strings.Contains(err.Error(), spool.ErrVersion.Error()) {
		t.Error(err)
	}
	if got := stoppedDirs(t, filepath.Join(h.dir, "state")); !slices.Equal(got, []string{"web"}) {
		t.Errorf("archived: %q", got)
	}
	must(t, durable.OS.Remove(filepath.Join(h.dir, "state", "containers")))
}
