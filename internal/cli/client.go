package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/status"
)

const (
	// statusTimeout limits how long a command waits for the plugin's status.
	statusTimeout = 10 * time.Second

	// maxReport limits the size of a report, in bytes. 10,000 containers take a third of it.
	maxReport = 64 << 20
)

// errNotRunning says that no plugin serves its status in a state directory.
var errNotRunning = errors.New("no plugin runs with it")

// getReport reads the status of the plugin that runs with the state directory. raw is the
// report as the plugin sent it, which may have fields of a newer version. The error is
// errNotRunning if nothing answers.
func getReport(ctx context.Context, stateDir string) (raw []byte, r *status.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("the plugin did not answer at %s in time: see its log", status.SocketName)
		}
	}()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialStatus(ctx, stateDir) },
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+status.ReportPath, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := client.Do(req)
	var failed *net.OpError
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, nil, fmt.Errorf("only root can read the status in %s: run this command as root", printable(stateDir))
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK):
		return nil, nil, fmt.Errorf("%s: %w: nothing answers at its %s", printable(stateDir), errNotRunning, status.SocketName)
	case errors.As(err, &failed) && failed.Op == "dial":
		return nil, nil, fmt.Errorf("couldn't connect to %s in %s: %w", status.SocketName, printable(stateDir), failed.Err)
	case err != nil:
		return nil, nil, foreign(stateDir)
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxReport+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("the plugin's answer at %s ended too early: try again", status.SocketName)
	case resp.StatusCode != http.StatusOK, len(raw) > maxReport:
		return nil, nil, foreign(stateDir)
	}
	r = new(status.Report)
	var field *json.UnmarshalTypeError
	if err := json.Unmarshal(raw, r); errors.As(err, &field) {
		return nil, nil, fmt.Errorf("the plugin's report has another %s than this command knows: use the logspool command of the plugin's version", printable(field.Field))
	} else if err != nil || r.Time.IsZero() || r.Started.IsZero() {
		return nil, nil, foreign(stateDir)
	}
	return raw, r, nil
}

func foreign(stateDir string) error {
	return fmt.Errorf("what answers at %s in %s is not a logspool plugin", status.SocketName, printable(stateDir))
}

// dialStatus connects to the status socket. The path of a socket has at most 107 bytes (unix(7),
// sun_path), and that of a plugin's state directory is longer. So the directory is opened, and the
// socket is addressed relative to its descriptor.
func dialStatus(ctx context.Context, stateDir string) (net.Conn, error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join("/proc/self/fd", fmt.Sprint(dir.Fd()), status.SocketName))
}
