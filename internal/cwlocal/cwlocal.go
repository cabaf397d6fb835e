// Package cwlocal is a strict stand-in for Amazon CloudWatch Logs: it holds every rule that the
// service holds, answers with the service's own error codes and messages, and fails on demand, so
// that a client which gets along with it gets along with the service, on its bad days too.
//
// On the same port it answers STS's AssumeRole, so that a client which assumes a role can be told from
// one that doesn't: Stats and StreamStats say whose keys a request was signed with.
//
// It speaks HTTP only. It must not know the uploader or use its code, so that it cannot share its
// mistakes; it was written from the service's model and documentation alone. Where the service is
// lenient and a client that leans on it would be wrong all the same, cwlocal refuses: unknown or
// doubled members of a request, numbers with a fraction where a whole number is meant.
//
// Every request is checked whole before a fault or a quota is applied to it, so no fault hides a
// broken rule: Refusals lists the requests that broke one. Everything is kept in memory.
package cwlocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/fault"
	"github.com/logspool/logspool/internal/cwlocal/protocol"
	"github.com/logspool/logspool/internal/cwlocal/stats"
	"github.com/logspool/logspool/internal/cwlocal/store"
)

// Options say what a Server checks and keeps. The zero value checks everything but the value of
// signatures, sets no quotas, and keeps all events.
type Options struct {
	// Keys are secret access keys by access key ID. When there are any, a request must be signed
	// by one of them and its signature is computed over the bytes as they came. When there are
	// none, any key will do and only the form of the signature is checked.
	Keys map[string]string

	// Roles are those that AssumeRole gives keys for, by their ARN. Nil: every role, and whatever external
	// ID. Keys that it gave out are always checked, signature and session token, and expire.
	Roles map[string]Role

	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// Keep is how many events each stream keeps for reading: 0 is all of them, N the N that came
	// last, KeepNone none. Counts, digests and sequences cover all events whatever Keep is.
	Keep int

	// Quotas holds each region to the service's default quotas (see store.DefaultRates). Rates, in
	// requests a second by operation, does the same with other numbers.
	Quotas bool
	Rates  map[string]float64

	// OnAccepted is called for every accepted batch, in order of arrival, with a lock of the
	// Server held: it must be quick and must not call the Server. It may keep the events.
	OnAccepted func(region, group, stream string, events []Event)

	// OnRefused is called for every request that broke a rule, as Refusals would list it.
	OnRefused func(Refusal)

	// Sequence finds a writer's name and a running number in a message, so that StreamStats can
	// say what is missing, doubled or out of order (see MarkedSequence). Nil checks nothing.
	Sequence func(message string) (writer string, n uint64, ok bool)
}

// Server is the stand-in. It is an http.Handler for the service's API and, under /_cwlocal/, for
// faults and introspection. All methods may be called at once.
type Server struct {
	opts     Options
	now      func() time.Time
	control  http.Handler
	store    *store.Store
	keys     *store.Credentials
	quotas   *store.Quotas
	faults   fault.List
	recorder *stats.Recorder
	closing  chan struct{} // closed by Close: lets go of what hangs or waits
	handlers sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever a request has ended

	listener net.Listener // nil unless Start made it
	http     *http.Server
	closed   sync.Once
	served   chan error
}

// New makes a Server that listens nowhere; use it as a handler.
func New(opts Options) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{
		opts:     opts,
		now:      opts.Now,
		store:    store.New(store.Options{Now: opts.Now, Keep: opts.Keep, OnAccepted: opts.OnAccepted, Sequence: opts.Sequence}),
		keys:     store.NewCredentials(opts.Keys, opts.Roles, opts.Now),
		quotas:   store.NewQuotas(opts.Quotas, opts.Rates),
		recorder: stats.New(),
		closing:  make(chan struct{}),
		changed:  make(chan struct{}),
	}
	s.control = s.controlHandler()
	return s
}

// Start makes a Server that listens on a TCP address, such as 127.0.0.1:0. Close stops it.
func Start(address string, opts Options) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("couldn't listen: %w", err)
	}
	s := New(opts)
	s.listener = l
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.served = make(chan error, 1)
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

// URL is the endpoint of a Server made by Start, without a slash at its end.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close lets go of requests that hang, stops listening, and waits for what is under way. It takes
// two seconds at most, unless a callback blocks.
func (s *Server) Close() error {
	var err error
	s.closed.Do(func() {
		close(s.closing)
		if s.http != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			// Shutdown waits for open requests; a client that keeps sending its body is cut off.
			err = s.http.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				err = s.http.Close()
			}
			<-s.served
		}
		s.handlers.Wait()
	})
	return err
}

// A call is one request on its way through.
type call struct {
	w   http.ResponseWriter
	r   *http.Request
	req *protocol.Request
}

func (c *call) write(resp protocol.Response) { resp.Write(c.w, c.req.ID) }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	if strings.HasPrefix(r.URL.Path, "/_cwlocal/") {
		s.control.ServeHTTP(w, r)
		return
	}
	// By the clock that times are checked by: clients whose own is off learn it from here.
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	c := &call{w: w, r: r, req: protocol.NewRequest(r)}
	s.recorder.Begin()
	refused, err := c.req.Read(r, s.now(), s.keys.FindKey)
	switch {
	case err != nil: // the client went away in mid-body
		s.end(c, "gone", nil)
		panic(http.ErrAbortHandler)
	case refused != nil:
		s.end(c, refused.Code, refused)
		c.write(c.req.ErrorResponse(refused))
	case !s.quotas.Allow(c.req.Auth.Region, c.req.Operation, s.now()):
		s.end(c, protocol.ErrThrottled.Code, protocol.ErrThrottled)
		c.write(c.req.ErrorResponse(protocol.ErrThrottled))
	default:
		if f := s.faults.Pick(r.Context(), c.req, s.now(), s.closing); f != nil {
			s.serveFault(c, f)
			return
		}
		resp, outcome, failed := s.run(c)
		s.end(c, outcome, failed)
		c.write(resp)
	}
}

// run carries out a checked request.
func (s *Server) run(c *call) (resp protocol.Response, outcome string, failed *protocol.Error) {
	var result any
	if c.req.STS {
		result, failed = s.keys.AssumeRole(c.req)
	} else {
		result, failed = s.store.Do(c.req)
	}
	if failed != nil {
		return c.req.ErrorResponse(failed), failed.Code, failed
	}
	return c.req.ResultResponse(result), outcomeOK, nil
}
