package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/driver/fifo"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/spool"
)

// Deliverer takes events to where they belong. Its method may be called from any goroutine.
type Deliverer interface {
	// Deliver begins to pull events from f, and flushes at least every delay. It does not block.
	Deliver(to target.Target, f *feed.Feed, delay time.Duration) Delivery
}

// Delivery is the delivery of one feed. Its methods may be called from any goroutine and do not block.
type Delivery interface {
	// Notify says that so many frames of so many bytes have been added to the feed's spool.
	Notify(frames, bytes int)
	// Finish says that nothing more will come for now: what is there goes out at once.
	Finish()
	// Done is closed when, after Finish, all of the feed is delivered or accounted for.
	Done() <-chan struct{}
	// Detach ends the delivery without waiting for delivery. The returned channel is closed when the
	// feed is not used any more.
	Detach() <-chan struct{}
}

// Locator knows where the plugin runs. Its methods may wait for a look-up, not longer than ctx.
type Locator interface {
	// Region returns the region for containers that name none.
	Region(ctx context.Context) (string, error)
	// AutoRegion returns the region for containers that ask for it to be looked up, whatever the settings say.
	AutoRegion(ctx context.Context) (string, error)
	// InstanceID returns the EC2 instance's ID, and nothing where there is none. It blocks until that is known; the
	// error is ctx's.
	InstanceID(ctx context.Context) (string, error)
}

// Options configure a Driver.
type Options struct {
	Settings *config.Settings

	Deliverer  Deliverer
	Locator    Locator
	LoggerHost string // the Docker host's name
	FIFODir    string // the only directory for FIFOs; empty: any
	// EngineSocket is where the engine answers, if it was mounted into the plugin.
	EngineSocket string
	Log          *slog.Logger
	// FS is the file system of the state directory; nil: durable.OS.
	FS durable.FS
	// OpenFiles is how many descriptors the process may have; 0: what RLIMIT_NOFILE says.
	OpenFiles int
}

// Driver is the log driver. Make one with New, call Start, serve Handler, and end it with StopIntake, Sync
// and Close, in this order.
type Driver struct {
	o      Options
	log    *slog.Logger
	fs     durable.FS
	engine *engine
	intake *fifo.Intake
	budget *spool.Budget

	holds *holdLog

	archive *archive.Archive // what is kept of containers that have stopped

	limits     limits
	ctx        context.Context // ends when the sessions are to end
	end        context.CancelFunc
	group      errgroup.Group // the sessions' goroutines and the driver's own
	intakeDone chan struct{}  // closed when the intake has stopped
	stopIntake context.CancelFunc
	reading    context.Context // ends when the answers to docker logs are to end
	stopReads  context.CancelFunc
	readers    sync.WaitGroup // those that give them; begun within a call
	calls      sync.WaitGroup // requests that may open a session; begun with mu held
	slowRate   *rate.Limiter  // what those get that cannot keep up
	ready      chan struct{}  // closed when what was attached before is attached again

	// mu guards the maps and what follows them. It is never held over disk I/O or a wait.
	mu         sync.Mutex
	slots      map[string]*slot       // by container ID
	sessions   map[string]*session    // by container ID: those of the slots
	files      map[string]*attachment // by File: who reads it
	discarding map[string]*discarding // by File: who discards it
	unopened   map[string]bool        // by container ID: what is on disk could not be opened at the start
	unread     int                    // how many of these have a record that may become readable
	reads      int                    // docker logs being answered
	closed     bool
}

// errUnopened says that a container's spool could not be opened at the start. It is tried again; docker logs does not
// open it, because the session would know nothing of the container's FIFOs.
var errUnopened = errors.New("it could not be opened when the plugin started")

// New makes a driver. It touches nothing yet.
func New(o Options) (*Driver, error) {
	if o.FS == nil {
		o.FS = durable.OS
	}
	in, err := fifo.New()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	reading, stopReads := context.WithCancel(context.Background())
	d := &Driver{
		o: o, log: o.Log, fs: o.FS,
		engine:     newEngine(o.EngineSocket),
		intake:     in,
		budget:     spool.NewBudget(o.Settings.SpoolTotalSize),
		holds:      newHoldLog(o.Log),
		ctx:        ctx,
		end:        cancel,
		intakeDone: make(chan struct{}),
		reading:    reading,
		stopReads:  stopReads,
		slowRate:   newSlowRate(),
		ready:      make(chan struct{}),
		limits:     shareOut(cmp.Or(o.OpenFiles, openFileLimit())),

		slots:      map[string]*slot{},
		sessions:   map[string]*session{},
		files:      map[string]*attachment{},
		discarding: map[string]*discarding{},
		unopened:   map[string]bool{},
	}
	d.budget.LimitFiles(d.limits.spools)
	d.archive = archive.New(o.Settings.StateDir, d.containersDir(), d.fs, o.Settings.HistoryAge, d.budget, d.log)
	return d, nil
}

// Start attaches what was attached when the plugin last ran and begins to take bytes out of FIFOs. It
// blocks for the local disk. Trouble with one container is logged and does not keep the others.
func (d *Driver) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.stopIntake = cancel
	go func() {
		defer close(d.intakeDone)
		if err := d.intake.Run(ctx); err != nil {
			d.log.Error("FIFOs cannot be read any more", "err", err)
		}
	}()
	if total := d.o.Settings.SpoolTotalSize; d.o.Settings.Unknown.SpoolTotalSize {
		d.budget.Raise(d.onDisk() + total)
	}
	d.group.Go(func() error { d.budget.Run(d.ctx); return nil })
	d.reviewKept()
	d.reattach()
	if d.o.FIFODir != "" {
		d.group.Go(func() error { d.discardUnclaimed(d.ctx); return nil })
	}
	if every := d.o.Settings.SpoolSync; every > 0 {
		d.group.Go(func() error { d.syncEvery(every); return nil })
	}
	d.group.Go(func() error { d.archive.Run(d.ctx); return nil })
	close(d.ready)
}

func (d *Driver) containersDir() string { return filepath.Join(d.o.Settings.StateDir, "containers") }

func (d *Driver) containerDir(id string) string { return filepath.Join(d.containersDir(), id) }

// onDisk returns the bytes of all spools, of containers that run and that have stopped.
func (d *Driver) onDisk() (sum int64) {
	for _, dir := range []string{d.containersDir(), d.archive.Dir} {
		entries, _ := d.fs.ReadDir(dir) // opening them reports what is wrong
		for _, e := range entries {
			info, _ := spool.Inspect(d.fs, filepath.Join(dir, e.Name(), archive.SpoolName))
			sum += info.Bytes
		}
	}
	return sum
}

// optionError says that a container's log options are invalid: the user's mistake, not a failure of the plugin.
type optionError struct{ error }

func (e optionError) Unwrap() error { return e.error }

// startLogging attaches the FIFO file of the container that info describes. It blocks for the local disk only. After an
// error nothing is left behind.
func (d *Driver) startLogging(file string, info *container.Info) error {
	if err := d.checkFile(file); err != nil {
		return err
	}
	if err := d.beginCall(); err != nil {
		return err
	}
	defer d.endCall()
	err := d.attach(file, info)
	if err != nil && !errors.Is(err, errClaimed) {
		d.removeFIFO(file) // dockerd leaves it behind
	}
	return err
}

func (d *Driver) attach(file string, info *container.Info) error {
	if !archive.ValidID(info.ID) {
		return fmt.Errorf("logspool: StartLogging: %s is not a container's ID", shorten(info.ID))
	}
	conf, err := d.o.Settings.Container(info.Config, info.Env)
	if err != nil {
		return optionError{err}
	}
	names := d.container(info, conf)
	if err := d.o.Settings.CheckGroup(conf, &names); err != nil {
		return optionError{err}
	}
	if err := d.checkLimit(file); err != nil {
		return err
	}
	s, err := d.holdSession(context.Background(), info.ID, info)
	if err != nil {
		return fmt.Errorf("logspool: container %s cannot be spooled: %w", info.ID, err)
	}
	defer s.release()
	return s.attach(file, info)
}

// stopLogging takes what is left in the FIFO file and ends its attachment. It cannot fail: after an error dockerd would
// neither close nor remove the FIFO (moby, daemon/logger/adapter.go, Close). What could not be taken before ctx is
// done is read on.
func (d *Driver) stopLogging(ctx context.Context, file string) {
	a := d.attachment(file)
	if a == nil {
		d.discardRest(file)
		return
	}
	if err := a.detach(ctx); err != nil {
		d.log.Warn("the rest of a container's output could not be read before StopLogging was answered; it is read on",
			"container", a.s.name(), "err", err)
	}
}

// diskTasks is how many spools are synced, opened or closed at once.
const diskTasks = 8

func (d *Driver) syncEvery(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	bad := faultlog.NewFault(d.log, "spools cannot be synced; a power cut may lose what is not on the disk", "spools can be synced again", nil)
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
			if err := d.Sync(); err != nil {
				bad.Failed(errorKind(err), "err", err)
			} else {
				bad.Succeeded()
			}
		}
	}
}

// StopIntake refuses new containers, stops taking bytes out of FIFOs and breaks off the answers to docker logs. What is
// in the FIFOs stays there.
func (d *Driver) StopIntake() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stopReads()
	if d.stopIntake != nil {
		d.stopIntake()
		<-d.intakeDone
	}
}

// Sync puts everything that was spooled and acknowledged on the disk, with SPOOL_SYNC. It blocks for as long as that takes.
func (d *Driver) Sync() error {
	if d.o.Settings.SpoolSync == 0 {
		return nil // the kernel has the data, and a power cut may take it
	}
	var g errgroup.Group
	g.SetLimit(diskTasks)
	for _, s := range d.all() {
		g.Go(s.sync)
	}
	return g.Wait()
}

// Close ends the sessions and closes the spools. The Deliverer must not use its feeds any more.
func (d *Driver) Close() error {
	d.end()
	d.calls.Wait()
	err := d.group.Wait()
	d.readers.Wait()
	d.intake.Close()
	d.logBacklog()
	var g errgroup.Group
	g.SetLimit(diskTasks)
	for _, s := range d.all() {
		g.Go(s.close)
	}
	d.mu.Lock()
	discarding := slices.Collect(maps.Values(d.discarding))
	d.mu.Unlock()
	for _, x := range discarding {
		x.loss.Close()
	}
	return errors.Join(err, g.Wait())
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
