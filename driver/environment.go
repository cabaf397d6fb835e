package driver

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// environment is what a session needs from the plugin. All sessions share the one that New
// makes, and nobody changes it afterwards.
type environment struct {
	settings *config.Settings
	log      *slog.Logger
	fifos    *fifos
	workers  *workers

	// These fields are for the state directory.
	fs      durable.FS
	budget  *spool.Budget
	archive *archive.Archive

	// These fields are for delivery.
	deliverer Deliverer
	host      dockerHost
	holds     *holdLog
}

// dockerHost is what names and targets can say about the Docker host.
type dockerHost struct {
	name    string
	locator Locator
	engine  *engine
}

func (e *environment) containersDir() string {
	return filepath.Join(e.settings.StateDir, archive.LiveDir)
}

func (e *environment) containerDir(id string) string { return filepath.Join(e.containersDir(), id) }

// durable reports whether files must survive a power cut.
func (e *environment) durable() bool { return e.settings.SpoolSync > 0 }

// workers are the goroutines of the driver and its sessions.
type workers struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func newWorkers() *workers {
	w := &workers{}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

// start runs work in a goroutine. Its context ends with stop.
func (w *workers) start(work func(context.Context)) { w.wg.Go(func() { work(w.ctx) }) }
