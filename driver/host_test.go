package driver

import (
	"encoding/binary"
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
	"github.com/logspool/logspool/internal/durable"
)

func TestMain(m *testing.M) {
	// net/http waits for half a second before it closes a connection whose request it has not read to its end.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

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

// logs fails the test unless the plugin has logged a line that contains all of these.
func (h *host) logs(want ...string) {
	h.t.Helper()
	for line := range strings.Lines(h.logged()) {
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	h.t.Errorf("not logged: %q", want)
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

// archived reports whether the driver knows the container's log as archived.
func (h *host) archived(id string) bool {
	_, ok := h.Driver.archive.Since(id)
	return ok
}

// stoppedDirs are the histories at rest that are on disk.
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

// ended waits until all sessions have ended.
func (h *host) ended() {
	h.t.Helper()
	until(h.t, "all sessions have ended", func() bool { return len(h.all()) == 0 })
}

// gone waits until all sessions have ended, and holds that what they had is put away or removed.
func (h *host) gone() {
	h.t.Helper()
	h.ended()
	if left := h.containers(); len(left) > 0 {
		h.t.Fatalf("left behind: %v", left)
	}
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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

// runAs starts the container id under a name, with log options.
func (h *host) runAs(id, name string, f *fakeFIFO, config map[string]string) {
	h.t.Helper()
	if err := h.startLogging(f.path, &container.Info{ID: id, Name: "/" + name, Config: config}); err != nil {
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

// tenLines starts the container web, which prints ten lines that are delivered.
func (h *host) tenLines() *fakeFIFO {
	h.t.Helper()
	f := h.fifo("f")
	h.run("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(h.t, "g/web", 10)
	return f
}

// twentyLines holds that twenty lines of the container web are delivered, and ends it.
func (h *host) twentyLines(f *fakeFIFO) {
	h.t.Helper()
	if got := h.shipper.wait(h.t, "g/web", 20); len(got) != 20 {
		h.t.Errorf("%d lines were delivered", len(got))
	}
	h.end(f)
	h.gone()
}

// inParallel calls f for each of n, so many at a time.
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
