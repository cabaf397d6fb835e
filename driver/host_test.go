package driver

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

func TestMain(m *testing.M) {
	// net/http waits for half a second before it closes a connection whose request it has not
	// read to its end.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// host is a driver whose state and FIFOs are in a temporary directory.
type host struct {
	t         *testing.T
	dir       string
	env       []string
	shipper   *fakeDeliverer
	log       *strings.Builder
	logMu     sync.Mutex
	faults    faultlog.Set
	disk      durable.FS // nil: the real one
	badEnv    bool       // env may have bad values
	openFiles int        // OpenFiles
	fifoDir   string
	locator   Locator
	*Driver
}

func newHost(t *testing.T, env ...string) *host {
	h := &host{t: t, dir: t.TempDir(), env: env, shipper: newFakeDeliverer(), locator: fakeLocator{}, log: &strings.Builder{}}
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

// wantLogged fails the test unless a logged line contains all of want.
func (h *host) wantLogged(want ...string) {
	h.t.Helper()
	for line := range strings.Lines(h.logged()) {
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	h.t.Errorf("not logged: %q", want)
}

// start starts a driver on what is on disk.
func (h *host) start() {
	h.t.Helper()
	settings, problems := config.Load(append([]string{"STATE_DIR=" + filepath.Join(h.dir, "state"), "LOGSPOUT_GROUP=g"}, h.env...))
	if problems != nil && !h.badEnv {
		h.t.Fatal(problems)
	}
	var err error
	h.Driver, err = New(Options{
		Settings: settings, Deliverer: h.shipper, Locator: h.locator, LoggerHost: "host",
		Log: slog.New(faultlog.NewHandler(slog.NewTextHandler(h, nil), &h.faults)), FS: h.disk, OpenFiles: h.openFiles, FIFODir: h.fifoDir,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Start()
}

// stop stops the driver as main does.
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

// ongoing returns the failure with this message that lasts now, or nil.
func (h *host) ongoing(message string) *faultlog.Ongoing {
	for _, o := range h.faults.Ongoing() {
		if strings.HasPrefix(o.Message, message) {
			return &o
		}
	}
	return nil
}

// report returns the driver's part of the status.
func (h *host) report() *status.Report {
	var r status.Report
	h.Report(&r)
	return &r
}

// containers returns the directories of containers with a session.
func (h *host) containers() []os.DirEntry {
	entries, err := os.ReadDir(filepath.Join(h.dir, "state", "containers"))
	if err != nil {
		h.t.Fatal(err)
	}
	return entries
}

// archived reports whether the driver knows the container's log as archived.
func (h *host) archived(id string) bool {
	_, ok := h.Driver.archive.Since(id)
	return ok
}

// stoppedDirs returns the directories in the archive.
func stoppedDirs(t *testing.T, state string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(state, "stopped"))
	if err != nil && !notExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// waitForNoSession waits until all sessions have ended.
func (h *host) waitForNoSession() {
	h.t.Helper()
	until(h.t, "all sessions have ended", func() bool { return len(h.all()) == 0 })
}

// gone waits until all sessions have ended, and fails unless their files are archived or
// removed.
func (h *host) gone() {
	h.t.Helper()
	h.waitForNoSession()
	if left := h.containers(); len(left) > 0 {
		h.t.Fatalf("left behind: %v", left)
	}
}

// until waits until ready returns true.
func until(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for patience := time.Now().Add(time.Minute); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(patience) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fakeFIFO is dockerd's side of a FIFO.
type fakeFIFO struct {
	t    *testing.T
	path string
	fd   int
	n    int64
}

// stopUndelivered starts the plugin while CloudWatch is down, spools ten lines of the container
// web, and stops the plugin. It returns the container's FIFO.
func (h *host) stopUndelivered() *fakeFIFO {
	h.t.Helper()
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	f.waitUntilEmpty()
	h.stop()
	return f
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

// write writes each line in a frame, as dockerd's copier does. It waits while the pipe is full.
func (f *fakeFIFO) write(source string, lines ...string) {
	f.t.Helper()
	for _, line := range lines {
		f.n++
		f.raw(dockertest.Frame(source, 1e18+f.n, line, nil))
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

// unread returns how many bytes nobody has read.
func (f *fakeFIFO) unread() int {
	n, err := unix.IoctlGetInt(f.fd, unix.TIOCINQ)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// waitUntilEmpty waits until everything has been read.
func (f *fakeFIFO) waitUntilEmpty() {
	f.t.Helper()
	until(f.t, "the FIFO is read", func() bool { return f.unread() == 0 })
}

func (h *host) startContainer(id string, f *fakeFIFO, config map[string]string) {
	h.t.Helper()
	if err := h.startLogging(f.path, &container.Info{ID: id, Name: "/" + id, Config: config}); err != nil {
		h.t.Fatal(err)
	}
}

// startContainerAs starts the container id with a name and log options.
func (h *host) startContainerAs(id, name string, f *fakeFIFO, config map[string]string) {
	h.t.Helper()
	if err := h.startLogging(f.path, &container.Info{ID: id, Name: "/" + name, Config: config}); err != nil {
		h.t.Fatal(err)
	}
}

// stopContainer stops the container as dockerd does: StopLogging, close, remove.
func (h *host) stopContainer(f *fakeFIFO) {
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

// startWithTenLines starts the container web, which prints ten lines, and waits until they
// are delivered.
func (h *host) startWithTenLines() *fakeFIFO {
	h.t.Helper()
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(h.t, "g/web", 10)
	return f
}

// stopAfterTwentyLines waits until twenty lines of the container web are delivered, and stops
// it.
func (h *host) stopAfterTwentyLines(f *fakeFIFO) {
	h.t.Helper()
	if got := h.shipper.wait(h.t, "g/web", 20); len(got) != 20 {
		h.t.Errorf("%d lines were delivered", len(got))
	}
	h.stopContainer(f)
	h.gone()
}

// inParallel calls f for 0 to n-1, atATime of them at once.
func inParallel(n, atATime int, f func(int)) {
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range atATime {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				f(i - 1)
			}
		})
	}
	wg.Wait()
}
