package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/awsenv"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/target"
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
	// target is that access. Its region is empty if it has to be looked up.
	target target.Access
	// hold says why the settings let no such container send, or is empty.
	hold string

	known atomic.Pointer[accessFacts]
}

func newAccess(settings *config.Settings) *access {
	c, _ := settings.Container(nil, nil, nil) // without options, none is invalid
	return &access{target: c.Access, hold: c.Hold}
}

// accessFacts are empty while they are not known.
type accessFacts struct {
	Region     string
	RegionFrom string // RegionFrom says where Region comes from, such as "EC2 metadata".
	Identity   string // Identity is the ARN of the user or role.
	Provider   string // Provider says where the credentials come from.

	CredentialsError  string // CredentialsError says that there are none, or that AWS refuses them.
	CredentialsRemedy string // CredentialsRemedy says what to do about that.
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
	Identity(ctx context.Context, a target.Access) (arn, provider string, err error)
}

// startWatch runs watch in a goroutine. stop ends and joins it.
func (a *access) startWatch(log *slog.Logger, env awsFacts) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { a.watch(ctx, log, env) })
	return func() { cancel(); watch.Wait() }
}

// watch finds out the region and the identity, and logs once that the plugin is ready, or what
// is missing after readyTime. In that case, it logs that the plugin is ready when nothing is
// missing any more. Delivery depends on none of this, and STS may be unreachable, so an
// unknown identity is not something that is missing. watch returns when everything is known,
// or when ctx is done.
func (a *access) watch(ctx context.Context, log *slog.Logger, env awsFacts) {
	deadline := time.Now().Add(readyTime)
	ready, warned := false, false
	for {
		l := a.look(ctx, env, time.Until(deadline))
		if ctx.Err() != nil {
			return
		}
		late := !time.Now().Before(deadline)
		switch {
		case len(l.missing) == 0 && !ready && (l.Identity != "" || late):
			ready = true
			l.logReady(log)
		case len(l.missing) > 0 && !warned && !ready && (late || a.hold != ""):
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

// validSettings is what is missing if a setting that decides where logs go is invalid.
const validSettings = "a valid setting"

// look is the result of one look.
type look struct {
	accessFacts
	missing []string // missing names what the plugin needs and does not have.
	err     error    // err says why the first of them is missing, or why the identity is unknown.
}

// look asks once. left is the time that is left until readyTime.
func (a *access) look(ctx context.Context, env awsFacts, left time.Duration) (l look) {
	limit := readyTry
	if left > 0 {
		limit = min(limit, left)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if a.hold != "" {
		l.missing, l.err = append(l.missing, validSettings), errors.New(a.hold)
	}
	switch region, err := env.Region(ctx); {
	case err == nil && (a.hold == "" || a.target.Region != ""):
		l.Region, l.RegionFrom = region, env.RegionFrom()
	case a.hold == "": // otherwise the region may be what is invalid
		l.missing, l.err = append(l.missing, "region"), err
	}
	var err error
	l.Identity, l.Provider, err = env.Identity(ctx, a.target)
	if remedy := credentialsHint(err); remedy != "" {
		l.missing = append(l.missing, "credentials")
		l.CredentialsError, l.CredentialsRemedy = uploader.ErrorText(err), remedy
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
	case l.missing[0] == validSettings:
		return "correct the setting: docker plugin disable -f, docker plugin set, docker plugin enable"
	case l.missing[0] == "region":
		return "set AWS_REGION"
	default:
		return l.CredentialsRemedy
	}
}

// credentialsHint says what to do about an error of Identity. It is empty if the error does
// not say that the credentials are missing or wrong.
func credentialsHint(err error) string {
	switch {
	case errors.Is(err, awsenv.ErrRefused):
		return "check the AWS credentials and the host's clock"
	case errors.Is(err, awsenv.ErrNoCredentials):
		return "give the instance a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount AWS files (aws.source)"
	}
	return ""
}
