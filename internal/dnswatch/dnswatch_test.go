package dnswatch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

var errDNS = &net.DNSError{Err: "i/o timeout", Name: "logs.eu-central-1.amazonaws.com", IsTimeout: true}

func yes() bool { return true }

func newWatch(dir string, replaced func() bool) (*Watch, *bytes.Buffer) {
	var b bytes.Buffer
	return New(dir, replaced, slog.New(slog.NewTextHandler(&b, nil))), &b
}

func isDue(w *Watch) bool {
	select {
	case <-w.Due():
		return true
	default:
		return false
	}
}

// fail reports a failure every 15 seconds for the duration d.
func fail(w *Watch, d time.Duration) {
	for end := time.Now().Add(d); ; time.Sleep(15 * time.Second) {
		w.Resolved(errDNS)
		if !time.Now().Before(end) {
			return
		}
	}
}

func TestStopsAfterAMinuteWithoutDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := newWatch(t.TempDir(), yes)
		time.Sleep(time.Hour)
		fail(w, outage-15*time.Second)
		if isDue(w) {
			t.Fatal("due before a minute has passed")
		}
		time.Sleep(15 * time.Second)
		w.Resolved(errDNS)
		if !isDue(w) {
			t.Fatal("not due")
		}
		fail(w, time.Minute) // it takes a moment to stop
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "/etc/resolv.conf") || !strings.Contains(log.String(), "i/o timeout") {
			t.Errorf("logged %s", log)
		}
	})
}

func TestKeepsRunningUnlessThereIsAnOutage(t *testing.T) {
	for _, c := range []struct {
		name     string
		uptime   time.Duration
		replaced func() bool
		stamp    string // RFC 3339, or how long ago
		do       func(*Watch)
		want     bool
	}{
		{name: "while some name can be resolved", uptime: time.Hour, replaced: yes, do: func(w *Watch) {
			for range 20 {
				fail(w, 45*time.Second)
				w.Resolved(nil)
			}
		}},
		{name: "while the file is the host's", uptime: time.Hour, replaced: func() bool { return false }, do: func(w *Watch) { fail(w, time.Hour) }},
		{name: "soon after its start", replaced: yes, do: func(w *Watch) { fail(w, minUptime-15*time.Second) }},
		{name: "no longer than that", replaced: yes, do: func(w *Watch) { fail(w, minUptime) }, want: true},
		{name: "for failures that lie far apart", uptime: time.Hour, replaced: yes, do: func(w *Watch) {
			for range 20 {
				w.Resolved(errDNS)
				time.Sleep(pause + time.Second)
			}
		}},
		{name: "for look-ups that their callers gave up", uptime: time.Hour, replaced: yes, do: func(w *Watch) {
			for range 20 {
				w.Resolved(fmt.Errorf("lookup: %w", context.Canceled))
				time.Sleep(15 * time.Second)
			}
		}},
		{name: "after a stop less than ten minutes ago", uptime: 5 * time.Minute, stamp: "6m", replaced: yes, do: func(w *Watch) { fail(w, 3*time.Minute) }},
		{name: "no longer than ten minutes", uptime: 5 * time.Minute, stamp: "6m", replaced: yes, do: func(w *Watch) { fail(w, 4*time.Minute) }, want: true},
		{name: "not because of a stamp from the future", uptime: time.Hour, stamp: "2999-01-01T00:00:00Z", replaced: yes, do: func(w *Watch) { fail(w, outage) }, want: true},
		{name: "not because of a damaged stamp", uptime: time.Hour, stamp: "\x00", replaced: yes, do: func(w *Watch) { fail(w, outage) }, want: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				w, _ := newWatch(dir, c.replaced)
				time.Sleep(c.uptime)
				if ago, err := time.ParseDuration(c.stamp); err == nil {
					c.stamp = time.Now().Add(-ago).UTC().Format(time.RFC3339)
				}
				if c.stamp != "" {
					if err := os.WriteFile(filepath.Join(dir, stampName), []byte(c.stamp), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				c.do(w)
				if isDue(w) != c.want {
					t.Errorf("due: %v, want %v", isDue(w), c.want)
				}
			})
		})
	}
}

// The next process reads the time of the last stop.
func TestNextProcessWaitsTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, _ := newWatch(dir, yes)
		time.Sleep(time.Hour)
		fail(w, outage)
		if !isDue(w) {
			t.Fatal("not due")
		}
		stopped := time.Now()
		w, _ = newWatch(dir, yes)
		for !isDue(w) {
			w.Resolved(errDNS)
			time.Sleep(15 * time.Second)
		}
		if after := time.Since(stopped); after < minInterval {
			t.Errorf("stopped again after %v", after)
		}
	})
}

// Without a stamp, the plugin could stop again and again.
func TestKeepsRunningIfTheStampCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := newWatch(filepath.Join(t.TempDir(), "missing"), yes)
		time.Sleep(time.Hour)
		fail(w, time.Hour)
		if isDue(w) || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "disable and enable") {
			t.Errorf("due: %v; logged %s", isDue(w), log)
		}
	})
}

func TestMissingMountIsNeverReplaced(t *testing.T) {
	if replacedIn(mountInfo, "/no/such/mount")() || replacedIn("/no/such/file", resolvConf)() {
		t.Error("replaced")
	}
}

// The test bind-mounts a file, as dockerd does, in its own mount namespace.
func TestReplacedFileIsFoundInMountinfo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting takes root")
	}
	for _, c := range []struct {
		name   string
		change func(host string) error
		want   bool
	}{
		{"nothing happened", func(string) error { return nil }, false},
		{"written in place", func(host string) error { return os.WriteFile(host, []byte("nameserver 192.0.2.2\n"), 0o644) }, false},
		{"replaced by rename", func(host string) error {
			if err := os.WriteFile(host+".new", []byte("nameserver 192.0.2.2\n"), 0o644); err != nil {
				return err
			}
			return os.Rename(host+".new", host)
		}, true},
		{"moved away", func(host string) error { return os.Rename(host, host+".old") }, true},
		{"removed", os.Remove, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			got := make(chan error)
			go func() {
				// The thread is not unlocked, so it and its namespace end with the goroutine.
				runtime.LockOSThread()
				got <- func() error {
					host, inside := filepath.Join(dir, "host"), filepath.Join(dir, "inside")
					for _, f := range []string{host, inside} {
						if err := os.WriteFile(f, []byte("nameserver 192.0.2.1\n"), 0o644); err != nil {
							return err
						}
					}
					if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
						return err
					}
					if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
						return err
					}
					if err := unix.Mount(host, inside, "", unix.MS_BIND, ""); err != nil {
						return err
					}
					replaced := replacedIn("/proc/thread-self/mountinfo", inside)
					if err := c.change(host); err != nil {
						return err
					}
					if replaced() != c.want {
						return fmt.Errorf("replaced: %v, want %v", !c.want, c.want)
					}
					return nil
				}()
			}()
			if err := <-got; err != nil {
				t.Error(err)
			}
		})
	}
}
