// Package cwlocal is a strict stand-in for Amazon CloudWatch Logs, as an HTTP server. It
// applies the service's rules to every request, responds with the service's own error codes
// and messages, and fails on demand. A client that works with it therefore works with the
// service, also while the service has problems.
//
// On the same port it serves AssumeRole and GetCallerIdentity of STS. Stats and StreamStats
// count requests by the key that signed them, so a test can tell whether a client assumed a
// role.
//
// This package is what users import. It joins four parts, which import each other in one
// direction only:
//
//   - protocol reads requests and encodes responses,
//   - store is the account: its groups, streams, events and keys, and the rules for them,
//   - fault finds the fault that applies to a request,
//   - stats counts requests.
//
// No part may know the plugin's own packages, so that the stand-in cannot share their
// mistakes: it was written from the service's model and documentation alone. Where the
// service is lenient, but a client that relies on it would be wrong all the same, cwlocal
// refuses. Examples are unknown or repeated members of a request, and fractions where an
// integer is expected.
//
// Every request is checked completely before a fault or a quota applies to it, so no fault
// hides a broken rule. Refusals lists the requests that broke a rule. The stand-in keeps
// everything in memory.
package cwlocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/fault"
	"github.com/logspool/logspool/internal/cwlocal/stats"
	"github.com/logspool/logspool/internal/cwlocal/store"
)

// Options configure a Server. The zero value checks everything except the value of
// signatures, applies no quotas, and keeps all events.
//
// If there are Keys, each request must be signed with one of them, and the signature is
// verified over the bytes as they were sent. If there are none, every key is accepted,
// and only the form of the signature is checked. The keys that AssumeRole issued are
// always verified, with their session token, and expire.
//
// Counts, digests and sequences always cover all events. With Sequence, StreamStats
// reports which numbers are missing, repeated or out of order (see MarkedSequence).
//
// OnAccepted runs with a lock of the Server held, so it must be quick and must not call
// the Server. It may keep the events.
type Options struct {
	// Keys are secret access keys by access key ID.
	Keys map[string]string

	// Roles are the roles that AssumeRole issues keys for, by ARN; nil allows every role,
	// with every external ID.
	Roles map[string]Role

	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Keep is how many of each stream's newest events are kept for reading: 0 keeps all,
	// KeepNone none.
	Keep int

	// Quotas applies the service's default quotas to each region (see
	// store.DefaultRates).
	Quotas bool
	// Rates are quotas in requests per second by operation, which replace the defaults.
	Rates map[string]float64

	// OnAccepted is called for every accepted batch, in order of arrival.
	OnAccepted func(region, group, stream string, events []Event)

	// OnRefused is called for every request that broke a rule, with the entry that
	// Refusals lists.
	OnRefused func(Refusal)

	// Sequence finds a writer's name and a sequence number in a message; nil checks no
	// sequences.
	Sequence func(message string) (writer string, n uint64, ok bool)
}

// A Server is the stand-in. It is an http.Handler for the service's API and, under
// /_cwlocal/, for the control endpoint. All methods may be called concurrently.
type Server struct {
	// opts has a Now that is not nil.
	opts Options

	// Each of these parts has a lock of its own.
	store    *store.Store
	keys     *store.Credentials
	quotas   *store.Quotas
	faults   fault.List
	recorder *stats.Recorder
	// changed wakes the waiters when a request has ended or hangs.
	changed broadcast

	control http.Handler
	// listener is nil unless Start made the Server.
	listener *listener

	// closing is closed by Close, to release the requests that hang or wait.
	closing   chan struct{}
	closeOnce sync.Once
	// handlers counts the requests in flight.
	handlers sync.WaitGroup
}

// A listener serves a Server on a TCP address.
type listener struct {
	address net.Addr
	server  *http.Server
	done    chan error // done gets the result of Serve.
}

// New makes a Server that does not listen. Use it as a handler.
func New(opts Options) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{
		opts: opts,
		store: store.New(store.Options{Now: opts.Now, Keep: opts.Keep,
			OnAccepted: opts.OnAccepted, Sequence: opts.Sequence}),
		keys:     store.NewCredentials(opts.Keys, opts.Roles, opts.Now),
		quotas:   store.NewQuotas(opts.Quotas, opts.Rates),
		recorder: stats.New(),
		closing:  make(chan struct{}),
	}
	s.control = s.controlHandler()
	return s
}

// Start makes a Server that listens on a TCP address, such as 127.0.0.1:0. Close stops it.
func Start(address string, opts Options) (*Server, error) {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("couldn't listen: %w", err)
	}
	s := New(opts)
	l := &listener{
		address: tcp.Addr(),
		server:  &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second},
		done:    make(chan error, 1),
	}
	s.listener = l
	go func() { l.done <- l.server.Serve(tcp) }()
	return s, nil
}

// URL returns the endpoint of a Server made by Start, without a slash at its end.
func (s *Server) URL() string { return "http://" + s.listener.address.String() }

// Close ends the requests that hang, stops listening, and waits for the requests in flight.
// It takes at most two seconds, unless a callback blocks.
func (s *Server) Close() error {
	var err error
	s.closeOnce.Do(func() {
		close(s.closing)
		if s.listener != nil {
			err = s.listener.close()
		}
		s.handlers.Wait()
	})
	return err
}

func (l *listener) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// Shutdown waits for open requests. A client that is still sending its body then is cut
	// off.
	err := l.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = l.server.Close()
	}
	<-l.done
	return err
}
