// Package driver is Docker's face of the plugin and the conductor of what is behind it: the log driver
// endpoints that dockerd calls, and one session a container, which ties FIFO, spool, events and delivery
// together and survives the plugin.
//
// The package must not know AWS, batches or retries: where events go it learns from the settings and from
// a Place, and it hands them to a Shipper.
package driver

import (
	"context"
	"errors"
	"fmt"
	"github.com/logspool/logspool/driver/archive"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/driver/fifo"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// Destination is where the events of a container, or of one of its outputs, go, and by whose leave. It is comparable.
type Destination struct {
	Region, Endpoint, Group, Stream string
	CreateGroup, CreateStream       bool
	NewGroup                        *config.NewGroup // what the group gets if it has to be made; never nil

	RoleARN, ExternalID, CredentialsEndpoint string // all empty: the plugin's own credentials

	EMF bool // the events are in CloudWatch's embedded metric format

	Entity config.Entity // that the events belong to
}

// Shipper takes events to where they belong. Its method may be called from any goroutine.
type Shipper interface {
	// Ship begins to pull events from f, and flushes at least every delay. It does not block.
	Ship(to Destination, f *feed.Feed, delay time.Duration) Shipment
}

// Shipment is the delivery of one feed. Its methods may be called from any goroutine and do not block.
type Shipment interface {
	// Notify says that so many frames of so many bytes have been added to the feed's spool.
	Notify(frames, bytes int)
	// Finish says that nothing more will come for now: what is there goes out at once.
	Finish()
	// Done is closed when, after Finish, all of the feed is delivered or accounted for.
	Done() <-chan struct{}
	// Detach ends the shipment without waiting for delivery. The returned channel is closed when the
	// feed is not used any more.
	Detach() <-chan struct{}
}

// Place knows where the plugin runs. Its methods may wait for a look-up, not longer than ctx.
type Place interface {
	// Region returns the region for containers that name none.
	Region(ctx context.Context) (string, error)
	// AutoRegion returns the region for containers that ask for it to be looked up, whatever the settings say.
	AutoRegion(ctx context.Context) (string, error)
	// InstanceID returns the EC2 instance's ID, and nothing where there is none. It blocks until that is known; the
	// error is ctx's.
	InstanceID(ctx context.Context) (string, error)
}

// Info is what dockerd says of a container.
type Info = archive.Info

// Options configure a Driver.
type Options struct {
	Settings *config.Settings

	Shipper    Shipper
	Place      Place
	LoggerHost string // the Docker host's name
	FIFODir    string // the only directory for FIFOs; empty: any
	// EngineSocket is where the engine answers, if it was mounted into the plugin.
	EngineSocket string
	Log          *slog.Logger
	// FS is the file system of the state directory; nil: durable.OS.
	FS durable.FS
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

	archive *archive.Archive // what is kept of containers that have stopped

	ctx        context.Context // ends when the sessions are to end
	end        context.CancelFunc
	group      errgroup.Group // the sessions' goroutines, the syncing one and that of stopped
	taking     chan struct{}  // closed when the intake has stopped
	stopTaking context.CancelFunc
	reading    context.Context // ends when the answers to docker logs are to end
	stopReads  context.CancelFunc
	readers    sync.WaitGroup // those that give them; begun with mu held
	slowRate   *rate.Limiter  // what those get that cannot keep up
	ready      chan struct{}  // closed when what was attached before is attached again

	mu       sync.Mutex
	sessions map[string]*session // by container ID
	unopened map[string]bool     // what is on disk could not be opened at the start: whether its FIFOs are discarded meanwhile
	closed   bool
}

// errUnopened says that a container's spool waits for a new start: its FIFOs are in the record, and the session that
// docker logs would begin knows nothing of them.
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
		engine:    newEngine(o.EngineSocket),
		intake:    in,
		budget:    spool.NewBudget(o.Settings.SpoolTotalSize),
		ctx:       ctx,
		end:       cancel,
		taking:    make(chan struct{}),
		reading:   reading,
		stopReads: stopReads,
		slowRate:  newSlowRate(),
		ready:     make(chan struct{}),
		sessions:  map[string]*session{},
		unopened:  map[string]bool{},
	}
	d.archive = archive.New(o.Settings.StateDir, d.containersDir(), d.fs, o.Settings.HistoryAge, d.budget, d.log)
	return d, nil
}

// Start attaches what was attached when the plugin last ran and begins to take bytes out of FIFOs. It
// blocks for the local disk. Trouble with one container is logged and does not keep the others.
func (d *Driver) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.stopTaking = cancel
	go func() {
		defer close(d.taking)
		if err := d.intake.Run(ctx); err != nil {
			d.log.Error("FIFOs cannot be read any more", "err", err)
		}
	}()
	if total := d.o.Settings.SpoolTotalSize; d.o.Settings.Unknown.SpoolTotalSize {
		d.budget.Raise(d.onDisk() + total)
	}
	d.reattach()
	if every := d.o.Settings.SpoolSync; every > 0 {
		d.group.Go(func() error { d.syncEvery(every); return nil })
	}
	d.group.Go(func() error { d.archive.Run(d.ctx); return nil })
	close(d.ready)
}

func (d *Driver) containersDir() string { return filepath.Join(d.o.Settings.StateDir, "containers") }

// onDisk returns the bytes of all spools, of containers that run and that have stopped.
func (d *Driver) onDisk() (sum int64) {
	for _, dir := range []string{d.containersDir(), d.archive.Dir} {
		entries, _ := d.fs.ReadDir(dir) // who opens them will say what is wrong
		for _, e := range entries {
			info, _ := spool.Inspect(d.fs, filepath.Join(dir, e.Name(), archive.SpoolName))
			sum += info.Bytes
		}
	}
	return sum
}

// startLogging attaches the FIFO file of the container that info describes. It blocks for the local disk only.
func (d *Driver) startLogging(file string, info *Info) error {
	if err := d.checkFile(file); err != nil {
		return err
	}
	err := d.attach(file, info)
	if err != nil {
		d.removeFIFO(file) // dockerd leaves it behind
	}
	return err
}

func (d *Driver) attach(file string, info *Info) error {
	if !archive.ValidID(info.ContainerID) {
		return fmt.Errorf("logspool: StartLogging: %s is not a container's ID", shorten(info.ContainerID))
	}
	conf, err := d.o.Settings.Container(info.Config, info.ContainerEnv)
	if err != nil {
		return err
	}
	names := d.container(info, conf)
	if err := d.o.Settings.CheckGroup(conf, &names); err != nil {
		return err
	}
	for {
		s, err := d.session(info)
		if err != nil {
			return fmt.Errorf("logspool: container %s cannot be spooled: %w", info.ContainerID, err)
		}
		err = s.attach(file, info)
		if !errors.Is(err, errRetired) {
			return err
		}
		// It ended between the two calls; the next one is new, once this one has let go.
		<-s.gone
	}
}

// session returns the container's session, and makes one if there is none.
func (d *Driver) session(info *Info) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.New("the plugin is stopping")
	}
	if s := d.sessions[info.ContainerID]; s != nil {
		return s, nil
	}
	return d.beginLocked(info.ContainerID, info)
}

// beginLocked begins a container's session, with what is kept of it. info is what a StartLogging says of it; nil: there is
// none, and no session where nothing is kept.
func (d *Driver) beginLocked(id string, info *Info) (*session, error) {
	discarded, unopened := d.unopened[id]
	if unopened && info == nil {
		return nil, errUnopened
	}
	was, err := d.archive.Take(id)
	if err != nil || was == archive.Nowhere && info == nil {
		return nil, err
	}
	s, err := openSession(d, id, info, was == archive.Archived)
	if err != nil {
		if was == archive.Archived {
			d.archive.Return(id)
		}
		return nil, err
	}
	delete(d.unopened, id)
	if was == archive.Live && !discarded { // nobody reads the FIFOs that the record names
		s.reopenFIFOs()
	}
	d.sessions[id] = s
	s.start()
	return s, nil
}

// stopLogging takes what is left in the FIFO file and ends its attachment. An unknown one is no error.
func (d *Driver) stopLogging(ctx context.Context, file string) error {
	d.mu.Lock()
	var found *session
	for _, s := range d.sessions {
		if s.has(file) {
			found = s
			break
		}
	}
	d.mu.Unlock()
	if found == nil {
		return nil
	}
	return found.detach(ctx, file)
}

func (d *Driver) syncEvery(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var bad trouble
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
			bad.note(d.log, "spools cannot be synced", d.Sync())
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
	if d.stopTaking != nil {
		d.stopTaking()
		<-d.taking
	}
}

// Sync puts everything that was spooled and acknowledged on the disk, with SPOOL_SYNC. It blocks for as long as that takes.
func (d *Driver) Sync() error {
	if d.o.Settings.SpoolSync == 0 {
		return nil // the kernel has the data, and a power cut may take it
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, s := range d.all() {
		g.Go(s.sync)
	}
	return g.Wait()
}

func (d *Driver) all() []*session {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*session, 0, len(d.sessions))
	for _, s := range d.sessions {
		all = append(all, s)
	}
	return all
}

// Close ends the sessions and closes the spools. The Shipper must not use its feeds any more.
func (d *Driver) Close() error {
	d.end()
	err := d.group.Wait()
	d.readers.Wait()
	for _, s := range d.all() {
		err = errors.Join(err, s.close())
	}
	return err
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
