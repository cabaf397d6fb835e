// Package dockertest stands in for dockerd towards a logging plugin: it sends dockerd's
// requests to the plugin's socket, and makes its FIFOs and its frames, in the same order as
// dockerd (moby, daemon/logger: plugin.go, adapter.go, proxy.go and copier.go). It can also
// fail as dockerd can: it writes damaged frames, is killed, and sends requests out of
// order.
//
// It also makes streams of numbered lines, and checks what has become of the lines
// (Sequence, Checker).
//
// Tests, the demo and benchmarks use the package. It must not know the plugin's packages,
// so that it cannot share their mistakes.
package dockertest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Options are the settings of a Daemon.
//
// dockerd always sends the Scope /run/docker/logging, whatever the directory is outside
// the plugin's mount namespace. The time between tries doubles with each try. There are
// no more tries once 30 times Backoff have passed.
type Options struct {
	// Socket is the plugin's socket.
	Socket string
	// Dir is the directory of the FIFOs, which NewDaemon makes if it does not exist.
	Dir string
	// Scope is the path of Dir that the plugin gets; empty means Dir.
	Scope string
	// Timeout limits each try of a request, as "docker plugin enable --timeout" does; 0
	// means no limit.
	Timeout time.Duration
	// Backoff is the time before the second try of a request without an answer; 0 means
	// 1s, as in dockerd.
	Backoff time.Duration
}

// Daemon is what one logging plugin sees of dockerd. Its methods may be called by several
// goroutines at once.
type Daemon struct {
	opt    Options
	client *http.Client

	mu         sync.Mutex          // mu guards containers.
	containers map[*Container]bool // containers has the containers whose FIFO is open.
}

// NewDaemon returns a Daemon. The plugin does not have to listen yet.
func NewDaemon(o Options) (*Daemon, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the FIFOs' directory: %w", err)
	}
	o.Scope = cmp.Or(o.Scope, o.Dir)
	o.Backoff = cmp.Or(o.Backoff, time.Second)
	return &Daemon{
		opt: o,
		client: &http.Client{
			Timeout: o.Timeout,
			Transport: &http.Transport{
				DisableCompression: true, // as go-connections/sockets does
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", o.Socket)
				},
			},
		},
		containers: map[*Container]bool{},
	}, nil
}

// Kill does what the death of dockerd does: it closes all FIFOs without StopLogging, so
// that blocked writes fail, and leaves the files. After that, the Daemon can be used as the
// next dockerd.
func (d *Daemon) Kill() {
	d.mu.Lock()
	var all []*Container
	for c := range d.containers {
		all = append(all, c)
	}
	d.mu.Unlock()
	for _, c := range all {
		c.Kill()
	}
	d.client.CloseIdleConnections()
}

// Info is what dockerd sends about a container, with the field names of moby's logger.Info.
// Nil maps and slices become null, as in dockerd.
type Info struct {
	Config              map[string]string
	ContainerID         string
	ContainerName       string
	ContainerEntrypoint string
	ContainerArgs       []string
	ContainerImageID    string
	ContainerImageName  string
	ContainerCreated    time.Time
	ContainerEnv        []string
	ContainerLabels     map[string]string
	LogPath             string
	DaemonName          string
}

// ReadConfig is what "docker logs" asks for. A zero time is no limit, and a Tail of -1 is
// all lines.
type ReadConfig struct {
	Since  time.Time
	Until  time.Time
	Tail   int
	Follow bool
}

// Capability is the answer to LogDriver.Capabilities.
type Capability struct{ ReadLogs bool }

// Error is an error that the plugin has answered.
type Error struct {
	Method string
	Status int    // Status is the HTTP status.
	Msg    string // Msg is the answer's Err, or the whole body if it has no Err.
}

func (e *Error) Error() string { return fmt.Sprintf("%s: status %d: %s", e.Method, e.Status, e.Msg) }

// Capabilities asks what the plugin can do.
func (d *Daemon) Capabilities(ctx context.Context) (Capability, error) {
	var answer struct {
		Cap Capability
		Err string
	}
	err := d.call(ctx, "LogDriver.Capabilities", nil, &answer)
	if err == nil && answer.Err != "" {
		err = &Error{"LogDriver.Capabilities", http.StatusOK, answer.Err}
	}
	return answer.Cap, err
}

// StartLogging sends only the request, and makes no FIFO. Start does both.
func (d *Daemon) StartLogging(ctx context.Context, file string, info Info) error {
	return d.command(ctx, "LogDriver.StartLogging", struct {
		File string
		Info Info
	}{file, info})
}

// StopLogging sends only the request, for any file. Container.Stop also closes and removes
// the FIFO.
func (d *Daemon) StopLogging(ctx context.Context, file string) error {
	return d.command(ctx, "LogDriver.StopLogging", struct{ File string }{file})
}

// ReadLogs returns the stream of frames that the plugin answers. The caller must close it.
// It ends when the plugin ends it, or with ctx.
func (d *Daemon) ReadLogs(ctx context.Context, info Info, config ReadConfig) (io.ReadCloser, error) {
	return d.request(ctx, "LogDriver.ReadLogs", struct {
		Info   Info
		Config ReadConfig
	}{info, config})
}

// Post sends any body, valid or not, once, and returns the answer's status and body.
func (d *Daemon) Post(ctx context.Context, method string, body []byte) (status int, answer []byte, err error) {
	resp, err := d.try(ctx, method, bytes.NewBuffer(body))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// command makes a request whose answer has only an error.
func (d *Daemon) command(ctx context.Context, method string, args any) error {
	var answer struct{ Err string }
	if err := d.call(ctx, method, args, &answer); err != nil {
		return err
	}
	if answer.Err != "" {
		return &Error{method, http.StatusOK, answer.Err}
	}
	return nil
}

func (d *Daemon) call(ctx context.Context, method string, args, answer any) error {
	body, err := d.request(ctx, method, args)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("%s: couldn't read the answer: %w", method, err)
	}
	return nil
}

// request makes a request, with as many tries as dockerd makes (moby,
// pkg/plugins/client.go). All tries read the same buffer: after a try that was sent and
// timed out, the next one has an empty body.
func (d *Daemon) request(ctx context.Context, method string, args any) (io.ReadCloser, error) {
	var body bytes.Buffer
	if args != nil {
		if err := json.NewEncoder(&body).Encode(args); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	for wait := d.opt.Backoff; ; wait *= 2 {
		resp, err := d.try(ctx, method, &body)
		if err == nil {
			return accepted(method, resp)
		}
		if ctx.Err() != nil || time.Since(start)+wait >= 30*d.opt.Backoff {
			return nil, fmt.Errorf("%s: %w", method, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (d *Daemon) try(ctx context.Context, method string, body *bytes.Buffer) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin.moby.localhost/"+method, body)
	if err != nil {
		return nil, err
	}
	// dockerd sends no Content-Type.
	req.Header.Set("Accept", "application/vnd.docker.plugins.v1.2+json")
	return d.client.Do(req)
}

// accepted returns the body of an answer with status 200, and an Error for any other answer.
func accepted(method string, resp *http.Response) (io.ReadCloser, error) {
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, errors.Join(&Error{method, resp.StatusCode, ""}, err)
	}
	var answer struct{ Err string }
	if json.Unmarshal(body, &answer) != nil || answer.Err == "" {
		answer.Err = string(body)
	}
	return nil, &Error{method, resp.StatusCode, answer.Err}
}

// NewID returns a random ID of 64 hexadecimal digits, as containers, FIFOs and partial
// lines have in dockerd.
func NewID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
