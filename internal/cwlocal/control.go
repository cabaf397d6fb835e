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

// controlHandler serves what stands under /_cwlocal/. It asks for no signature.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_cwlocal/stats", func(w http.ResponseWriter, r *http.Request) { reply(w, 200, s.Stats()) })
	mux.HandleFunc("GET /_cwlocal/streams", func(w http.ResponseWriter, r *http.Request) { reply(w, 200, s.Streams()) })
	mux.HandleFunc("GET /_cwlocal/refusals", func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, append([]Refusal{}, s.Refusals()...))
	})
	mux.HandleFunc("GET /_cwlocal/sessions", func(w http.ResponseWriter, r *http.Request) { reply(w, 200, s.Sessions()) })
	mux.HandleFunc("GET /_cwlocal/events", s.controlEvents)
	mux.HandleFunc("GET /_cwlocal/wait", s.controlWait)
	mux.HandleFunc("GET /_cwlocal/faults", func(w http.ResponseWriter, r *http.Request) { reply(w, 200, s.ListFaults()) })
	mux.HandleFunc("POST /_cwlocal/faults", s.controlAddFault)
	mux.HandleFunc("DELETE /_cwlocal/faults", func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, map[string]int{"cleared": s.ClearFault(0)})
	})
	mux.HandleFunc("DELETE /_cwlocal/faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil || id <= 0 {
			complain(w, fmt.Errorf("%q is not the number of a fault", r.PathValue("id")))
			return
		}
		reply(w, 200, map[string]int{"cleared": s.ClearFault(id)})
	})
	return mux
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(protocol.EncodeJSON(v), '\n'))
}

func complain(w http.ResponseWriter, err error) {
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
		complain(w, err)
		return
	}
	reply(w, 200, map[string]int64{"id": s.AddFault(f)})
}

// controlEvents gives a stream's kept events, one JSON object a line.
func (s *Server) controlEvents(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	read := s.Sorted
	switch order := q.Get("order"); order {
	case "", "sorted":
	case "arrival":
		read = s.Arrived
	default:
		complain(w, fmt.Errorf("order is %q; it must be sorted or arrival", order))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, e := range read(q.Get("region"), q.Get("group"), q.Get("stream")) {
		if _, err := w.Write(append(protocol.EncodeJSON(e), '\n')); err != nil {
			return
		}
	}
}

// controlWait answers when there are as many events as asked for, with HTTP 408 when the time is up.
func (s *Server) controlWait(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, err := strconv.ParseInt(q.Get("events"), 10, 64)
	if err != nil {
		complain(w, fmt.Errorf("events is %q; it must be a number", q.Get("events")))
		return
	}
	timeout := 30 * time.Second
	if text := q.Get("timeout"); text != "" {
		if timeout, err = time.ParseDuration(text); err != nil {
			complain(w, err)
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
