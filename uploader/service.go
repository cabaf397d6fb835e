package uploader

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
)

// client is what the uploader needs of CloudWatch Logs. All methods may be called at once, block until
// the answer is there or ctx is done, and return the service's error as it is.
type client interface {
	// PutLogEvents sends a ready body. The body is not touched after the return.
	PutLogEvents(ctx context.Context, r putRequest) (rejected, error)
	// CreateLogGroup makes the group with what has to be said at creation; n's retention is not of that.
	CreateLogGroup(ctx context.Context, group string, n target.NewGroup) error
	PutRetentionPolicy(ctx context.Context, group string, days int32) error
	CreateLogStream(ctx context.Context, group, stream string) error
}

// putRequest is one PutLogEvents call. Group and stream are in the body as well.
type putRequest struct {
	group, stream string
	body          []byte
	gzip          bool
	emf           bool
}

// rejected says which events of an accepted batch the service dropped, as indices into the batch
// (RejectedLogEventsInfo), and why it dropped the entity. The zero value means none.
type rejected struct {
	tooOldEnd   int // events before it are more than 14 days old
	expiredEnd  int // events before it are older than the group's retention
	tooNewStart int // with tooNew: events from it on are more than 2 hours in the future
	tooNew      bool
	entity      string // errorType of rejectedEntityInfo
}

// connector makes clients. connect may block on files and fail; it is called again at the next try. stale says
// that the service did not accept the credentials of a client, so that they must be read again.
type connector interface {
	connect(ctx context.Context, a target.Access) (client, error)
	invalidate(client)
	close()
}

// service is one access: what all senders that send by it have in common.
//
// Each has a limiter of its own. Throttling is for an account and region, and two roles may well belong to one account;
// but which account a role's trouble is about cannot be known from here, nor whether it is the role's alone: one
// that may not be assumed, or an account that is throttled, must not hold up what other containers send with other
// credentials. So two roles of one account find the rate that it takes as two hosts do, each by itself. The
// rates of creating, which nobody has to find, are kept for all of a region and endpoint together (endpoint.go).
type service struct {
	u        *Uploader
	access   target.Access
	log      *slog.Logger
	limiter  *limiter
	endpoint *endpoint
	creator  *creator
	health   *faultlog.Shared[*sender]
	senders  int // guarded by the uploader's lock

	connecting chan struct{} // held while a client is made
	mu         sync.Mutex
	client     client
	refused    client // was refused access at its last request
}

func newService(u *Uploader, a target.Access, e *endpoint) *service {
	log := u.log.With("region", a.Region)
	for _, x := range []struct{ name, value string }{
		{"endpoint", a.Endpoint}, {"role", a.RoleARN},
	} {
		if x.value != "" {
			log = log.With(x.name, x.value)
		}
	}
	if a.CredentialsEndpoint != "" { // whoever knows the path can have the credentials
		log = log.With("credentials", "credentials-endpoint")
	}
	svc := &service{
		u: u, access: a, log: log, endpoint: e,
		limiter:    newLimiter(maxRequests),
		connecting: make(chan struct{}, 1),
	}
	svc.health = faultlog.NewShared(log, "sending to CloudWatch Logs failed; the plugin keeps trying", "CloudWatch Logs takes requests again",
		func([]*sender) []any { return describeBacklog(svc.affected()) })
	svc.creator = newCreator(svc, log, e)
	return svc
}

// affected returns the senders that nothing was accepted of since the failure began.
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

// close says that the end is near, and stop that it is there.
func (svc *service) close() {
	svc.limiter.close()
	svc.creator.limiter.close()
}

func (svc *service) stop() {
	svc.limiter.stop()
	svc.creator.limiter.stop()
}

// call calls f call a client, within callTimeout, and says what came of it.
func (svc *service) call(f func(context.Context, client) error) error {
	ctx, cancel := context.WithTimeout(svc.u.trying, callTimeout)
	defer cancel()
	c, err := svc.connect(ctx)
	if err == nil {
		err = f(ctx, c)
		svc.checkCredentials(c, err)
	}
	if err != nil && svc.u.trying.Err() != nil {
		return errStopped // whatever the error looks like
	}
	return err
}

// checkCredentials forgets a client that has no access, so that the next one reads files again. One whose request the service
// refused gets a second try first: the SDK learns from the answer how far the host's clock is off, and remembers that in the
// client.
func (svc *service) checkCredentials(c client, err error) {
	if classify(err, false) != unauthenticated {
		svc.noteRefused(nil)
		return
	}
	if ce := (*credentialsError)(nil); !errors.As(err, &ce) && svc.noteRefused(c) != c {
		return
	}
	svc.forget(c) // also where a provider found nothing: files may be there the next time
}

// noteRefused notes which client was refused last, and returns which one was before.
func (svc *service) noteRefused(c client) (before client) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	before, svc.refused = svc.refused, c
	return before
}

// connect returns the client, making it if need be. Only one is made at a time.
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

// put sends the batch of a sender and says what came of it.
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
			attrs = append(attrs, "err", brief(err))
		}
		svc.log.Warn("the endpoint does not take compressed requests; they are sent uncompressed for some time", attrs...)
	}
	switch {
	case v.shared():
		s.reportFailure(svc.health, v, err)
	case v != cancelled && v != badEncoding:
		svc.health.Succeeded(s)
	}
	if v == accepted {
		svc.u.log.LogAttrs(context.Background(), slog.LevelDebug, "submitted batch",
			slog.String("group", t.Group), slog.String("stream", t.Stream), slog.Int("events", len(b.records)),
			slog.Int64("bytes", b.message), slog.Int("body", b.body), slog.Int("sent", len(b.out)), slog.Duration("took", time.Since(start)))
	}
	return v, err
}

// endpoint is what all accesses of one region and endpoint have in common.
type endpoint struct {
	// The quotas pace the calls that create, below what the service allows an account and region. Two roles may be
	// roles of one account, and where they are not, going slowly costs little. Nobody waits in them for an answer, so a
	// role that fails takes no time from another.
	streams    *rate.Limiter
	groups     *rate.Limiter
	retentions *rate.Limiter

	gzip       gzipSupport
	maxMessage atomic.Int64 // bytes of a message that the service takes
}

func newEndpoint() *endpoint {
	e := &endpoint{
		streams:    rate.NewLimiter(createStreamsPerSecond, createStreamsBurst),
		groups:     rate.NewLimiter(createGroupsPerSecond, createGroupsBurst),
		retentions: rate.NewLimiter(putRetentionsPerSecond, putRetentionsBurst),
	}
	e.maxMessage.Store(maxMessageBytes)
	return e
}

// lowerMaxMessage remembers a smaller limit, and returns whether it is news.
func (e *endpoint) lowerMaxMessage(n int) bool {
	for {
		old := e.maxMessage.Load()
		if int64(n) >= old {
			return false
		}
		if e.maxMessage.CompareAndSwap(old, int64(n)) {
			return true
		}
	}
}
