// Package statusserver serves the plugin's status in two places: as JSON on a unix socket in
// the state directory, for root, and as a page, metrics and probes at STATUS_ADDR, if that is
// set. Get reads the status from the socket.
//
// A server that cannot listen tries again. It never ends the plugin, and clients can cost it
// only a bounded number of descriptors and connections.
//
// The package must not know what a report says, except whether it is healthy.
package statusserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/status"
)

const (
	// socketMode lets only the owner use the socket.
	socketMode = 0o600

	// stateDirMode is for a state directory that does not exist yet.
	stateDirMode = 0o700

	// dialTime is how long another process may take to accept a connection.
	dialTime = time.Second
)

// socketHandler serves a report as JSON, and the profiles of net/http/pprof. Only root can
// reach it, so it checks neither the host nor the origin of a request.
func socketHandler(s status.Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(status.ReportPath, onlyRead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Report()) // the client is gone
	}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not found: the status is at "+status.ReportPath, http.StatusNotFound)
	})
	return mux
}

// socket is a unix socket in a directory. The file is opened through the directory, because
// the kernel limits the path of a socket to 107 bytes (unix(7)), and a state directory of
// Docker can be longer.
type socket struct{ dir *os.File }

// openSocket opens the directory of a socket. The caller must close it.
func openSocket(stateDir string) (*socket, error) {
	dir, err := os.OpenFile(stateDir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &socket{dir}, nil
}

func (s *socket) close() { s.dir.Close() }

// path is short whatever the path of the directory is. It is valid until close.
func (s *socket) path() string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", s.dir.Fd(), status.SocketName)
}

// stat returns the file's description. A link is not followed.
func (s *socket) stat() (st unix.Stat_t, err error) {
	err = unix.Fstatat(int(s.dir.Fd()), status.SocketName, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

func (s *socket) remove() error {
	return unix.Unlinkat(int(s.dir.Fd()), status.SocketName, 0)
}

func isSocket(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFSOCK }

// errInUse says that another process serves the socket.
var errInUse = errors.New("another process answers at the socket")

// listenSocket listens on the status socket in stateDir, which it makes if it does not exist.
// It replaces a socket at which nobody listens.
func listenSocket(ctx context.Context, stateDir string) (net.Listener, error) {
	if err := os.MkdirAll(stateDir, stateDirMode); err != nil {
		return nil, err
	}
	s, err := openSocket(stateDir)
	if err != nil {
		return nil, err
	}
	l, err := s.listen(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	st, err := s.stat()
	if err != nil {
		l.Close()
		s.close()
		return nil, fmt.Errorf("%s: %w", status.SocketName, err)
	}
	return &socketListener{l, s, st}, nil
}

func (s *socket) listen(ctx context.Context) (net.Listener, error) {
	switch st, err := s.stat(); {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		return nil, fmt.Errorf("%s: %w", status.SocketName, err)
	case !isSocket(st):
		return nil, fmt.Errorf("%s is not a socket", status.SocketName)
	default:
		conn, err := net.DialTimeout("unix", s.path(), dialTime)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			return nil, errInUse // or so busy that it did not answer
		}
		if err := s.remove(); err != nil {
			return nil, fmt.Errorf("couldn't remove the stale %s: %w", status.SocketName, err)
		}
	}
	config := net.ListenConfig{Control: restrict}
	l, err := config.Listen(ctx, "unix", s.path())
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // socketListener does it
	return l, nil
}

// restrict sets the mode of a socket before it has a name. bind(2) gives the file the mode of
// the socket (unix(7)), so the file never has another one.
func restrict(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), socketMode) }); e != nil {
		return e
	}
	return err
}

// socketListener removes its file when it is closed, unless another process has replaced it.
type socketListener struct {
	net.Listener
	socket *socket
	file   unix.Stat_t // file is the file that this listener has made.
}

// Close implements net.Listener.
func (l *socketListener) Close() error {
	err := l.Listener.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	if st, statErr := l.socket.stat(); statErr == nil && st.Ino == l.file.Ino && st.Dev == l.file.Dev {
		err = errors.Join(err, l.socket.remove())
	}
	l.socket.close()
	return err
}

// socketHint says what the operator can do if the status socket cannot be served.
func socketHint(err error) string {
	switch {
	case errors.Is(err, errInUse):
		return "end the other process, or set STATE_DIR to a directory of this plugin's own"
	case strings.HasSuffix(err.Error(), "is not a socket"):
		return "remove the file"
	}
	return "make the state directory writable for the plugin; logspool status works again within ten seconds"
}
