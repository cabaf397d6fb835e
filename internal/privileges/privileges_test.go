package privileges

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Docker's default capabilities (moby, daemon/pkg/oci/caps/defaults.go), which dockerd gives a
// plugin.
var dockers = Of(unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_NET_RAW,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT,
	unix.CAP_KILL, unix.CAP_AUDIT_WRITE)

// With this variable set, the test binary is a program that drops capabilities and writes a report.
const childEnv = "LOGSPOOL_PRIVILEGES_CHILD"

// order says what the child should do. report is the result.
type (
	order struct {
		Start Set      // what to have at first, of what there is
		Files []string // handed to ToRead
		Read  string   // file to read afterwards
	}
	report struct {
		Kept, Dropped Set
		Err           string
		Threads       []string // /proc/self/task/*/status
		ReadErr       string
	}
)

func TestMain(m *testing.M) {
	if s := os.Getenv(childEnv); s != "" {
		child(s)
		return
	}
	code := m.Run()
	if childDir != "" {
		os.RemoveAll(childDir)
	}
	os.Exit(code)
}

// child drops capabilities while it has many threads, and then starts more threads.
func child(s string) {
	var o order
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		panic(err)
	}
	var r report
	_, had, err := capget()
	if err != nil {
		panic(err)
	}
	if had != 0 {
		become(had & o.Start)
	}
	done := make(chan struct{})
	threads(8, done)
	if r.Kept, err = ToRead(o.Files...); err != nil {
		panic(err)
	}
	r.Dropped, err = Drop(r.Kept)
	r.Err = fmt.Sprint(err)
	threads(8, done)
	list, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		panic(err)
	}
	for _, name := range list {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread that ToRead used up
		}
		if err != nil {
			panic(err)
		}
		r.Threads = append(r.Threads, string(b))
	}
	if o.Read != "" {
		_, err := os.ReadFile(o.Read)
		r.ReadErr = fmt.Sprint(err)
	}
	close(done)
	json.NewEncoder(os.Stdout).Encode(r)
}

// become sets the capabilities of all threads to start. The inheritable set gets them too, so that
// there is something to drop.
func become(start Set) {
	header, data := capdata(start, start, start)
	if err := onAllThreads("become", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); err != nil {
		panic(err)
	}
	for s := start; s != 0; s &= s - 1 {
		c := uintptr(bits.TrailingZeros64(uint64(s)))
		if err := onAllThreads("raise", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c); err != nil {
			panic(err)
		}
	}
}

// threads starts n goroutines. Each holds a thread until done is closed.
func threads(n int, done chan struct{}) {
	var up sync.WaitGroup
	for range n {
		up.Add(1)
		go func() {
			runtime.LockOSThread()
			up.Done()
			<-done
		}()
	}
	up.Wait()
}

// childBinary builds this test without cgo. `go test -race` needs cgo.
var (
	childDir    string
	childBinary = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "privileges")
		if err != nil {
			return "", err
		}
		childDir = dir
		if err := os.Chmod(dir, 0o755); err != nil { // another user runs it too
			return "", err
		}
		cmd := exec.Command("go", "test", "-c", "-o", dir+"/child", ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return dir + "/child", nil
	})
)

// runChild makes the child carry out the order. The child runs as uid, if that differs from this
// process's.
func runChild(t *testing.T, uid int, o order) report {
	t.Helper()
	binary, err := childBinary()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), childEnv+"="+string(b))
	cmd.Stderr = os.Stderr
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if r.Err != "<nil>" {
		t.Fatalf("Drop: %s", r.Err)
	}
	if len(r.Threads) < 17 {
		t.Fatalf("%d threads, want 17 or more", len(r.Threads))
	}
	return r
}

// wantThreads checks the kernel's status of every thread.
func wantThreads(t *testing.T, r report, kept Set) {
	t.Helper()
	for _, status := range r.Threads {
		for field, want := range map[string]Set{"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1} {
			m := regexp.MustCompile(`(?m)^` + field + `:\s*([0-9a-f]+)$`).FindStringSubmatch(status)
			if m == nil {
				t.Fatalf("no %s in %q", field, status)
			}
			if got, err := strconv.ParseUint(m[1], 16, 64); err != nil || Set(got) != want {
				t.Errorf("a thread's %s is %s, want %v", field, m[1], want)
			}
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs uid 0: nobody else has anything to drop")
	}
}

// ownedBy makes a file with a mode and an owner.
func ownedBy(t *testing.T, uid int, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "credentials")
	if err := errors.Join(os.WriteFile(name, []byte("key"), 0o600), os.Chmod(name, mode), os.Chown(name, uid, uid)); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDropDropsAllCapabilities(t *testing.T) {
	needRoot(t)
	secret := ownedBy(t, 65534, 0o600)
	r := runChild(t, 0, order{Start: dockers, Read: secret})
	wantThreads(t, r, 0)
	if r.Dropped != dockers || r.Kept != 0 {
		t.Errorf("dropped %v, kept %v", r.Dropped, r.Kept)
	}
	if !strings.Contains(r.ReadErr, "permission denied") {
		t.Errorf("reading another user's file: %s", r.ReadErr)
	}
}

func TestCapabilityToReadCredentialsIsKept(t *testing.T) {
	needRoot(t)
	override := Of(unix.CAP_DAC_OVERRIDE)
	missing := filepath.Join(t.TempDir(), "missing")
	hidden := ownedBy(t, 65534, 0o644)
	if err := errors.Join(os.Chmod(filepath.Dir(hidden), 0o700), os.Chown(filepath.Dir(hidden), 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		files []string
		want  Set
	}{
		{"another user's alone", []string{missing, ownedBy(t, 65534, 0o600)}, override},
		{"another user's, in a directory of his own", []string{hidden}, override},
		{"root's", []string{ownedBy(t, 0, 0o600)}, 0},
		{"everybody's", []string{ownedBy(t, 65534, 0o644)}, 0},
		{"none", []string{missing, "/dev/null"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			last := c.files[len(c.files)-1]
			r := runChild(t, 0, order{Start: dockers, Files: c.files, Read: last})
			wantThreads(t, r, c.want)
			if r.Kept != c.want || r.Dropped != dockers&^c.want {
				t.Errorf("dropped %v, kept %v", r.Dropped, r.Kept)
			}
			if strings.Contains(r.ReadErr, "permission denied") {
				t.Errorf("reading %s afterwards: %s", last, r.ReadErr)
			}
		})
	}
}

// An ordinary user has no capabilities, which is not an error. The bounding set cannot be emptied
// without CAP_SETPCAP, but no_new_privs makes it useless.
func TestOrdinaryUserMayCallDrop(t *testing.T) {
	uid := os.Getuid()
	if uid == 0 {
		uid = 65534
	}
	r := runChild(t, uid, order{Files: []string{"/etc/passwd"}})
	if r.Dropped != 0 || r.Kept != 0 {
		t.Errorf("dropped %v, kept %v, want none", r.Dropped, r.Kept)
	}
	for _, status := range r.Threads {
		for _, want := range []string{"CapPrm:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
			if !strings.Contains(status, want) {
				t.Errorf("no %q in a thread's %q", want, status)
			}
		}
	}
}

func TestSetListsNames(t *testing.T) {
	for s, want := range map[Set]string{
		0:                         "none",
		Of(unix.CAP_DAC_OVERRIDE): "CAP_DAC_OVERRIDE",
		Of(unix.CAP_CHOWN, unix.CAP_SETPCAP, 40) | 1<<50: "CAP_CHOWN CAP_SETPCAP CAP_CHECKPOINT_RESTORE CAP_50",
	} {
		if got := s.String(); got != want {
			t.Errorf("%#x: %s, want %s", uint64(s), got, want)
		}
	}
	if len(names) != unix.CAP_LAST_CAP+1 {
		t.Errorf("%d names for %d capabilities", len(names), unix.CAP_LAST_CAP+1)
	}
}
