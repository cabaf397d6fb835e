package statusserver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
)

const (
	// getTime is how long the plugin may take to answer.
	getTime = 10 * time.Second

	// maxAnswer is the longest answer that is read. The report of 10,000 containers is smaller.
	maxAnswer = 64 << 20

	// maxHeader is what an answer may have beside the report.
	maxHeader = 64 << 10
)

// ErrNotRunning is in the error of Get if no plugin serves its status in the state directory.
var ErrNotRunning = errors.New("the plugin is not running")

// notRunning is an ErrNotRunning with another text.
type notRunning string

func (e notRunning) Error() string      { return string(e) }
func (notRunning) Is(target error) bool { return target == ErrNotRunning }

// Get returns the status of the plugin whose state directory is stateDir. It blocks until the
// plugin answers, but no longer than ctx or ten seconds. Its error is one line that says what
// to do.
func Get(ctx context.Context, stateDir string) (*status.Report, error) {
	_, r, err := GetRaw(ctx, stateDir)
	return r, err
}

// GetRaw is Get, and also returns the report as the plugin sent it. It may have fields of a
// newer version.
func GetRaw(ctx context.Context, stateDir string) (raw []byte, r *status.Report, err error) {
	s, err := openSocket(stateDir)
	if err != nil {
		return nil, nil, dirError(stateDir, err)
	}
	defer s.close()
	where := oneline.Text(stateDir, maxPath) + "/" + status.SocketName
	switch st, err := s.stat(); {
	case errors.Is(err, unix.ENOENT):
		return nil, nil, notRunning(fmt.Sprintf("there is no %s: the plugin is not running, or is older than this command (docker plugin ls)", where))
	case err != nil:
		return nil, nil, dirError(stateDir, err)
	case !isSocket(st):
		return nil, nil, fmt.Errorf("%s is not a socket: this is not the state directory of logspool", where)
	}
	ctx, cancel := context.WithTimeout(ctx, getTime)
	defer cancel()
	raw, r, err = s.get(ctx, maxAnswer)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, nil, notRunning(fmt.Sprintf("nobody answers at %s: the plugin was killed or is disabled (docker plugin ls)", where))
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, nil, fmt.Errorf("no permission to use %s: run as root", where)
	case ctx.Err() != nil:
		return nil, nil, fmt.Errorf("the plugin did not answer at %s in time: %w", where, ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return nil, nil, fmt.Errorf("the connection to %s was closed before the answer: the plugin stopped, or another program listens there; try again", where)
	case err != nil:
		return nil, nil, fmt.Errorf("%s is not the status of logspool: %s", where, oneline.Text(err.Error(), maxError))
	}
	return raw, r, nil
}

const (
	// maxPath is how much of a path an error has.
	maxPath = 1 << 10

	// maxError is how much an error has of the text of another program.
	maxError = 200
)

func dirError(stateDir string, err error) error {
	dir := oneline.Text(stateDir, maxPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s: the plugin has never run with this state directory", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to read %s: run as root", dir)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s is not a directory", dir)
	}
	return fmt.Errorf("couldn't open the state directory: %s", oneline.Text(err.Error(), maxPath))
}

// get asks for the report, and reads at most limit bytes of it. Another program may listen, so
// the answer can be anything. http.Client would log what such a program sends unasked.
func (s *socket) get(ctx context.Context, limit int) (raw []byte, r *status.Report, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", s.path())
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	req, err := http.NewRequest(http.MethodGet, "http://logspool"+status.ReportPath, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return nil, nil, err
	}
	all := io.LimitReader(conn, int64(limit)+maxHeader)
	resp, err := http.ReadResponse(bufio.NewReader(all), req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the answer has status %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > limit {
		return nil, nil, fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	r = &status.Report{}
	if err := json.Unmarshal(body, r); err != nil {
		return nil, nil, fmt.Errorf("the answer is not a report that this version knows (%w)", err)
	}
	if r.Version == "" || r.Time.IsZero() {
		return nil, nil, errors.New("the answer has no version and no time")
	}
	return body, r, nil
}
