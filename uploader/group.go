package uploader

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
)

// group is what is known about one log group. Only one sender at a time finds out whether
// it exists, so the containers of a host ask once.
type group struct {
	// lookup holds one token while a sender finds out whether the group exists; its
	// holder owns unansweredAt, days and failure.
	lookup chan struct{}
	health *faultlog.Shared[*sender]
	exists atomic.Bool

	// unansweredAt is when a call to create the group got no answer, or zero.
	unansweredAt time.Time
	// days is the retention that the call without an answer asked for.
	days    int32
	failure groupFailure
}

func newGroup(c *creator, name string) *group {
	return &group{
		lookup: make(chan struct{}, 1),
		health: faultlog.NewShared(c.log.With("group", name), "sending to the log group failed; the plugin keeps trying",
			"sending to the log group works again", describeBacklog),
	}
}

// await waits until the group is known to exist, and then returns false. It returns
// true if the caller must find that out. The caller then holds g.lookup and must give it
// back.
func (g *group) await(ctx context.Context) (first bool, err error) {
	if g.exists.Load() {
		return false, nil
	}
	select {
	case g.lookup <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if g.exists.Load() {
		<-g.lookup
		return false, nil
	}
	return true, nil
}

// groupFailure is why a group could not be created or found, and when to try again. Without
// it, each container of the host would ask by itself.
type groupFailure struct {
	verdict verdict
	err     error
	until   time.Time
	tries   int
	create  target.Create // create is what the failed call asked for.
}

// applies reports whether a call for t would fail again.
func (f groupFailure) applies(t target.Target) bool {
	return time.Now().Before(f.until) && f.sameRequest(t)
}

func (f groupFailure) sameRequest(t target.Target) bool {
	return f.create.Group == t.Create.Group && reflect.DeepEqual(f.create.NewGroup, t.Create.NewGroup)
}

// next returns the failure after one more call.
func (f groupFailure) next(t target.Target, v verdict, err error) groupFailure {
	n := f.tries + 1
	if !f.sameRequest(t) {
		n = 1
	}
	return groupFailure{v, err, time.Now().Add(retryDelay(n, maxSlowBackoff)), n, t.Create}
}

// unansweredPeriod is how long after a call without an answer a group that appears counts
// as created by that call. After an outage of hours, somebody else may have created it.
const unansweredPeriod = time.Minute

// mayBeOurs reports whether a group that did not exist, and exists now, was created by a
// call that got no answer. It returns true once.
func (g *group) mayBeOurs() bool {
	at := g.unansweredAt
	g.unansweredAt = time.Time{}
	return !at.IsZero() && time.Since(at) < unansweredPeriod
}

// createGroup creates the target's group. If CloudWatch does not accept all options, it
// creates the group without tags or class, because logs in such a group are better than no
// logs. It never creates the group without its KMS key: nothing may be stored without the
// key, and it cannot be encrypted later. The events wait in the feeds until the key can be
// used or somebody has created the group.
//
// The retention is set later from another goroutine, because no event waits for it.
func (c *creator) createGroup(ctx context.Context, g *group, t target.Target) (verdict, error) {
	var want target.NewGroup
	if t.Create.NewGroup != nil {
		want = *t.Create.NewGroup
	}
	v, ours, err := c.tryCreateGroup(ctx, g, t.Group, want)
	why := err
	for _, less := range reducedGroups(want, t.Group, v, err) {
		v, ours, err = c.tryCreateGroup(ctx, g, t.Group, less)
		if v == accepted && ours {
			c.log.Warn("a log group was created without some of its options; logs are delivered", "group", t.Group,
				"without", omittedOptions(want, less), "err", ErrorText(why), "hint", omittedHint(want, less))
		}
		if !aboutOptions(v, err) {
			break
		}
	}
	switch {
	case v == accepted && ours:
		c.groupCreated(t.Group, want.RetentionDays)
	case v == accepted:
		c.log.Info("log group exists now", "group", t.Group, "created_by", "somebody else")
	case want.KMSKeyID != "" && aboutOptions(v, err):
		err = &keyError{err}
	}
	return v, err
}

// groupCreated logs that the plugin created a group, and sets its retention from another
// goroutine.
func (c *creator) groupCreated(group string, days int32) {
	c.log.Info("log group created", "group", group)
	if days > 0 {
		c.svc.u.wg.Go(func() { c.setRetention(group, days) })
	}
}

// tryCreateGroup makes one call to create a missing group. ours says that the plugin
// created the group, with this call or with one just before that got no answer.
func (c *creator) tryCreateGroup(ctx context.Context, g *group, name string, n target.NewGroup) (v verdict, ours bool, err error) {
	v, err = c.call(ctx, c.endpoint.groups, func(ctx context.Context, cl client) error {
		return cl.CreateLogGroup(ctx, name, n)
	})
	switch {
	case v == accepted:
		ours = g.mayBeOurs() || err == nil
	case v == unavailable && !unreachable(err):
		g.unansweredAt, g.days = time.Now(), n.RetentionDays
	}
	return v, ours, err
}

// reducedGroups returns what to ask for, in this order, after CloudWatch did not accept n.
// It returns nothing if that cannot help.
func reducedGroups(n target.NewGroup, name string, v verdict, err error) []target.NewGroup {
	if !aboutOptions(v, err) {
		return nil
	}
	tags, class, key := optionsIn(err, name)
	if key && !tags && !class && n.KMSKeyID != "" {
		return nil
	}
	untagged, unclassed, bare := n, n, n
	untagged.Tags, unclassed.Class = nil, ""
	bare.Tags, bare.Class = nil, ""
	switch {
	case len(n.Tags) == 0 && n.Class == "":
		return nil
	case len(n.Tags) == 0 || n.Class == "":
		return []target.NewGroup{bare}
	// If the error does not say which: tags need a permission of their own, and some
	// regions do not know a class.
	case tags && !class || tags == class && v == denied:
		return []target.NewGroup{untagged, bare}
	default:
		return []target.NewGroup{unclassed, bare}
	}
}

// omittedOptions names the options of n that less does not have.
func omittedOptions(n, less target.NewGroup) string {
	var all []string
	if len(n.Tags) > 0 && len(less.Tags) == 0 {
		all = append(all, "tags")
	}
	if n.Class != less.Class {
		all = append(all, "class "+n.Class)
	}
	return strings.Join(all, ", ")
}

// keyError says that a group was not created because its KMS key cannot be used.
type keyError struct{ err error }

func (e *keyError) Error() string {
	return fmt.Sprintf("the group is not created without its KMS key: %v", e.err)
}
func (e *keyError) Unwrap() error { return e.err }

// maxUnknownRetentions is how many times PutRetentionPolicy may not find a new group. It
// takes a moment until all of CloudWatch knows a new group.
const maxUnknownRetentions = 6

// setRetention sets the retention of a new group. It tries until CloudWatch accepts or
// refuses the retention, or the uploader stops. Nothing on disk says that the retention is
// to be set: if the process ends before, the next process finds a group that exists and
// leaves it as it is. The log says so after an orderly stop.
func (c *creator) setRetention(group string, days int32) {
	for n := 1; ; n++ {
		v, err := c.putRetention(group, days)
		if v == accepted {
			c.retention.Succeeded()
			c.log.Info("set the log group's retention", "group", group, "days", days)
			return
		}
		if v.shared() || v == notFound && n < maxUnknownRetentions || kind(err) == codeConflict {
			c.retention.Failed(kind(err), "group", group, "err", ErrorText(err))
			wait := time.NewTimer(retryDelay(n, maxSlowBackoff))
			select {
			case <-wait.C:
				continue
			case <-c.svc.u.stopping:
				wait.Stop()
			}
		}
		c.retention.Forget() // it is not tried again
		hint := "set it by hand: the plugin sets it only on groups that it has just created"
		if v == denied {
			hint = "allow logs:PutRetentionPolicy for the next groups, and " + hint
		}
		c.log.Warn("the log group's retention was not set, so its events never expire; logs are delivered",
			"group", group, "days", days, "err", ErrorText(err), "hint", hint)
		return
	}
}

// putRetention makes one call when the rate allows it. It does not use the limiter of the
// calls that create, so that a failure of this call, which no event waits for and which has
// the smallest quota, does not delay them.
func (c *creator) putRetention(group string, days int32) (verdict, error) {
	if err := c.endpoint.retentions.Wait(c.svc.u.trying); err != nil {
		return cancelled, errStopped
	}
	err := c.svc.call(func(ctx context.Context, cl client) error { return cl.PutRetentionPolicy(ctx, group, days) })
	return classify(err, false), err
}
