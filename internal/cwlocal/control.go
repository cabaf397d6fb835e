package cwlocal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

const controlPrefix = "/_cwlocal/"

// controlHandler serves the control endpoint: what a Server counted and kept, and its
// faults. Requests to it are not signed.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	get := func(name string, value func() any) {
		mux.HandleFunc("GET "+controlPrefix+name, func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, value())
		})
	}
	get("stats", func() any { return s.Stats() })
	get("streams", func() any { return s.Streams() })
	// The copy makes an empty list [] rather than null.
	get("refusals", func() any { return append([]Refusal{}, s.Refusals()...) })
	get("sessions", func() any { return s.Sessions() })
	get("faults", func() any { return s.ListFaults() })
	mux.HandleFunc("GET "+controlPrefix+"events", s.controlEvents)
	mux.HandleFunc("GET "+controlPrefix+"wait", s.controlWait)
	mux.HandleFunc("POST "+controlPrefix+"faults", s.controlAddFault)
	mux.HandleFunc("DELETE "+controlPrefix+"faults", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]int{"cleared": s.ClearFault(0)})
	})
	mux.HandleFunc("DELETE "+controlPrefix+"faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil || id <= 0 {
			replyBadRequest(w, fmt.Errorf("%q is not the number of a fault", r.PathValue("id")))
			return
		}
		reply(w, http.StatusOK, map[string]int{"cleared": s.ClearFault(id)})
	})
	return mux
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(protocol.EncodeJSON(v), '\n'))
}

func replyBadRequest(w http.ResponseWriter, err error) {
	reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

func (s *Server) controlAddFault(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var f Fault
	err = json.Unmarshal(b, &f)
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		replyBadRequest(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]int64{"id": s.AddFault(f)})
}

// controlEvents sends the events that a stream has kept, one JSON object per line.
func (s *Server) controlEvents(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	read := s.Sorted
	switch order := q.Get("order"); order {
	case "", "sorted":
	case "arrival":
		read = s.Arrived
	default:
		replyBadRequest(w, fmt.Errorf("order is %q; it must be sorted or arrival", order))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, e := range read(q.Get("region"), q.Get("group"), q.Get("stream")) {
		if _, err := w.Write(append(protocol.EncodeJSON(e), '\n')); err != nil {
			return
		}
	}
}

// controlWait responds when there are as many events as the client asks for, or with HTTP
// status 408 when the timeout has expired.
func (s *Server) controlWait(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, err := strconv.ParseInt(q.Get("events"), 10, 64)
	if err != nil {
		replyBadRequest(w, fmt.Errorf("events is %q; it must be a number", q.Get("events")))
		return
	}
	timeout := 30 * time.Second
	if text := q.Get("timeout"); text != "" {
		if timeout, err = time.ParseDuration(text); err != nil {
			replyBadRequest(w, err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	region, group, stream := q.Get("region"), q.Get("group"), q.Get("stream")
	err = s.WaitEvents(ctx, region, group, stream, n)
	status := http.StatusOK
	if errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusRequestTimeout
	} else if err != nil {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, map[string]int64{"events": s.store.EventCount(region, group, stream)})
}
