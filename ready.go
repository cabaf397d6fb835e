package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/awsenv"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/uploader"
)

const (
	// readyTime is how long after its start the plugin says that something is missing. On
	// EC2, the network and the metadata service may come up after the plugin.
	readyTime = 15 * time.Second
	// readyPoll is how often the plugin looks in that time, and lateReadyPoll how often
	// afterwards.
	readyPoll     = time.Second
	lateReadyPoll = time.Minute
	// readyTry bounds one look.
	readyTry = 10 * time.Second
)

// access is what the plugin knows about its access to AWS: the access of containers without
// options about it. One goroutine runs watch. Any goroutine may call facts.
type access struct {
	known atomic.Pointer[accessFacts]
}

// accessFacts are empty while they are not known.
type accessFacts struct {
	Region     string
	RegionFrom string // RegionFrom says where Region comes from, such as "EC2 metadata".
	Identity   string // Identity is the ARN of the user or role.
	Provider   string // Provider says where the credentials come from.
}

// facts returns what is known now.
func (a *access) facts() accessFacts {
	if f := a.known.Load(); f != nil {
		return *f
	}
	return accessFacts{}
}

// awsFacts is what watch needs of awsenv.Env.
type awsFacts interface {
	Region(ctx context.Context) (string, error)
	RegionFrom() string
	Identity(ctx context.Context) (arn, provider string, err error)
}

// startWatch runs watch in a goroutine. stop ends and joins it.
func startWatch(a *access, log *slog.Logger, env awsFacts, invalidRegion error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { a.watch(ctx, log, env, invalidRegion) })
	return func() { cancel(); watch.Wait() }
}

// watch finds out the region and the identity, and logs once that the plugin is ready, or what
// is missing after readyTime. In that case, it logs that the plugin is ready when nothing is
// missing any more. Delivery depends on none of this, and STS may be unreachable, so an
// unknown identity is not something that is missing. watch returns when everything is known,
// or when ctx is done.
func (a *access) watch(ctx context.Context, log *slog.Logger, env awsFacts, invalidRegion error) {
	deadline := time.Now().Add(readyTime)
	ready, warned := false, false
	for {
		l := a.look(ctx, env, invalidRegion, time.Until(deadline))
		if ctx.Err() != nil {
			return
		}
		late := !time.Now().Before(deadline)
		switch {
		case len(l.missing) == 0 && !ready && (l.Identity != "" || late):
			ready = true
			l.logReady(log)
		case len(l.missing) > 0 && !warned && !ready && (late || invalidRegion != nil):
			warned = true
			log.Warn("logspool is not ready; logs are spooled meanwhile", "missing", strings.Join(l.missing, ", "),
				"err", uploader.ErrorText(l.err), "hint", l.hint())
		}
		if len(l.missing) == 0 && l.Identity != "" {
			return
		}
		poll := readyPoll
		if late {
			poll = lateReadyPoll
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(poll):
		}
	}
}

// look is the result of one look.
type look struct {
	accessFacts
	missing []string // missing names what the plugin needs and does not have.
	err     error    // err says why the first of them is missing, or why the identity is unknown.
	refused bool     // refused says that AWS does not accept the credentials.
}

// look asks once. left is the time that is left until readyTime.
func (a *access) look(ctx context.Context, env awsFacts, invalidRegion error, left time.Duration) (l look) {
	limit := readyTry
	if left > 0 {
		limit = min(limit, left)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if l.err = invalidRegion; l.err == nil {
		l.Region, l.err = env.Region(ctx)
	}
	if l.err != nil {
		l.missing = append(l.missing, "region")
	} else {
		l.RegionFrom = env.RegionFrom()
	}
	var err error
	l.Identity, l.Provider, err = env.Identity(ctx)
	if l.refused = errors.Is(err, awsenv.ErrRefused); l.refused || errors.Is(err, awsenv.ErrNoCredentials) {
		l.missing = append(l.missing, "credentials")
	}
	if l.err == nil {
		l.err = err
	}
	a.known.Store(&l.accessFacts)
	return l
}

func (l *look) logReady(log *slog.Logger) {
	identity := []any{"identity", l.Identity}
	if l.Identity == "" {
		identity = []any{"identity", "unknown", "err", uploader.ErrorText(l.err)}
	}
	log.Info("logspool is ready", append([]any{"region", l.Region, "region_from", l.RegionFrom, "provider", l.Provider}, identity...)...)
}

// hint says what to do about the first thing that is missing.
func (l *look) hint() string {
	switch {
	case l.missing[0] == "region":
		return "set AWS_REGION"
	case l.refused:
		return "check the AWS credentials and the host's clock"
	default:
		return "give the instance a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount AWS files (aws.source)"
	}
}

// invalidRegion returns an error if the region of containers that name none is undecided
// because a setting is invalid.
func invalidRegion(settings *config.Settings, problems []config.Problem) error {
	if settings.Region != "" {
		return nil
	}
	for _, p := range problems {
		if p.Holds && slices.Contains([]string{"ROUTE", "AWS_REGION", "AWS_DEFAULT_REGION"}, p.Setting) {
			return errors.New(p.Setting + ": " + p.Text)
		}
	}
	return nil
}
