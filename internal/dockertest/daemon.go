// Package dockertest plays dockerd's part towards a logging plugin: its requests on the plugin's
// socket, its FIFOs and its frames, in dockerd's own order (moby, daemon/logger: plugin.go,
// adapter.go, proxy.go and copier.go). It also plays dockerd's bad days: damaged frames, a dockerd
// that is killed, requests out of order.
//
// It makes streams of numbered lines, too, and checks what has become of them (Sequence, Checker).
//
// The package serves tests, the demonstration and benchmarks alike. It must not know the plugin's
// packages, so that it cannot share their mistakes.
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
type Options struct {
	// Socket is the plugin's socket.
	Socket string
	// Dir is the directory of the FIFOs; it is made if it is missing.
	Dir string
	// Scope is the directory of the FIFOs as the plugin is told it; Dir if empty. dockerd says
	// /run/docker/logging, whatever it is outside the plugin's mount namespace.
	Scope string
	// Timeout bounds each try of a request, as "docker plugin enable --timeout" does; 0 is no bound.
	Timeout time.Duration
	// Backoff is the wait before the second try of a request that got no answer; 1 s if zero, as
	// dockerd does it. The wait doubles each time, and the last try ends 30 times as much after the
	// first one began.
	Backoff time.Duration
}

// Daemon is a dockerd, as far as one logging plugin can see. Its methods may be called at the same
// time by several goroutines.
type Daemon struct {
	opt    Options
	client *http.Client

	mu         sync.Mutex
	containers map[*Container]bool // those whose FIFO is open
}

// NewDaemon returns a Daemon. The plugin need not listen yet.
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
				DisableCompression: true, // As go-connections/sockets sets it.
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", o.Socket)
				},
			},
		},
		containers: map[*Container]bool{},
	}, nil
}

// Kill is the death of dockerd: all FIFOs are closed without StopLogging, writers that were blocked
// fail, and the files are left behind. The Daemon can go on as the next dockerd.
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

// Info is what dockerd tells the plugin of a container, with the field names of moby's logger.Info.
// Nil maps and lists become null, as dockerd sends them.
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

// ReadConfig says what "docker logs" asks for. Zero times are no bounds; a Tail of -1 is everything.
type ReadConfig struct {
	Since  time.Time
	Until  time.Time
	Tail   int
	Follow bool
}

// Capability is the answer to LogDriver.Capabilities.
type Capability struct{ ReadLogs bool }

// Error is a plugin's refusal.
type Error struct {
	Method string
	Status int    // HTTP status
	Msg    string // from the answer's Err, or its whole body if that has none
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

// StartLogging sends the request and nothing else: no FIFO is made. Start does it all.
func (d *Daemon) StartLogging(ctx context.Context, file string, info Info) error {
	return d.order(ctx, "LogDriver.StartLogging", struct {
		File string
		Info Info
	}{file, info})
}

// StopLogging sends the request and nothing else, for any file. Container.Stop does it all.
func (d *Daemon) StopLogging(ctx context.Context, file string) error {
	return d.order(ctx, "LogDriver.StopLogging", struct{ File string }{file})
}

// ReadLogs returns the stream of frames that the plugin answers, which the caller closes. It ends
// when the plugin ends it, or with ctx.
func (d *Daemon) ReadLogs(ctx context.Context, info Info, config ReadConfig) (io.ReadCloser, error) {
	return d.request(ctx, "LogDriver.ReadLogs", struct {
		Info   Info
		Config ReadConfig
	}{info, config})
}

// Post sends one request as it is, valid or not, and returns the answer's status and body.
func (d *Daemon) Post(ctx context.Context, method string, body []byte) (status int, answer []byte, err error) {
	resp, err := d.try(ctx, method, bytes.NewBuffer(body))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// order makes a request whose answer holds nothing but an error.
func (d *Daemon) order(ctx context.Context, method string, args any) error {
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

// request makes a request with dockerd's tries (moby, pkg/plugins/client.go). All of them read the
// same buffer: after a try that was sent and timed out, the next has an empty body.
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
	req.Header.Set("Accept", "application/vnd.docker.plugins.v1.2+json") // And no Content-Type.
	return d.client.Do(req)
}

// accepted returns the body of a good answer and turns any other into an Error.
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

// NewID returns a random ID of 64 hexadecimal digits, as dockerd gives to containers, FIFOs and the
// pieces of long lines.
func NewID() string {
	b := make([]byte, 32)
	rand.Read(b) // Never fails.
	return hex.EncodeToString(b)
}
