package driver

import (
	"context"
	"log/slog"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
)

// watch has what the driver looks at in the background, for the status.
type watch struct {
	space   *space
	refused *refusals
	opened  chan struct{} // opened wakes the goroutine that counts backlogs.

	unlisted       *faultlog.Fault // unlisted lasts while the state directory cannot be listed.
	unopenedFaults unopenedFaults
}

func newWatch(stateDir string, log *slog.Logger) *watch {
	return &watch{
		space: newSpace(stateDir, log), refused: newRefusals(log), opened: make(chan struct{}, 1),
		unlisted:       faultlog.NewFault(log, "cannot read the state directory; trying again", "the state directory can be read again", nil),
		unopenedFaults: unopenedFaults{log: log, byID: map[string]*unopenedFault{}},
	}
}

// watchInterval is how often the driver looks whether a warning has ended.
const watchInterval = 5 * time.Second

func (d *Driver) startWatching() {
	d.workers.start(d.space.run)
	d.workers.start(d.countBacklogs)
	d.workers.start(func(ctx context.Context) {
		for pause(ctx, watchInterval) {
			d.refused.check(time.Now())
			for _, s := range d.all() {
				s.updateFullness()
			}
		}
	})
}

// countBacklog has the backlogs counted that an earlier process has left.
func (w *watch) countBacklog() {
	select {
	case w.opened <- struct{}{}:
	default:
	}
}

// countBacklogs counts the lines that an earlier process has left, one container at a time. It
// returns when ctx is done.
func (d *Driver) countBacklogs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.opened:
		}
		for _, s := range d.all() {
			s.spool.CountBacklog(ctx)
		}
	}
}
