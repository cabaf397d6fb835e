package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/status"
)

// ledgerSaveTime is how long a stop waits for the ledger's file.
const ledgerSaveTime = time.Second

// ledger is a status.Ledger that is opened in the background, because its file is on the disk,
// which may hang.
type ledger struct {
	opened atomic.Pointer[status.Ledger] // opened is nil until the file was read.
	cancel context.CancelFunc
	ended  chan struct{}
}

// newLedger counts what the monitor samples, and keeps the counts in the state directory.
func newLedger(m *status.Monitor, stateDir string, log *slog.Logger) *ledger {
	ctx, cancel := context.WithCancel(context.Background())
	l := &ledger{cancel: cancel, ended: make(chan struct{})}
	m.OnSample(func(r *status.Report) {
		if o := l.opened.Load(); o != nil {
			o.Observe(r)
		}
	})
	go func() {
		defer close(l.ended)
		o := status.OpenLedger(durable.OS, stateDir, log)
		l.opened.Store(o)
		_ = o.Run(ctx) // it only returns when ctx is done
	}()
	return l
}

// usage returns the counts. They are empty until the file was read.
func (l *ledger) usage() status.Usage {
	if o := l.opened.Load(); o != nil {
		return o.Usage()
	}
	return status.Usage{}
}

// stop counts a last report and saves the counts. It waits no longer than ledgerSaveTime for
// the disk; the counts of the last minute are then lost.
func (l *ledger) stop(last *status.Report) {
	if o := l.opened.Load(); o != nil {
		o.Observe(last)
	}
	l.cancel()
	select {
	case <-l.ended:
	case <-time.After(ledgerSaveTime):
	}
}
