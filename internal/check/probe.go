package check

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// probe tests the permissions by doing what the plugin does: it creates a log group and a
// stream, writes one event, and then removes what it created.
//
// CloudWatch checks the permission before it looks for the group and the stream. So the
// answer that one does not exist shows that the permission is there.
type probe struct {
	*remote
	*api
	group, stream string
	// missing says that the group did not exist before.
	missing bool
	// putErr is the answer to PutLogEvents for a stream that does not exist.
	putErr error
	// ownGroup and ownStream say what the probe has created.
	ownGroup, ownStream bool
	results             []Result
}

// cleanUpLimit bounds the removal of what the probe has created. It also happens after ctx is
// done.
const cleanUpLimit = 5 * time.Second

// probe runs the probe. refused is not nil if CloudWatch refuses the credentials, and is then
// the result about them.
func (r *remote) probe(ctx context.Context) (results, refused []Result) {
	p := &probe{remote: r, api: &api{Client: r.client(), pause: r.host.pause}, group: r.Group, stream: "check-" + rand.Text()}
	if p.group == "" {
		p.group = "logspool-check-" + validName(r.hostName)
	}
	p.putErr = p.put(ctx, "nothing-"+rand.Text(), target.Entity{})
	switch {
	case p.putErr != nil && statusOf(p.putErr) == 0:
		return r.noAnswer(ctx, p.putErr), nil
	case statusOf(p.putErr) >= 500:
		return r.skip("logs:CreateLogGroup", "CloudWatch fails: "+text(p.putErr)), nil
	case p.putErr != nil && !isAnswer(p.putErr):
		return r.foreignAnswer(p.putErr), nil
	case isAny(p.putErr, authCodes) && r.clockIsBad:
		return r.skip("logs:CreateLogGroup", "CloudWatch refuses requests with the time of this host's clock"), nil
	case isAny(p.putErr, authCodes):
		return r.skip("logs:CreateLogGroup", "the credentials are refused"), r.refusedKeys(p.putErr)
	case isAny(p.putErr, notFoundCodes) && strings.Contains(p.putErr.Error(), "log group"):
		p.missing = true
	}
	defer func() { results = append(results, p.cleanUp(context.WithoutCancel(ctx))) }()
	p.checkGroup(ctx)
	p.checkStream(ctx)
	p.checkPut(ctx)
	p.checkRetention(ctx)
	p.add(p.checkThrottling())
	return p.results, nil
}

// noAnswer returns the results of a probe whose first request got no answer.
func (r *remote) noAnswer(ctx context.Context, err error) []Result {
	if ctx.Err() != nil {
		return r.skip("logs:CreateLogGroup", "the time of --wait is over")
	}
	results := r.skip("logs:CreateLogGroup", "CloudWatch did not answer another request")
	results[len(results)-1] = bad("logs:PutLogEvents", "check whether a proxy or a firewall stops requests with a body", "no answer: %s", text(err))
	return results
}

// foreignAnswer returns the results of a probe whose first request got an answer that is not
// CloudWatch's.
func (r *remote) foreignAnswer(err error) []Result {
	results := r.skip("logs:CreateLogGroup", "something else answers in CloudWatch's place")
	results[len(results)-1] = bad("logs:PutLogEvents", "check HTTPS_PROXY, the endpoint, and whether the network wants a login",
		"the answer is not CloudWatch's: %s", text(err))
	return results
}

// validName replaces what CloudWatch does not allow in the name of a log group.
func validName(host string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/.#", r) {
			return r
		}
		return '_'
	}, host[:min(len(host), 400)])
}

func (p *probe) add(r Result) { p.results = append(p.results, r) }

// outcome adds the result of a request that tests one permission.
func (p *probe) outcome(name string, err error, done string) {
	switch {
	case err == nil:
		p.add(good(name, "%s", done))
	case isAny(err, deniedCodes):
		p.add(p.denied(name, err))
	default:
		p.add(p.failed(name, err))
	}
}

func (p *probe) denied(action string, err error) Result {
	return bad(action, "allow "+action+" on "+p.groupARN(p.group)+":*, or test a group that the policy allows: --group GROUP", "%s", text(err))
}

// failed is the result of a request that did not show whether it is permitted.
func (p *probe) failed(name string, err error) Result {
	return unknown(name, "not known: %s", text(err))
}

// checkStream creates the stream.
func (p *probe) checkStream(ctx context.Context) {
	const name = "logs:CreateLogStream"
	switch {
	case !p.container.Create.Stream:
		p.add(good(name, "not needed: create-stream is false"))
		return
	case p.DryRun && !p.missing:
		p.add(unknown(name, "not checked: --dry-run"))
		return
	}
	err := p.createLogStream(ctx, p.group, p.stream)
	for n := 1; n < maxTries && p.ownGroup && isAny(err, notFoundCodes); n++ { // a new group is not known everywhere at once
		p.sleep(ctx)
		err = p.createLogStream(ctx, p.group, p.stream)
	}
	p.ownStream = err == nil || p.lost
	if isAny(err, existsCodes) && p.ownStream {
		err = nil // an earlier request, whose answer was lost, created it
	}
	if isAny(err, notFoundCodes) {
		p.add(good(name, "allowed; no stream was created, because the log group %s does not exist", p.group))
		return
	}
	p.outcome(name, err, "allowed")
}

func (p *probe) sleep(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(p.host.pause):
	}
}

// checkPut writes an event, with the entity if there is one.
func (p *probe) checkPut(ctx context.Context) {
	const name = "logs:PutLogEvents"
	if !p.ownStream {
		err := p.putErr
		if isAny(err, notFoundCodes) {
			err = nil
		}
		p.outcome(name, err, "allowed; nothing was written, because there is no stream")
		return
	}
	entity, err := p.container.Entity(p.exampleContainer())
	hasEntity := err == nil && entity != target.Entity{}
	entityErr := err
	err = p.putUntilKnown(ctx, entity)
	if hasEntity && err != nil && !isAny(err, throttleCodes) {
		if plain := p.putUntilKnown(ctx, target.Entity{}); plain == nil {
			entityErr, err = err, nil
		}
	}
	var rejected *entityRejected
	if errors.As(err, &rejected) { // the event itself was accepted
		entityErr, err = err, nil
	}
	p.outcome(name, err, "allowed")
	switch {
	case !p.container.HasEntity() || err != nil:
	case entityErr != nil:
		p.add(bad("entity", "correct entity-service-name, entity-environment and entity-attributes, or leave them out", "%s", text(entityErr)))
	default:
		p.add(good("entity", "accepted"))
	}
}

// putUntilKnown writes an event to the new stream, which is not known everywhere at once.
func (p *probe) putUntilKnown(ctx context.Context, entity target.Entity) error {
	err := p.put(ctx, p.stream, entity)
	for n := 1; n < maxTries && isAny(err, notFoundCodes); n++ {
		p.sleep(ctx)
		err = p.put(ctx, p.stream, entity)
	}
	return err
}

func (p *probe) put(ctx context.Context, stream string, entity target.Entity) error {
	return p.putEvent(ctx, p.group, stream, entity, time.Now().Add(p.skew))
}

// checkRetention sets the retention of the new group.
func (p *probe) checkRetention(ctx context.Context) {
	const name = "logs:PutRetentionPolicy"
	days := p.container.Create.NewGroup.RetentionDays
	switch {
	case days == 0 || !p.container.Create.Group:
		return
	case !p.ownGroup && (!p.DryRun || !p.missing):
		p.add(unknown(name, "not checked: only on a log group that this command has created"))
		return
	}
	err := p.putRetention(ctx, p.group, days)
	for n := 1; n < maxTries && p.ownGroup && isAny(err, notFoundCodes); n++ {
		p.sleep(ctx)
		err = p.putRetention(ctx, p.group, days)
	}
	if isAny(err, notFoundCodes) && !p.ownGroup {
		err = nil
	}
	p.outcome(name, err, "allowed")
}

// checkThrottling says whether the account's quotas are used up. A request that was throttled
// and accepted later is no problem.
func (p *probe) checkThrottling() Result {
	const name = "throttling"
	if p.refused {
		return bad(name, "raise the quotas of CloudWatch Logs in Service Quotas, or make fewer requests (DELAY); the plugin keeps the lines and sends them later",
			"CloudWatch throttles the account's requests: it refused %d", p.throttled)
	}
	if p.throttled > 0 {
		return good(name, "%d requests were throttled, and accepted when they were sent again", p.throttled)
	}
	return good(name, "no request was throttled")
}

// cleanUp removes what the probe has created.
func (p *probe) cleanUp(ctx context.Context) Result {
	const name = "probe"
	ctx, cancel := context.WithTimeout(ctx, cleanUpLimit)
	defer cancel()
	var what string
	var err error
	switch {
	case p.ownGroup:
		what = "the log group " + p.group
		err = p.deleteLogGroup(ctx, p.group)
	case p.ownStream:
		what = "the log stream " + p.stream + " in the log group " + p.group
		err = p.deleteLogStream(ctx, p.group, p.stream)
	default:
		return good(name, "nothing was written")
	}
	switch {
	case err == nil, isAny(err, notFoundCodes):
		return good(name, "%s was created and deleted", what)
	case isAny(err, deniedCodes):
		return good(name, "%s was created and is left, because these credentials may not delete it; the plugin does not need that permission", what)
	}
	return unknown(name, "%s may be left; delete it by hand: %s", what, text(err))
}
