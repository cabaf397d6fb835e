package statusserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

const (
	// retryInterval is how long a server waits before it tries again to listen.
	retryInterval = 10 * time.Second

	// tcpWriteTime is how long an answer at STATUS_ADDR may take.
	tcpWriteTime = 10 * time.Second

	// socketWriteTime is how long an answer on the socket may take. It is the longest profile.
	socketWriteTime = 2 * time.Minute

	// lastAnswers is how long Stop waits for answers that are being sent.
	lastAnswers = 200 * time.Millisecond

	// stopTime is how long Stop waits for servers that do not end, because the disk hangs.
	stopTime = 2 * lastAnswers
)

// Options configure the servers.
type Options struct {
	Source status.Source
	Log    *slog.Logger
	// StateDir is the directory of the status socket.
	StateDir string
	// Addr is STATUS_ADDR. If it is empty, there is only the socket.
	Addr string
	// Host is the host's name.
	Host string
	// OpenFiles is how many descriptors the process may have, see status.Clients.
	OpenFiles int
	// MaxAge is how long a line may be undelivered before /healthz fails; 0 means
	// status.DefaultMaxAge.
	MaxAge time.Duration
	// Page serves / and everything below it that has no other handler; nil means 404.
	Page http.Handler
	// Metrics serves /metrics; nil means 404.
	Metrics http.Handler

	retry time.Duration // retry is the time between two tries to listen; 0 means retryInterval.
}

// Servers are the servers of the status. Make them with Start, and end them with Stop.
type Servers struct{ all []*server }

// Start starts the servers. It does not wait until they listen, and a failure to listen is
// logged and tried again.
func Start(o Options) *Servers {
	o.MaxAge = cmp.Or(o.MaxAge, status.DefaultMaxAge)
	o.retry = cmp.Or(o.retry, retryInterval)
	socketClients, tcpClients := status.Clients(o.OpenFiles)
	s := &Servers{[]*server{startSocket(o, socketClients)}}
	if o.Addr != "" {
		s.all = append(s.all, startTCP(o, tcpClients))
	}
	return s
}

// Stop stops the servers, and removes the socket. It waits a fifth of a second for answers
// that are being sent, and no longer than twice that. If the disk hangs, the socket may stay
// behind. Stop may be called again.
func (s *Servers) Stop() {
	for _, one := range s.all {
		one.cancel()
	}
	timeout := time.After(stopTime)
	for _, one := range s.all {
		select {
		case <-one.done:
		case <-timeout:
			return
		}
	}
}

func startSocket(o Options, clients int) *server {
	return start(server{
		handler: socketHandler(o.Source), writeTime: socketWriteTime, clients: clients, log: o.Log,
		listen: func(ctx context.Context) (net.Listener, error) { return listenSocket(ctx, o.StateDir) },
		served: func(net.Addr) {},
		fault: faultlog.NewFault(o.Log.With("state_dir", o.StateDir), "cannot serve the status socket; trying again, and logspool status does not work until then",
			"the status socket is served again", nil),
		hint: socketHint, retry: o.retry,
	})
}

func startTCP(o Options, clients int) *server {
	return start(server{
		handler: handler(o), writeTime: tcpWriteTime, clients: clients, log: o.Log,
		listen: func(ctx context.Context) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp", o.Addr)
		},
		served: func(addr net.Addr) {
			o.Log.Info("the status page and the metrics are served", "addr", addr.String())
			if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
				o.Log.Warn("other hosts may reach the status page, which asks for no password", "addr", addr.String(),
					"hint", "limit access with a firewall, or set STATUS_ADDR to 127.0.0.1 and a port")
			}
		},
		fault: faultlog.NewFault(o.Log.With("addr", o.Addr), "cannot listen at STATUS_ADDR; trying again, and there are no status page and no metrics until then",
			"STATUS_ADDR is served again", nil),
		hint: addrHint, retry: o.retry,
	})
}

// addrHint says what the operator can do if STATUS_ADDR cannot be served.
func addrHint(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return "end the other program that uses the port, or set STATUS_ADDR to another port"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "the host does not have the address (yet): wait, or set STATUS_ADDR to one that it has"
	case errors.Is(err, unix.EACCES):
		return "set STATUS_ADDR to a port above 1023, because the plugin has no privileges"
	}
	return "correct STATUS_ADDR"
}

// server serves one address for as long as the plugin runs.
type server struct {
	handler   http.Handler
	writeTime time.Duration
	clients   int // clients is how many connections it may have.
	log       *slog.Logger
	listen    func(context.Context) (net.Listener, error)
	served    func(net.Addr) // served is called each time that it listens.
	fault     *faultlog.Fault
	hint      func(error) string
	retry     time.Duration

	cancel context.CancelFunc
	done   chan struct{}
}

func start(s server) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		s.run(ctx)
	}()
	return &s
}

func (s *server) run(ctx context.Context) {
	defer s.fault.Forget()
	for ctx.Err() == nil {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		s.fault.Failed(err.Error(), "err", err, "hint", s.hint(err))
		select {
		case <-ctx.Done():
		case <-time.After(s.retry):
		}
	}
}

// serve listens and serves until ctx is done, or until it fails.
func (s *server) serve(ctx context.Context) error {
	l, err := s.listen(ctx)
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without the address, which is an attribute
	}
	if err != nil {
		return err
	}
	s.fault.Succeeded()
	s.served(l.Addr())
	web := newServer(s.handler, s.writeTime)
	web.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug) // clients can cause as many lines as they like
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(limitConns(l, s.clients)) }()
	select {
	case err = <-failed:
		_ = web.Close()
		return fmt.Errorf("couldn't accept connections: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	if web.Shutdown(last) != nil {
		_ = web.Close()
	}
	<-failed
	return nil
}
