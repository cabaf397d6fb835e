package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/driver/fifo"
	"github.com/logspool/logspool/driver/readlogs"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/spool"
)

// Deliverer delivers events. Its method may be called from any goroutine.
type Deliverer interface {
	// Deliver begins to deliver the events of f, and sends them at least every delay. It does
	// not block.
	Deliver(to target.Target, f *feed.Feed, delay time.Duration) Delivery
}

// Delivery is the delivery of one feed. Its methods may be called from any goroutine and do
// not block.
type Delivery interface {
	// Notify reports that frames were added to the feed's spool.
	Notify(frames, bytes int)
	// Finish reports that nothing more is expected for now. What is there is sent at once.
	Finish()
	// Done is closed when, after Finish, all of the feed is delivered or accounted for.
	Done() <-chan struct{}
	// Detach stops the delivery. The returned channel is closed when the feed is no
	// longer used.
	Detach() <-chan struct{}
	// Failure returns what stops the delivery now, or nil.
	Failure() *status.Failure
}

// Locator finds out where the plugin runs. Its methods may wait for a look-up, but no longer
// than ctx.
type Locator interface {
	// Region returns the region of containers that name none.
	Region(ctx context.Context) (string, error)
	// AutoRegion returns the region of containers that ask for a look-up, whatever the
	// settings say.
	AutoRegion(ctx context.Context) (string, error)
	// InstanceID returns the EC2 instance's ID. The ID is empty if the host is not an EC2
	// instance. The error is ctx's.
	InstanceID(ctx context.Context) (string, error)
}

// Options configure a Driver.
type Options struct {
	Settings  *config.Settings
	Deliverer Deliverer
	Locator   Locator
	Log       *slog.Logger

	// LoggerHost is the Docker host's name.
	LoggerHost string
	// FIFODir is the only directory for FIFOs; empty means that they may be anywhere.
	FIFODir string
	// EngineSocket is the path of the engine's socket, if the operator mounted it into the
	// plugin.
	EngineSocket string
	// FS is the file system of the state directory; nil means durable.OS.
	FS durable.FS
	// OpenFiles is how many descriptors the process may have; 0 means RLIMIT_NOFILE.
	OpenFiles int
}

// Driver is the log driver. Make one with New, call Start, and serve Handler. End it with
// StopIntake, Sync and Close, in this order.
type Driver struct {
	*environment
	*registry
	limits limits
	ready  chan struct{} // ready is closed when the recorded sessions are open.
	intake *workers      // intake has one goroutine, which reads the FIFOs.
	*watch

	// These fields are for the answers to docker logs. answers.wg.Add is called within a call
	// of the registry.
	answers     *workers      // answers counts the answers in progress.
	answerSlots chan struct{} // answerSlots has an element per answer, limits.readers at most.
	throttle    *readlogs.Throttle
}

// New makes a driver. It does not touch the disk.
func New(o Options) (*Driver, error) {
	if o.FS == nil {
		o.FS = durable.OS
	}
	in, err := fifo.New()
	if err != nil {
		return nil, err
	}
	limits := shareDescriptors(cmp.Or(o.OpenFiles, OpenFileLimit()))
	budget := spool.NewBudget(o.Settings.SpoolTotalSize)
	budget.LimitFiles(limits.spools)
	env := &environment{
		settings:  o.Settings,
		log:       o.Log,
		fifos:     newFIFOs(o.FIFODir, in, limits, o.Log),
		workers:   newWorkers(),
		fs:        o.FS,
		budget:    budget,
		deliverer: o.Deliverer,
		host:      dockerHost{name: o.LoggerHost, locator: o.Locator, engine: newEngine(o.EngineSocket)},
		holds:     newHoldLog(o.Log),
	}
	env.archive = archive.New(o.Settings.StateDir, env.containersDir(), o.FS, o.Settings.HistoryAge, budget, o.Log)
	d := &Driver{
		environment: env, registry: newRegistry(), limits: limits,
		ready: make(chan struct{}), intake: newWorkers(), watch: newWatch(o.Settings.StateDir, o.Log),
		answers: newWorkers(), answerSlots: make(chan struct{}, limits.readers), throttle: readlogs.NewThrottle(),
	}
	return d, nil
}

// Start opens the sessions of the plugin's last run, and begins to read FIFOs. It blocks for
// the local disk. It logs a failure with one container and goes on with the others.
func (d *Driver) Start() {
	d.intake.start(func(ctx context.Context) {
		if err := d.fifos.intake.Run(ctx); err != nil {
			faultlog.NewFault(d.log, "reading FIFOs failed, and containers will block; disable and enable the plugin", "", nil).
				Failed("", "err", err, "hint", "disable and enable the plugin")
		}
	})
	if d.settings.Unknown.SpoolTotalSize {
		d.budget.Raise(d.onDisk() + d.settings.SpoolTotalSize)
	}
	d.workers.start(d.budget.Run)
	d.startWatching()
	d.reviewQuarantine()
	d.reattach()
	if d.fifos.dir != "" {
		d.workers.start(func(ctx context.Context) {
			for pause(ctx, unclaimedInterval) {
				d.fifos.discardUnclaimed(d.unread.Load() > 0)
			}
		})
	}
	if d.settings.SpoolSync > 0 {
		d.workers.start(d.syncEvery)
	}
	d.workers.start(d.archive.Run)
	close(d.ready)
}

// onDisk returns the bytes of all spools, of running and of stopped containers.
func (d *Driver) onDisk() (sum int64) {
	for _, dir := range []string{d.containersDir(), d.archive.Dir} {
		entries, _ := d.fs.ReadDir(dir) // Opening them reports errors.
		for _, e := range entries {
			info, _ := spool.Inspect(d.fs, filepath.Join(dir, e.Name(), archive.SpoolName))
			sum += info.Bytes
		}
	}
	return sum
}

// startLogging attaches the FIFO file of the container that info describes. It blocks only
// for the local disk. After an error nothing is left behind.
func (d *Driver) startLogging(file string, info *container.Info) (err error) {
	defer func() {
		if err != nil {
			d.refused.add(container.Label(info.Name, info.ID), err)
		}
	}()
	if err := d.fifos.checkFile(file); err != nil {
		return err
	}
	if err := d.beginCall(); err != nil {
		return err
	}
	defer d.endCall()
	err = d.attach(file, info)
	if err != nil && !errors.Is(err, errClaimed) {
		d.fifos.remove(file) // dockerd leaves it behind.
	}
	return err
}

func (d *Driver) attach(file string, info *container.Info) error {
	if !archive.ValidID(info.ID) {
		return fmt.Errorf("logspool: StartLogging: %s is not a container's ID", shorten(info.ID))
	}
	conf, err := parseOptions(d.settings, info.Config, info.Env, info.Labels)
	if err != nil {
		return err
	}
	names := d.container(info, conf)
	if err := d.settings.CheckGroup(conf, &names); err != nil {
		return err
	}
	if err := d.fifos.checkLimit(file); err != nil {
		return err
	}
	start := newContainerRun(*info, conf)
	s, err := d.holdSession(context.Background(), info.ID, start)
	if err != nil {
		return fmt.Errorf("logspool: cannot open the spool of container %s: %w", info.ID, err)
	}
	defer s.release()
	return s.attach(file, start)
}

// stopLogging reads the FIFO until it is empty, but no longer than ctx, and ends its
// attachment. What is left is read afterwards. stopLogging has no error, because after one
// dockerd would neither close nor remove the FIFO (moby, daemon/logger/adapter.go, Close).
func (d *Driver) stopLogging(ctx context.Context, file string) {
	a := d.fifos.attachment(file)
	if a == nil {
		d.fifos.discardRest(file)
		return
	}
	if err := a.detach(ctx); err != nil {
		d.log.Warn("StopLogging was answered before all of a container's output was read; the plugin keeps reading",
			"container", a.s.name(), "err", err)
	}
}

// diskTasks is how many spools are opened, synced or closed at once.
const diskTasks = 8

func (d *Driver) syncEvery(ctx context.Context) {
	tick := time.NewTicker(d.settings.SpoolSync)
	defer tick.Stop()
	fault := faultlog.NewFault(d.log, "cannot sync spools; a power cut could lose recent lines", "spools can be synced again", nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.Sync(); err != nil {
				report(fault, err, "hint", diskHint(err))
			} else {
				fault.Succeeded()
			}
		}
	}
}

// StopIntake refuses new containers, stops the intake, and aborts the answers to docker
// logs. What is in the FIFOs stays there, except that a StopLogging still drains its FIFO.
func (d *Driver) StopIntake() {
	d.refuseCalls()
	d.fifos.stopDiscarding()
	d.answers.stop()
	d.intake.stop()
	d.intake.wg.Wait()
}

// Sync calls fsync for what was spooled and acknowledged, if SPOOL_SYNC is set. It blocks
// until the disk has it. Without SPOOL_SYNC the kernel has the data, and a power cut may lose
// it.
func (d *Driver) Sync() error {
	if !d.durable() {
		return nil
	}
	return d.forEach((*session).sync)
}

// Close ends the sessions and closes the spools. The Deliverer must no longer use its feeds.
//
// The owners end first, because they start deliveries. The intake and the answers to docker
// logs use the spools, which therefore are closed last.
func (d *Driver) Close() error {
	d.workers.stop()
	d.calls.Wait()
	d.workers.wg.Wait()
	d.answers.wg.Wait()
	d.fifos.intake.Close()
	d.logBacklog()
	d.fifos.close()
	return d.forEach((*session).close)
}

// forEach calls f for all sessions, some of them at once.
func (d *Driver) forEach(f func(*session) error) error {
	var g errgroup.Group
	g.SetLimit(diskTasks)
	for _, s := range d.all() {
		g.Go(func() error {
			if err := f(s); err != nil {
				return fmt.Errorf("container %s: %w", s.name(), err)
			}
			return nil
		})
	}
	return g.Wait()
}
