package main

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"github.com/logspool/logspool/internal/cwlocal"
)

const (
	perContainer = 1000 // lines a second
	containers   = 5
	lineBytes    = 120
)

// rows is the whole matrix.
func rows() []row {
	return slices.Concat(serviceRows(), targetRows(), killRows(), diskRows(), limitRows(), manyRows(), engineRows())
}

// stretch is how long the containers of most rows write.
func (t *trial) stretch() time.Duration {
	if t.short {
		return 3 * time.Second
	}
	return 10 * time.Second
}

// underLoad runs the load for the row's stretch, with lines of size bytes, calls during
// meanwhile, and ends the trial.
func (t *trial) underLoad(ctx context.Context, size int, during func(ctx context.Context, stretch time.Duration) error) error {
	if err := t.containers(ctx, containers, size); err != nil {
		return err
	}
	begun := time.Now()
	t.beginLoad(ctx, perContainer)
	stretch := t.stretch()
	if err := during(ctx, stretch); err != nil {
		return err
	}
	sleep(ctx, stretch-time.Since(begun))
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.end(ctx)
}

// nothing is for underLoad, where the load is enough.
func nothing(context.Context, time.Duration) error { return nil }

// visit starts a container, writes some lines and stops it.
func (t *trial) visit(ctx context.Context, name string, lines int) error {
	s := newSource(t.account, name, lineBytes)
	if err := t.startContainer(ctx, s); err != nil {
		return err
	}
	t.mu.Lock()
	t.visitors = append(t.visitors, s)
	t.mu.Unlock()
	for range lines {
		if err := s.write(ctx); err != nil {
			return err
		}
	}
	return t.stopContainer(ctx, s)
}

// halfWay makes the service fail for the middle half of the stretch.
func halfWay(faults ...cwlocal.Fault) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		return t.underLoad(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
			sleep(ctx, stretch/4)
			for _, f := range faults {
				t.service.AddFault(f)
			}
			sleep(ctx, stretch/4)
			// A container that starts and stops during the fault.
			if err := t.visit(ctx, "visitor", 100); err != nil {
				return err
			}
			sleep(ctx, stretch/4)
			t.service.ClearFault(0)
			return nil
		})
	}
}

// serviceRows are the rows in which the service or the network to it fails.
func serviceRows() []row {
	fault := func(name string, w want, faults ...cwlocal.Fault) row {
		return row{name: name, want: w, do: halfWay(faults...)}
	}
	once, twice := want{}, want{doubled: true}
	kind := func(k cwlocal.FaultKind) cwlocal.Fault { return cwlocal.Fault{Kind: k} }
	all := []row{
		fault("nothing fails", once),
		fault("503 for half of the run", once, kind(cwlocal.Unavailable)),
		fault("500 for half of the run", once, kind(cwlocal.InternalError)),
		fault("connections reset before events are stored", once, kind(cwlocal.ResetBefore)),
		fault("connections reset after events are stored", twice, kind(cwlocal.ResetAfter)),
		fault("requests hang", once, kind(cwlocal.Hang)),
		fault("throttling of 90 % of requests", once, cwlocal.Fault{Kind: cwlocal.Throttle, Probability: 0.9}),
		fault("credentials expired", once, kind(cwlocal.ExpiredToken)),
		fault("access denied", once, kind(cwlocal.Denied)),
		fault("200 with an HTML page", once, kind(cwlocal.HTMLOK)),
		fault("400 with an HTML page", once, kind(cwlocal.HTMLBad)),
		fault("responses cut in half after events are stored", twice, kind(cwlocal.Truncated)),
		fault("responses take 2 s", once, cwlocal.Fault{Kind: cwlocal.Slow, Delay: 2 * time.Second}),
		{name: "a random mix of faults", want: twice, do: func(ctx context.Context, t *trial) error {
			return halfWay(mixture(t.seed)...)(ctx, t)
		}},
		{name: "the service down during the whole run", want: once,
			do: func(ctx context.Context, t *trial) error {
				t.service.AddFault(kind(cwlocal.ResetBefore))
				return t.underLoad(ctx, lineBytes, nothing)
			}},
	}
	// These take longer to recover, because the plugin retries them less often.
	slow := []string{"requests hang", "access denied", "400 with an HTML page", "200 with an HTML page", "responses take 2 s"}
	for i := range all {
		all[i].short = !slices.Contains(slow, all[i].name)
	}
	return all
}

// mixture is every fault, each for some of the requests.
func mixture(seed uint64) []cwlocal.Fault {
	var all []cwlocal.Fault
	for i, k := range []cwlocal.FaultKind{
		cwlocal.Unavailable, cwlocal.InternalError, cwlocal.ResetBefore, cwlocal.ResetAfter, cwlocal.Throttle, cwlocal.ExpiredToken,
		cwlocal.Denied, cwlocal.HTMLOK, cwlocal.HTMLBad, cwlocal.Truncated, cwlocal.DataAccepted, cwlocal.Slow,
	} {
		f := cwlocal.Fault{Kind: k, Probability: 0.07, Seed: seed + uint64(i)}
		if k == cwlocal.Slow {
			f.Delay = 300 * time.Millisecond
		}
		all = append(all, f)
	}
	return all
}

// targetRows are the rows in which the service rejects the log group, the log stream or
// an event.
func targetRows() []row {
	return []row{
		{name: "the log group deleted during the run", short: true, do: deletedGroup},
		{name: "each log stream deleted during the run", short: true, do: deletedStreams},
		{name: "the service rejects one event of each container", short: true, want: want{marked: containers}, do: poisonEvents},
	}
}

func deletedGroup(ctx context.Context, t *trial) error {
	return t.underLoad(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
		sleep(ctx, stretch/2)
		_, err := user(t.service.URL(), nil).DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: aws.String(group)})
		return err
	})
}

func deletedStreams(ctx context.Context, t *trial) error {
	return t.underLoad(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
		sleep(ctx, stretch/2)
		for _, s := range t.sources {
			_, err := user(t.service.URL(), nil).DeleteLogStream(ctx, &cloudwatchlogs.DeleteLogStreamInput{
				LogGroupName: aws.String(group), LogStreamName: aws.String(s.sequence.Container)})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// poisonEvents makes the service reject one event of each container. Clearing the other
// faults does not clear this one.
func poisonEvents(ctx context.Context, t *trial) error {
	t.service.AddFault(cwlocal.Fault{Kind: cwlocal.Poison, Text: " n=000500 "})
	return t.underLoad(ctx, lineBytes, nothing)
}
