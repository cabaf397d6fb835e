package uploader

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
)

// group is what is known of one log group.
type group struct {
	// lookup is held by the sender that finds out whether the group exists, so that a host full of
	// containers asks once.
	lookup chan struct{}

	health *faultlog.Shared[*sender]

	exists bool // guarded by creator.mu

	// Guarded by first.
	unansweredAt time.Time // when a call to make it came to no answer; zero: its answer is known
	days         int32     // of retention, that it was to have
	failure      groupFailure
}

func newGroup(c *creator, name string) *group {
	return &group{
		lookup: make(chan struct{}, 1),
		health: faultlog.NewShared(c.log.With("group", name), "sending to the log group failed; the plugin keeps trying",
			"sending to the log group works again", describeBacklog),
	}
}

// groupFailure is why a group could not be created or found, and when to try again. Without it each of a host's
// containers would ask by itself.
type groupFailure struct {
	verdict verdict
	err     error
	until   time.Time
	tries   int

	create target.Create
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

// unansweredPeriod is how long a group that turns up after a call that came to no answer is taken for the one that this
// call made. After an outage of hours somebody else may have made it.
const unansweredPeriod = time.Minute

// mayBeOurs reports whether a group that was missing, and is not missing now, is there because of a call whose answer
// never came. It is asked once.
func (g *group) mayBeOurs() bool {
	at := g.unansweredAt
	g.unansweredAt = time.Time{}
	return !at.IsZero() && time.Since(at) < unansweredPeriod
}

// createGroup makes the target's group as it should be, or with less where the service does not take all of it: logs in a
// group without its tags, or in one that costs more, are better than no logs. The key is another matter: who asks
// for one wants nothing to be stored without it, and what is stored cannot be encrypted later, so
// without the key the group is not made. What is logged waits in the feeds until the key can be used or
// somebody has made the group.
//
// The retention is set behind the back of the sender, which need not wait for it.
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
			c.log.Warn("a log group was made without all that it should have; logging goes on", "group", t.Group,
				"without", omittedOptions(want, less), "err", brief(why), "hint", omittedHint(want, less))
		}
		if !aboutOptions(v, err) {
			break
		}
	}
	switch {
	case v == accepted && ours:
		c.groupCreated(t.Group, want.RetentionDays)
	case v == accepted:
		c.log.Info("log group is there now", "group", t.Group, "made_by", "somebody else")
	case want.KMSKeyID != "" && aboutOptions(v, err):
		err = &keyError{err}
	}
	return v, err
}

// groupCreated is called when a group is there that was groupCreated by us.
func (c *creator) groupCreated(group string, days int32) {
	c.log.Info("log group is there now", "group", group)
	if days > 0 {
		c.svc.u.wg.Go(func() { c.retain(group, days) })
	}
}

// tryCreateGroup makes one call to make a group that is missing, and says whether the group is ours: made by this call, or by
// one just before whose answer never came.
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

// reducedGroups returns what to ask for, one after the other, when the service did not take n. It is nothing where that
// cannot help.
func reducedGroups(n target.NewGroup, name string, v verdict, err error) []target.NewGroup {
	if !aboutOptions(v, err) {
		return nil
	}
	// The name of a group may say anything, and is repeated in most of these errors.
	says := strings.ReplaceAll(err.Error(), name, "")
	tags, class := aboutTags.MatchString(says), aboutClass.MatchString(says)
	if !tags && !class && n.KMSKeyID != "" && aboutKey.MatchString(says) {
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
	// Where it does not say: tags take a permission of their own, and a class is not known everywhere.
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

// keyError says that a group was not made, for it should have a key.
type keyError struct{ err error }

func (e *keyError) Error() string {
	return fmt.Sprintf("the group is not made without its KMS key: %v", e.err)
}
func (e *keyError) Unwrap() error { return e.err }

// maxUnknownRetentions is how many times a group that was just made may be unknown to PutRetentionPolicy: what one part
// of the service has made, another may not know yet.
const maxUnknownRetentions = 6

// retain sets the retention of a group that was just made, and tries until the service has taken it, or says that it
// will not, or the uploader stops. That it should be set is known here alone: if the process ends before
// it is, the next one finds a group that exists, and leaves it as it is. This is as long as the one call takes, or
// as the service's trouble lasts. An orderly stop says so in the log.
func (c *creator) retain(group string, days int32) {
	u := c.svc.u
	for n := 1; ; n++ {
		v, err := c.putRetention(group, days)
		if v == accepted {
			c.retention.Succeeded()
			c.log.Info("log group's retention is set", "group", group, "days", days)
			return
		}
		again := v.shared() || v == notFound && n < maxUnknownRetentions || kind(err) == "OperationAbortedException"
		hint := "set it by hand: the driver sets it only on groups that it has just made"
		if v == denied {
			hint = "allow logs:PutRetentionPolicy for the next ones, and " + hint
		}
		if again {
			c.retention.Failed(kind(err), "group", group, "err", brief(err))
			wait := time.NewTimer(retryDelay(n, maxSlowBackoff))
			select {
			case <-wait.C:
				continue
			case <-u.stopping:
				wait.Stop()
			}
		}
		c.log.Warn("log group's retention is not set: its events do not expire; logging goes on",
			"group", group, "days", days, "err", brief(err), "hint", hint)
		return
	}
}

// putRetention makes the call when its turn has come. It does without the limiter of the calls that create: no
// event waits for this one, and its quota is the smallest, so that its trouble must not hold them up.
func (c *creator) putRetention(group string, days int32) (verdict, error) {
	if err := c.endpoint.retentions.Wait(c.svc.u.trying); err != nil {
		return cancelled, errStopped
	}
	err := c.svc.call(func(ctx context.Context, cl client) error { return cl.PutRetentionPolicy(ctx, group, days) })
	return classify(err, false), err
}
