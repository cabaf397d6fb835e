// Package dnswatch decides when the plugin should stop, so that dockerd restarts it with the host's
// current /etc/resolv.conf.
//
// dockerd bind-mounts the host's /etc/resolv.conf as one file when it starts a plugin (moby,
// plugin/v2/plugin_linux.go, InitSpec). DHCP clients, VPNs and NetworkManager write a new file and
// rename it over the old one. The running process keeps the old file, whose name servers may be
// gone. It cannot change that: only a new process gets the new file.
//
// The package must not know which code resolves names, or how the process stops.
package dnswatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// outage is how long every look-up must have failed before the plugin stops.
	outage = time.Minute

	// pause is the longest time between two failures of the same outage. Uploads are tried
	// every half minute.
	pause = 2 * time.Minute

	// minUptime is the shortest time that the plugin runs. dockerd restarts a plugin that
	// exits before it listens for about 12 seconds, and then disables it permanently.
	minUptime = 2 * time.Minute

	// minInterval is the shortest time between two stops, whatever happens in between.
	minInterval = 10 * time.Minute

	// stampName is the file with the time of the last stop. It outlives the process.
	stampName = "dns-restart"
)

// Watch observes the results of DNS look-ups. Make one with New when the process starts.
type Watch struct {
	stamp    string
	replaced func() bool
	log      *slog.Logger
	started  time.Time
	due      chan struct{}

	mu      sync.Mutex
	first   time.Time // first is the time of the first failure of the current outage. It is zero if there is none.
	last    time.Time // last is the time of the last failure.
	over    bool      // over says that due is closed.
	noStamp bool      // noStamp says that the failure to write the stamp was logged.
}

// New returns a Watch that keeps the time of its last stop in stateDir. replaced reports
// whether the host has replaced the resolv.conf of this process.
func New(stateDir string, replaced func() bool, log *slog.Logger) *Watch {
	return &Watch{
		stamp: filepath.Join(stateDir, stampName), replaced: replaced, log: log,
		started: time.Now(), due: make(chan struct{}),
	}
}

// Due is closed when the plugin should stop.
func (w *Watch) Due() <-chan struct{} { return w.due }

// Resolved records the result of a look-up. A nil err means success. Any goroutine may call it, and
// it waits only for the local disk.
//
// An answer that the name does not exist is a failure too. The name servers of the old file give
// this answer for names inside a VPN. A misspelled name does no harm, because the Watch also
// requires that the host replaced the file.
func (w *Watch) Resolved(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.first = time.Time{}
		return
	}
	if w.over || errors.Is(err, context.Canceled) { // a cancelled look-up says nothing about DNS
		return
	}
	now := time.Now()
	if w.first.IsZero() || now.Sub(w.last) > pause {
		w.first = now
	}
	w.last = now
	if now.Sub(w.first) < outage || now.Sub(w.started) < minUptime || !w.replaced() || w.recentlyLocked(now) {
		return
	}
	if err := os.WriteFile(w.stamp, []byte(now.UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		// Without the stamp, the plugin might stop again and again.
		if !w.noStamp {
			w.log.Error("the host has replaced /etc/resolv.conf, and the plugin cannot restart itself to read the new file: disable and enable the plugin",
				"err", fmt.Errorf("couldn't write the time of the restart: %w", err))
			w.noStamp = true
		}
		return
	}
	w.log.Warn("no name can be resolved, and the host has replaced /etc/resolv.conf; the plugin stops, and dockerd restarts it with the new file",
		"since", w.first.UTC().Format(time.RFC3339), "err", err)
	w.over = true
	close(w.due)
}

// recentlyLocked reports whether this or an earlier process stopped within minInterval. An
// unreadable stamp does not count. Neither does one from the future, which remains if the
// clock was set back.
func (w *Watch) recentlyLocked(now time.Time) bool {
	b, err := os.ReadFile(w.stamp)
	if err != nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(b)))
	return err == nil && !at.After(now) && now.Sub(at) < minInterval
}
