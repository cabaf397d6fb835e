package driver

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

func TestMain(m *testing.M) {
	// net/http waits for half a second before it closes a connection whose request it has not read to its end.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// fakeDeliverer delivers what it is given to itself, while it is not down.
type fakeDeliverer struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and made anew at each change
	down      bool
	delivered map[string][]string // by group/stream
	shipped   []target.Target
	wg        sync.WaitGroup
}

func newFakeDeliverer() *fakeDeliverer {
	return &fakeDeliverer{changed: make(chan struct{}), delivered: map[string][]string{}}
}

func (s *fakeDeliverer) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeDeliverer) setDown(down bool) { s.change(func() { s.down = down }) }

// wait waits until the stream has n messages, and returns them.
func (s *fakeDeliverer) wait(t *testing.T, stream string, n int) []string {
	t.Helper()
	for patience := time.After(time.Minute); ; {
		s.mu.Lock()
		got, changed := append([]string(nil), s.delivered[stream]...), s.changed
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-patience:
			t.Fatalf("%s has %d messages, want %d: %.500q", stream, len(got), n, got)
		}
	}
}

func (s *fakeDeliverer) Deliver(to target.Target, f *feed.Feed, _ time.Duration) Delivery {
	m := &fakeDelivery{s: s, f: f, stream: to.Group + "/" + to.Stream,
		changed: make(chan struct{}, 1), done: make(chan struct{}), left: make(chan struct{})}
	s.change(func() { s.shipped = append(s.shipped, to) })
	s.wg.Go(m.run)
	return m
}

type fakeDelivery struct {
	s          *fakeDeliverer
	f          *feed.Feed
	stream     string
	changed    chan struct{}
	done, left chan struct{}

	mu                 sync.Mutex
	finished, detached bool
}

func (m *fakeDelivery) set(f func()) {
	m.mu.Lock()
	f()
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *fakeDelivery) Notify(int, int)       { m.set(func() {}) }
func (m *fakeDelivery) Finish()               { m.set(func() { m.finished = true }) }
func (m *fakeDelivery) Done() <-chan struct{} { return m.done }
func (m *fakeDelivery) Detach() <-chan struct{} {
	m.set(func() { m.detached = true })
	return m.left
}

func (m *fakeDelivery) run() {
	defer close(m.left)
	for done := false; ; {
		m.mu.Lock()
		finished, detached := m.finished, m.detached
		m.mu.Unlock()
		m.s.mu.Lock()
		down, changed := m.s.down, m.s.changed
		m.s.mu.Unlock()
		if detached {
			return
		}
		var due <-chan time.Time
		if !down {
			m.pull()
			if at := m.f.Due(); !at.IsZero() {
				due = time.After(time.Until(at))
			} else if finished && !done {
				close(m.done)
				done = true
			}
			changed = nil
		}
		select {
		case <-m.changed:
		case <-changed:
		case <-due:
		}
	}
}

func (m *fakeDelivery) pull() {
	for {
		e, ok := m.f.Next(time.Now())
		if !ok {
			m.f.Release()
			return
		}
		message, ranges := string(e.Message), append([]stream.Range(nil), e.Ranges...)
		if err := m.f.Ack(ranges); err != nil {
			message += " " + err.Error()
		}
		m.s.change(func() { m.s.delivered[m.stream] = append(m.s.delivered[m.stream], message) })
	}
}

type fakeLocator struct{}

func (fakeLocator) Region(context.Context) (string, error)     { return "r", nil }
func (fakeLocator) AutoRegion(context.Context) (string, error) { return "auto-1", nil }
func (fakeLocator) InstanceID(context.Context) (string, error) { return "i-1", nil }

// host is a driver with its state and FIFOs in a directory of the test's.
type host struct {
	t       *testing.T
	dir     string
	env     []string
	shipper *fakeDeliverer
	log     *strings.Builder
	logMu   sync.Mutex
	disk    durable.FS // nil: the real one
	bad     bool       // env may have bad values
	files   int        // OpenFiles
	fifoDir string
	place   Locator
	*Driver
}

func newHost(t *testing.T, env ...string) *host {
	h := &host{t: t, dir: t.TempDir(), env: env, shipper: newFakeDeliverer(), place: fakeLocator{}, log: &strings.Builder{}}
	t.Cleanup(func() {
		if h.Driver != nil {
			h.stop()
		}
		if t.Failed() {
			t.Log(h.logged())
		}
	})
	return h
}

func (h *host) Write(p []byte) (int, error) {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.Write(p)
}

func (h *host) logged() string {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.String()
}

// start starts a driver on what is there.
func (h *host) start() {
	h.t.Helper()
	settings, problems := config.Load(append([]string{"STATE_DIR=" + filepath.Join(h.dir, "state"), "LOGSPOUT_GROUP=g"}, h.env...))
	if problems != nil && !h.bad {
		h.t.Fatal(problems)
	}
	var err error
	h.Driver, err = New(Options{
		Settings: settings, Deliverer: h.shipper, Locator: h.place, LoggerHost: "host",
		Log: slog.New(slog.NewTextHandler(h, nil)), FS: h.disk, OpenFiles: h.files, FIFODir: h.fifoDir,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Start()
}

// stop stops it as run does.
func (h *host) stop() {
	h.t.Helper()
	h.StopIntake()
	if err := h.Sync(); err != nil {
		h.t.Errorf("Sync: %v", err)
	}
	if err := h.Close(); err != nil {
		h.t.Errorf("Close: %v", err)
	}
	h.shipper.wg.Wait()
	h.Driver = nil
}

// containers returns what is on disk of containers.
func (h *host) containers() []os.DirEntry {
	entries, err := os.ReadDir(filepath.Join(h.dir, "state", "containers"))
	if err != nil {
		h.t.Fatal(err)
	}
	return entries
}

// ended waits until all sessions have ended.
func (h *host) ended() {
	h.t.Helper()
	until(h.t, "all sessions have ended", func() bool { return len(h.all()) == 0 })
}

// until waits until something is so.
func until(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for patience := time.Now().Add(time.Minute); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(patience) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// gone waits until all sessions have ended, and holds that what they had is put away or removed.
func (h *host) gone() {
	h.t.Helper()
	h.ended()
	if left := h.containers(); len(left) > 0 {
		h.t.Fatalf("left behind: %v", left)
	}
}

// fakeFIFO is a FIFO as dockerd holds it.
type fakeFIFO struct {
	t    *testing.T
	path string
	fd   int
	n    int64
}

func (h *host) fifo(name string) *fakeFIFO {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := unix.Mkfifo(path, 0o700); err != nil {
		h.t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	f := &fakeFIFO{t: h.t, path: path, fd: fd}
	h.t.Cleanup(f.close)
	return f
}

func (f *fakeFIFO) close() {
	if f.fd >= 0 {
		unix.Close(f.fd)
		f.fd = -1
	}
}

func fakeFrame(source string, at int64, line string, partial []byte) []byte {
	p := append([]byte{0x0a, byte(len(source))}, source...)
	p = binary.AppendUvarint(append(p, 0x10), uint64(at))
	if line != "" {
		p = append(binary.AppendUvarint(append(p, 0x1a), uint64(len(line))), line...)
	}
	p = append(p, partial...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// write writes lines, each a frame, as the copier of dockerd does: it waits while the pipe is full.
func (f *fakeFIFO) write(source string, lines ...string) {
	f.t.Helper()
	for _, line := range lines {
		f.n++
		f.raw(fakeFrame(source, 1e18+f.n, line, nil))
	}
}

func (f *fakeFIFO) raw(p []byte) {
	f.t.Helper()
	for patience := time.Now().Add(time.Minute); len(p) > 0; {
		n, err := unix.Write(f.fd, p)
		if err == nil {
			p = p[n:]
			continue
		}
		if err != unix.EAGAIN || time.Now().After(patience) {
			f.t.Fatalf("write: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// left returns how many bytes nobody has taken.
func (f *fakeFIFO) left() int {
	n, err := unix.IoctlGetInt(f.fd, unix.TIOCINQ)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// empty waits until everything has been taken.
func (f *fakeFIFO) empty() {
	f.t.Helper()
	until(f.t, "the FIFO is read", func() bool { return f.left() == 0 })
}

func (h *host) run(id string, f *fakeFIFO, config map[string]string) {
	h.t.Helper()
	if err := h.startLogging(f.path, &container.Info{ID: id, Name: "/" + id, Config: config}); err != nil {
		h.t.Fatal(err)
	}
}

// end stops the container as dockerd does: StopLogging, close, remove.
func (h *host) end(f *fakeFIFO) {
	h.t.Helper()
	h.stopLogging(h.t.Context(), f.path)
	f.close()
	os.Remove(f.path)
}

func lines(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf("line %d", i))
	}
	return out
}
