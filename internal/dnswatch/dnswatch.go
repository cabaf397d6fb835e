// Package dnswatch decides when the plugin should stop, so that dockerd starts it again with the host's current
// /etc/resolv.conf.
//
// dockerd bind-mounts the host's /etc/resolv.conf as one file when it starts a plugin (moby, plugin/v2/plugin_linux.go,
// InitSpec). A host that writes a new file and renames it over the old one, as DHCP clients, VPNs and NetworkManager do,
// leaves the running process with the old file, and with name servers that may be gone. Nothing inside the process can
// change that: only a new process gets the new file.
//
// The package must not know who resolves names, or how the process stops.
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
	// outage is how long no name could be resolved before the plugin stops.
	outage = time.Minute

	// pause is how long after a failure another one belongs to the same outage. Uploads are tried every half minute.
	pause = 2 * time.Minute

	// minUptime is how long the plugin runs at least. dockerd permanently disables a plugin that it has started again and
	// that exits before it listens, after some 12 seconds.
	minUptime = 2 * time.Minute

	// minInterval is how far apart two of these stops are at least, whatever happens in between.
	minInterval = 10 * time.Minute

	// stampName is the file that says when the last stop was. It outlives the process.
	stampName = "dns-restart"
)

// Watch sees the outcome of DNS look-ups. Make one with New when the process starts.
type Watch struct {
	stamp    string
	replaced func() bool
	log      *slog.Logger
	started  time.Time
	due      chan struct{}

	mu      sync.Mutex
	first   time.Time // failure of the present outage; zero: there is none
	last    time.Time // failure
	over    bool      // due is closed
	noStamp bool      // logged that the stamp cannot be written
}

// New returns a Watch that keeps the time of its last stop in stateDir. replaced reports whether the host has replaced
// the file that this process resolves names with.
func New(stateDir string, replaced func() bool, log *slog.Logger) *Watch {
	return &Watch{
		stamp: filepath.Join(stateDir, stampName), replaced: replaced, log: log,
		started: time.Now(), due: make(chan struct{}),
	}
}

// Due is closed when the plugin should stop.
func (w *Watch) Due() <-chan struct{} { return w.due }

// Resolved takes the outcome of a look-up, which is nil for success. It may be called by any goroutine, and waits for the
// local disk at most.
//
// A server that answers that there is no such name counts as a failure too: behind a VPN, that is what the servers of the
// old file say of names inside it. A misspelt name does no harm, because the host must have replaced the file as well.
func (w *Watch) Resolved(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.first = time.Time{}
		return
	}
	if w.over || errors.Is(err, context.Canceled) { // the caller gave up, for reasons of its own
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
		// Without it the plugin might stop again and again.
		if !w.noStamp {
			w.log.Error("the host has replaced /etc/resolv.conf, and the plugin cannot restart itself to read it: disable and enable the plugin",
				"err", fmt.Errorf("couldn't write the time of the restart: %w", err))
			w.noStamp = true
		}
		return
	}
	w.log.Warn("no name can be resolved since the host replaced /etc/resolv.conf; stopping, so that dockerd starts the plugin again with the new file",
		"since", w.first.UTC().Format(time.RFC3339), "err", err)
	w.over = true
	close(w.due)
}

// recentlyLocked reports whether this or an earlier process has stopped within minInterval. A stamp that cannot be read
// does not count, and neither does one of the future, which a clock has left that has since been set back.
func (w *Watch) recentlyLocked(now time.Time) bool {
	b, err := os.ReadFile(w.stamp)
	if err != nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(b)))
	return err == nil && !at.After(now) && now.Sub(at) < minInterval
}
