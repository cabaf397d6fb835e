package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type fakeHeld struct {
	label  string
	bytes  int64
	oldest time.Time
}

func (w *fakeHeld) name() string { return w.label }

func (w *fakeHeld) backlog() (int64, time.Time) { return w.bytes, w.oldest }

// TestHoldIsLoggedWhileItLasts: a hold is logged at once, every ten minutes with all
// containers of the same reason, and when it ends.
func TestHoldIsLoggedWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		l := newHoldLog(slog.New(slog.NewTextHandler(&b, nil)))
		logged := func(level, message string) (lines []string) {
			for line := range strings.Lines(b.String()) {
				if strings.Contains(line, "level="+level+" msg=\""+message+"\"") {
					lines = append(lines, line)
				}
			}
			return lines
		}
		begin := time.Now()
		var all []*fakeHeld
		for i := range 7 {
			all = append(all, &fakeHeld{fmt.Sprint("web-", i), int64(100 - i), begin.Add(time.Duration(i) * time.Second)})
		}
		held := &fakeHeld{"held", 5, time.Time{}}
		for time.Since(begin) < 25*time.Minute {
			for _, w := range all {
				l.add(w, noRegion, errors.New("no route to host"))
			}
			l.add(held, "KMS_KEY_ID is invalid", "KMS_KEY_ID is invalid")
			time.Sleep(2 * time.Second)
		}
		lines := logged("ERROR", "no AWS region found; logs are spooled until one is known")
		if len(lines) != 3 {
			t.Fatalf("logged %s", b.String())
		}
		for i, line := range lines {
			parts := []string{`err="no route to host"`, "oldest=" + begin.UTC().Format(time.RFC3339)}
			if i > 0 { // the first one came when the others did not wait yet
				parts = append(parts, `containers="web-0, web-1, web-2, web-3, web-4 and 2 more"`, "waiting_bytes=679", "since=")
			}
			for _, part := range parts {
				if !strings.Contains(line, part) {
					t.Errorf("no %s in %s", part, line)
				}
			}
		}
		if lines := logged("ERROR", "lines are spooled but not sent"); len(lines) != 3 || !strings.Contains(lines[2], "containers=held waiting_bytes=5") {
			t.Errorf("logged %q", lines)
		}
		l.remove(held, "KMS_KEY_ID is invalid", false) // it ends, and nothing is fixed
		for _, w := range all {
			l.remove(w, noRegion, true)
		}
		l.remove(all[0], noRegion, true)
		if ends := strings.Count(b.String(), "level=INFO"); ends != 1 || len(logged("INFO", "AWS region found")) != 1 {
			t.Errorf("logged %s", b.String())
		}
	})
}

// noRegionLocator is a Locator without a region until there is one.
type noRegionLocator struct {
	fakeLocator
	mu    sync.Mutex
	found bool
}

func (p *noRegionLocator) Region(context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.found {
		return "", errors.New("no route to host")
	}
	return "r", nil
}

// startHeld starts a container whose lines are held because of a setting or a locator. It has
// printed a hundred lines.
func startHeld(t *testing.T, env string, locator Locator) (*host, *fakeFIFO) {
	t.Helper()
	h := newHost(t, env)
	h.badEnv, h.locator = true, locator
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 100)...)
	f.waitUntilEmpty()
	return h, f
}

// TestHeldContainersAreNamed: the log names the containers whose lines wait for a region, a
// setting or an allowed group.
func TestHeldContainersAreNamed(t *testing.T) {
	for name, k := range map[string]struct {
		env     string
		locator Locator
		err     string
	}{
		"region": {"DELAY=1", &noRegionLocator{}, "no route to host"},
		"held":   {"KMS_KEY_ID=a key", fakeLocator{}, "KMS_KEY_ID is invalid"},
		"group":  {"ALLOW_GROUPS=x", fakeLocator{}, "no log group is allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			h, f := startHeld(t, k.env, k.locator)
			until(t, "it is logged", func() bool { return strings.Contains(h.logged(), k.err) })
			line := h.logged()[strings.Index(h.logged(), "level=ERROR"):]
			for _, part := range []string{"level=ERROR", k.err, `containers="web (web)" waiting_bytes=`, "oldest="} {
				if !strings.Contains(line, part) {
					t.Errorf("no %s in %s", part, line)
				}
			}
			if p, ok := k.locator.(*noRegionLocator); ok {
				p.mu.Lock()
				p.found = true
				p.mu.Unlock()
				h.shipper.wait(t, "g/web", 100)
				if !strings.Contains(h.logged(), "AWS region found") {
					t.Errorf("logged %s", h.logged())
				}
			}
			h.stopContainer(f)
			h.stop()
		})
	}
}
