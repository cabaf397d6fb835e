package awsenv

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/oneline"
)

const (
	// instanceWait is how long names wait for the instance ID, from the first request for it.
	// On EC2, the metadata service answers as soon as the network is up, which a busy boot can
	// delay by a minute. A host that is not EC2 waits for the whole time once after each start
	// of the plugin, unless NOEC2 is set. Meanwhile, lines are spooled.
	instanceWait = 2 * time.Minute

	// instancePoll is how often a waiting caller asks again.
	instancePoll = time.Second
)

// An instance looks up the ID of the EC2 instance, and reports in the log while it is missing.
type instance struct {
	id      *lookup
	log     *slog.Logger
	missing *faultlog.Fault
	// deadline begins the wait for the ID in its first call, and returns when the wait
	// ends.
	deadline func() time.Time
	// timedOut logs once that the wait has ended.
	timedOut sync.Once
}

func newInstance(find func(context.Context) (string, error), log *slog.Logger) *instance {
	return &instance{
		id:  newLookup(find),
		log: log,
		missing: faultlog.NewFault(log,
			"EC2 instance ID not known yet; lines of containers whose names use .InstanceID are spooled until it is known", "EC2 instance ID found", nil),
		deadline: sync.OnceValue(func() time.Time { return time.Now().Add(instanceWait) }),
	}
}

// InstanceID returns the ID of the EC2 instance that the plugin runs on. It blocks until
// the ID is known, so that names that contain the ID are not rendered without it. If
// NOEC2 or AWS_EC2_METADATA_DISABLED is set, it returns "" at once. Otherwise it returns
// "" if the metadata service has not returned an ID within instanceWait of the first
// call. The error is ctx's.
func (e *Env) InstanceID(ctx context.Context) (string, error) {
	if e.mayAskEC2() != nil {
		return "", nil
	}
	return e.instance.wait(ctx)
}

func (i *instance) wait(ctx context.Context) (string, error) {
	deadline := i.deadline()
	for {
		id, err := i.id.get(ctx)
		if err == nil {
			i.missing.Succeeded("instance", id)
			return id, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if !time.Now().Before(deadline) {
			i.timedOut.Do(func() {
				i.log.Warn("no EC2 instance ID found; .InstanceID is empty in the names of log groups and streams", "err", err,
					"hint", "set NOEC2=1 if this host is not EC2; if it is, enable the instance's metadata service and restart the plugin")
			})
			return "", nil
		}
		i.missing.Failed("waiting", "err", err, "hint", "set NOEC2=1 if this host is not EC2", "until", deadline.UTC().Format(time.RFC3339))
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(instancePoll):
		}
	}
}

// findInstanceID asks the metadata service once.
func (e *Env) findInstanceID(ctx context.Context) (string, error) {
	cfg, err := e.load(ctx, withoutCredentials)
	if err != nil {
		return "", err
	}
	id, err := e.metadata.instanceID(ctx, cfg)
	if err != nil {
		return "", err
	}
	if !isInstanceID(id) {
		return "", fmt.Errorf("the metadata service answered %s, which is not an instance ID", oneline.Quote(id, maxAnswer))
	}
	return id, nil
}
