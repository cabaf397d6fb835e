package uploader

import (
	"context"
	"time"
)

// missedRetentions is how many times a group that was just made may be unknown to PutRetentionPolicy: what one part
// of the service has made, another may not know yet.
const missedRetentions = 6

// retain sets the retention of a group that was just made, and tries until the service has taken it, or says that it
// will not, or the uploader stops. That it should be set is known here alone: if the process ends before
// it is, the next one finds a group that exists, and leaves it as it is. This is as long as the one call takes, or
// as the service's trouble lasts. An orderly stop says so in the log.
func (c *creator) retain(group string, days int32) {
	u := c.s.u
	for n := 1; ; n++ {
		v, err := c.putRetention(group, days)
		if v == accepted {
			c.retention.Succeeded()
			c.log.Info("log group's retention is set", "group", group, "days", days)
			return
		}
		again := v.shared() || v == notFound && n < missedRetentions || kind(err) == "OperationAbortedException"
		hint := "set it by hand: the driver sets it only on groups that it has just made"
		if v == denied {
			hint = "allow logs:PutRetentionPolicy for the next ones, and " + hint
		}
		if again {
			c.retention.Failed(kind(err), "group", group, "err", brief(err))
			wait := time.NewTimer(backoff(n, maxSlowBackoff))
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
	if err := c.endpoint.retentions.Wait(c.s.u.trying); err != nil {
		return cancelled, errStopped
	}
	err := c.s.with(func(ctx context.Context, cl client) error { return cl.PutRetentionPolicy(ctx, group, days) })
	return classify(err, false), err
}
