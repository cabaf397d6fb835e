package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// readInterval is how often a statusReader reads the status.
const readInterval = time.Second

// statusReader reads the status of a plugin: the metrics, as Prometheus does, and the report, as
// `logspool status --watch` does.
type statusReader struct {
	scraper, watcher *http.Client
	metrics          string // metrics is the URL of the metrics.

	cancel context.CancelFunc
	ended  chan struct{}
	reads  int   // reads and err are set before ended is closed.
	err    error // err is the first failure.
}

func (h *host) newReader() *statusReader {
	// Prometheus keeps its connection open. logspool status --watch makes a new one each time.
	return &statusReader{
		scraper: &http.Client{Transport: &http.Transport{}}, watcher: h.socketClient(),
		metrics: "http://" + h.statusAddr + "/metrics", ended: make(chan struct{}),
	}
}

func (r *statusReader) read(ctx context.Context) error {
	return errors.Join(get(ctx, r.scraper, r.metrics, io.Discard), get(ctx, r.watcher, "http://status/status", io.Discard))
}

// start reads the status every second until stop is called.
func (r *statusReader) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.ended)
		tick := time.NewTicker(readInterval)
		defer tick.Stop()
		for {
			err := r.read(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.err = err
				return
			}
			r.reads++
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// stop returns how often the status was read. It fails if one of the reads has failed.
func (r *statusReader) stop() (reads int, err error) {
	r.cancel()
	<-r.ended
	r.scraper.CloseIdleConnections()
	return r.reads, r.err
}

// socketClient returns a client of the plugin's status socket.
func (h *host) socketClient() *http.Client { return statusClient(h.state) }

// statusClient returns a client of the status socket in a state directory.
func statusClient(state string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(state, "status.sock"))
		},
	}}
}

// startProfile writes a profile of the plugin's processor time to the file prefix-name.
func (h *host) startProfile(ctx context.Context, prefix, name string, length time.Duration) (wait func() error) {
	return startProfile(ctx, h.socketClient(), prefix, name, length)
}

// startProfile returns at once, and wait returns when the profile is complete. Without a prefix,
// there is no profile. It covers at least a second.
func startProfile(ctx context.Context, status *http.Client, prefix, name string, length time.Duration) (wait func() error) {
	if prefix == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		var profile bytes.Buffer
		err := get(ctx, status, fmt.Sprintf("http://status/debug/pprof/profile?seconds=%d", int(max(length, time.Second).Seconds())), &profile)
		done <- errors.Join(err, os.WriteFile(prefix+"-"+name, profile.Bytes(), 0o644))
	}()
	return func() error { return <-done }
}

// get writes an answer to w.
func get(ctx context.Context, client *http.Client, url string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(w, resp.Body)
	return err
}
