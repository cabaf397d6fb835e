package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"

	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/oneline"
)

const (
	// manifest is what the plugin implements (moby, daemon/logger/plugin.go, extName).
	manifest = `{"Implements": ["LogDriver"]}`

	// maxRequest is the largest size of a request, in bytes. Most of a request is the
	// environment and the labels. Linux keeps a process's environment under 6 MiB (execve(2),
	// three quarters of _STK_LIM).
	maxRequest = 16 << 20

	// drainTime is how long StopLogging may read a FIFO. dockerd and docker stop wait for the
	// answer.
	drainTime = 2 * time.Second

	// startTime is how long StopLogging waits for the start of the plugin. docker stop waits
	// too.
	startTime = 10 * time.Second
)

// Handler returns the plugin's HTTP handler. It may be served before Start has returned:
// requests wait.
func (d *Driver) Handler() sdk.Handler {
	h := sdk.NewHandler(manifest)
	h.HandleFunc("/LogDriver.Capabilities", d.handle(func([]byte) (any, error) {
		var answer struct{ Cap struct{ ReadLogs bool } }
		// Without it, dockerd keeps a cache of its own.
		answer.Cap.ReadLogs = d.settings.HistorySize > 0
		return answer, nil
	}))
	h.HandleFunc("/LogDriver.StartLogging", d.handle(func(body []byte) (any, error) {
		var request struct {
			File string
			Info container.Info
		}
		if err := decode(body, &request); err != nil {
			return nil, err
		}
		if err := d.startLogging(request.File, &request.Info); err != nil {
			level := slog.LevelError
			if _, ok := errors.AsType[config.Errors](err); ok {
				// It is the user's mistake, not a failure of the plugin.
				level = slog.LevelWarn
			}
			d.log.Log(context.Background(), level, "StartLogging failed", "container", container.Label(request.Info.Name, request.Info.ID), "err", err)
			return errorAnswer{err.Error()}, nil
		}
		return errorAnswer{}, nil
	}))
	h.HandleFunc("/LogDriver.StopLogging", d.serveStopLogging)
	h.HandleFunc("/LogDriver.ReadLogs", d.serveReadLogs)
	return h
}

// serveStopLogging answers /LogDriver.StopLogging, always with success. After an error,
// dockerd would keep the FIFO and the stream forever (moby, daemon/logger/adapter.go, Close).
// If an answer takes too long, dockerd sends the request again with an empty body, while the
// first one is still in progress.
func (d *Driver) serveStopLogging(w http.ResponseWriter, r *http.Request) {
	body, status, err := readBody(w, r)
	if status == http.StatusMethodNotAllowed {
		writeAnswer(w, status, errorAnswer{err.Error()})
		return
	}
	var request struct{ File string }
	if err == nil && len(body) > 0 {
		err = decode(body, &request)
	}
	if err != nil {
		d.log.Warn("dockerd sent an invalid StopLogging request; it was answered with success", "err", err)
	}
	if request.File != "" {
		wait, cancel := context.WithTimeout(r.Context(), startTime)
		_ = d.awaitReady(wait)
		cancel()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), drainTime)
		d.stopLogging(ctx, request.File)
		cancel()
	}
	writeAnswer(w, http.StatusOK, errorAnswer{})
}

// errorAnswer reports in Err that a request failed. The protocol sends it with status 200.
type errorAnswer struct{ Err string }

// decode reads a request. dockerd sends an empty body when it tries again after a timeout.
func decode(body []byte, into any) error {
	if len(body) == 0 {
		return errors.New("logspool: the request has no body")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("logspool: the request's body is not the protocol's JSON: %v", err)
	}
	return nil
}

func (d *Driver) handle(fn func(body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, status, err := d.body(w, r)
		var answer any
		if err == nil {
			if answer, err = fn(body); err != nil {
				status = http.StatusBadRequest
			}
		}
		if err != nil {
			answer = errorAnswer{err.Error()}
		}
		writeAnswer(w, status, answer)
	}
}

func writeAnswer(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// body reads a request and waits until the driver is ready for it. status is the answer's.
func (d *Driver) body(w http.ResponseWriter, r *http.Request) (body []byte, status int, err error) {
	if body, status, err = readBody(w, r); err != nil {
		return nil, status, err
	}
	if err := d.awaitReady(r.Context()); err != nil {
		return nil, http.StatusServiceUnavailable, err
	}
	return body, http.StatusOK, nil
}

func readBody(w http.ResponseWriter, r *http.Request) (body []byte, status int, err error) {
	if r.Method != http.MethodPost {
		return nil, http.StatusMethodNotAllowed, errors.New("logspool: " + oneline.Text(r.URL.Path, maxShown) + " requires POST")
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("logspool: the request is larger than %d bytes", maxRequest)
	} else if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("logspool: the request cannot be read: %v", err)
	}
	return body, http.StatusOK, nil
}

// awaitReady waits until the sessions of the plugin's last run are open.
func (d *Driver) awaitReady(ctx context.Context) error {
	select {
	case <-d.ready:
		return nil
	case <-ctx.Done():
		return errors.New("logspool: the plugin is starting")
	}
}
