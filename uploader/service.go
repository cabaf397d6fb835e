package uploader

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/target"
)

// client is what the uploader needs of CloudWatch Logs. The methods may be called
// concurrently. They block until the answer arrives or ctx is done, and return CloudWatch's
// error as it is.
type client interface {
	// PutLogEvents sends a finished body. It does not use the body after it returns.
	PutLogEvents(ctx context.Context, r putRequest) (rejected, error)
	// CreateLogGroup creates the group with everything that n asks for except the
	// retention, which is a call of its own.
	CreateLogGroup(ctx context.Context, group string, n target.NewGroup) error
	PutRetentionPolicy(ctx context.Context, group string, days int32) error
	CreateLogStream(ctx context.Context, group, stream string) error
	// ClockAhead returns how far the host's clock was ahead of CloudWatch's at the last
	// answer, to the second. It is 0 before the first answer.
	ClockAhead() time.Duration
}

// putRequest is one PutLogEvents call. The body contains the group and the stream too.
type putRequest struct {
	group, stream string
	body          []byte
	gzip          bool
	emf           bool
}

// rejected says which events of an accepted batch CloudWatch dropped, as indices into the
// batch (RejectedLogEventsInfo), and why it dropped the entity. The zero value means none.
type rejected struct {
	// tooOldEnd is the end of the events that are more than 14 days old.
	tooOldEnd int
	// expiredEnd is the end of the events that are older than the group's retention.
	expiredEnd int
	// tooNewStart is the first event over 2 hours in the future, if tooNew.
	tooNewStart int
	// tooNew says that some events are too new.
	tooNew bool
	// entity is the errorType of rejectedEntityInfo.
	entity string
}

// connector makes clients.
type connector interface {
	// connect makes a client. It may read files and fail. It is called again for the next
	// try.
	connect(ctx context.Context, a target.Access) (client, error)
	// invalidate says that CloudWatch did not accept the client's credentials, so that they
	// must be read again.
	invalidate(client)
	close()
}

// service is the connection to CloudWatch Logs with one access. All senders with that
// access share it.
//
// Each service has a limiter of its own. CloudWatch throttles an account and region, and
// two roles may belong to one account. But the uploader cannot know to which account a role
// belongs, or whether a failure is only the role's. A role that cannot be assumed, or whose
// account is throttled, must not delay containers with other credentials. Two roles of one
// account therefore find the rate that it accepts as two hosts do, each by itself. The
// rates of creation are known, so they are shared by a region and endpoint (endpoint.go).
type service struct {
	u        *Uploader
	access   target.Access
	log      *slog.Logger
	limiter  *limiter
	endpoint *endpoint
	creator  *creator
	health   *faultlog.Shared[*sender]
	senders  int // senders counts the senders of the service, and is guarded by Uploader.mu.

	stats      *stats
	condition  condition
	ahead      atomic.Int64 // ahead is how far the host's clock is ahead, in nanoseconds.
	wrongClock atomic.Bool  // wrongClock says that the last noteClock reported a failure.

	connecting chan struct{} // connecting holds one token while a client is made.

	mu      sync.Mutex // mu guards client and refused.
	client  client     // client is nil until it is made.
	refused client     // refused is the client whose credentials were refused by its last request.
}

func newService(u *Uploader, a target.Access, e *endpoint) *service {
	log := u.log.With("region", a.Region)
	if a.Endpoint != "" {
		log = log.With("endpoint", a.Endpoint)
	}
	if a.RoleARN != "" {
		log = log.With("role", a.RoleARN)
	}
	// The path itself is a secret: anyone who knows it can get the credentials.
	if a.CredentialsEndpoint != "" {
		log = log.With("credentials", "credentials-endpoint")
	}
	svc := &service{
		u: u, access: a, log: log, endpoint: e,
		limiter:    newLimiter(maxRequests),
		connecting: make(chan struct{}, 1),
		stats:      newStats(),
	}
	svc.condition.init()
	svc.health = faultlog.NewShared(log, "sending to CloudWatch Logs failed; the plugin keeps trying",
		"CloudWatch Logs accepts requests again", func([]*sender) []any { return describeBacklog(svc.affected()) })
	svc.creator = newCreator(svc, log, e)
	return svc
}

// affected returns the senders that had no batch accepted since the failure began.
func (svc *service) affected() (all []*sender) {
	since := svc.health.Since()
	svc.u.mu.Lock()
	defer svc.u.mu.Unlock()
	for _, s := range svc.u.senders {
		if s.svc == svc && s.lastAccepted.Load() < since.UnixNano() {
			all = append(all, s)
		}
	}
	return all
}

// close says that the uploader stops: requests that fail are not worth waiting for any
// more.
func (svc *service) close() {
	svc.limiter.close()
	svc.creator.limiter.close()
}

// stop ends the timers of the limiters. No request is in flight.
func (svc *service) stop() {
	svc.limiter.stop()
	svc.creator.limiter.stop()
}

// call calls f with a client, and returns f's error. The client and the call must be ready
// within callTimeout.
func (svc *service) call(f func(context.Context, client) error) error {
	ctx, cancel := context.WithTimeout(svc.u.trying, callTimeout)
	defer cancel()
	c, err := svc.connect(ctx)
	if err == nil {
		err = f(ctx, c)
		svc.checkCredentials(c, err)
		if err == nil || hasAnswer(err) {
			svc.noteClock(c.ClockAhead())
		}
	}
	if err != nil && svc.u.trying.Err() != nil {
		return errStopped // whatever the error looks like
	}
	return err
}

// connect returns the client, and makes it if there is none. Only one caller makes it at a
// time.
func (svc *service) connect(ctx context.Context) (client, error) {
	select {
	case svc.connecting <- struct{}{}:
		defer func() { <-svc.connecting }()
	case <-ctx.Done():
		return nil, &credentialsError{ctx.Err()}
	}
	svc.mu.Lock()
	c := svc.client
	svc.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := svc.u.connector.connect(ctx, svc.access)
	if err != nil {
		return nil, &credentialsError{err}
	}
	svc.mu.Lock()
	svc.client = c
	svc.mu.Unlock()
	return c, nil
}

// checkCredentials forgets the client if err says that it has no valid credentials, so that
// the next client reads the files again. If CloudWatch refused the credentials, the client
// gets a second try first: from the answer, the SDK learns how wrong the host's clock is,
// and remembers that in the client.
func (svc *service) checkCredentials(c client, err error) {
	if classify(err, false) != unauthenticated {
		svc.noteRefused(nil)
		return
	}
	if !isCredentials(err) && svc.noteRefused(c) != c {
		return
	}
	svc.forget(c) // also if no credentials were found: the files may exist the next time
}

// noteRefused sets which client was refused last, and returns the one before.
func (svc *service) noteRefused(c client) (before client) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	before, svc.refused = svc.refused, c
	return before
}

// forget forgets a client whose credentials were not accepted.
func (svc *service) forget(c client) {
	svc.mu.Lock()
	same := svc.client == c
	if same {
		svc.client = nil
	}
	svc.mu.Unlock()
	if same {
		svc.u.connector.invalidate(c)
	}
}

// reportFailure logs a failure of the access, and notes it for the status.
func (svc *service) reportFailure(s *sender, v verdict, f *status.Failure, err error) {
	svc.condition.failed(stateOf(v, err), f)
	reportFailure(svc.health, s, f)
}

// put sends a sender's batch to the target, logs what changes, and returns what the answer
// means.
func (svc *service) put(s *sender, t target.Target, b *batch) (verdict, error) {
	start := time.Now()
	err := svc.call(func(ctx context.Context, c client) (err error) {
		b.rejected, err = c.PutLogEvents(ctx, putRequest{
			group: t.Group, stream: t.Stream, body: b.out, gzip: b.gzip, emf: t.EMF,
		})
		return err
	})
	v, plain := svc.endpoint.gzip.learn(classify(err, b.gzip), err, b.gzip, time.Now())
	if plain {
		attrs := []any{"for", plainPeriod}
		if err != nil {
			attrs = append(attrs, "err", ErrorText(err))
		}
		svc.log.Warn("the endpoint does not accept compressed requests; requests are sent uncompressed for a while", attrs...)
	}
	svc.stats.answered(v, time.Since(start), !isCredentials(err))
	switch {
	case v.shared():
		svc.reportFailure(s, v, describeFailure(v, err, svc.access), err)
	case v != cancelled && v != badEncoding:
		svc.health.Succeeded(s)
		if v == accepted || v == invalid { // otherwise the sender reports its target, or creates it first
			svc.condition.answered(v == accepted)
		}
	}
	if ctx := context.Background(); v == accepted && svc.u.log.Enabled(ctx, slog.LevelDebug) {
		svc.u.log.LogAttrs(ctx, slog.LevelDebug, "submitted batch",
			slog.String("group", t.Group), slog.String("stream", t.Stream), slog.Int("events", len(b.records)),
			slog.Int64("bytes", b.counted), slog.Int("body", b.plainSize), slog.Int("sent", len(b.out)),
			slog.Duration("took", time.Since(start)))
	}
	return v, err
}
