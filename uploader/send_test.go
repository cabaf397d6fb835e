package uploader

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"github.com/logspool/logspool/internal/target"
)

// TestEndpointIsResolvedOnce: a client asks for its endpoint once, and again after a failure.
func TestEndpointIsResolvedOnce(t *testing.T) {
	calls := 0
	r := &rememberedEndpoint{EndpointResolverV2: resolverFunc(func() (smithyendpoints.Endpoint, error) {
		if calls++; calls == 1 {
			return smithyendpoints.Endpoint{}, errNoAnswer
		}
		return cloudwatchlogs.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(),
			cloudwatchlogs.EndpointParameters{Region: aws.String("eu-central-1"), UseFIPS: aws.Bool(false), UseDualStack: aws.Bool(false)})
	})}
	for i := range 4 {
		e, err := r.ResolveEndpoint(t.Context(), cloudwatchlogs.EndpointParameters{})
		if (err != nil) != (i == 0) || err == nil && e.URI.Host != "logs.eu-central-1.amazonaws.com" {
			t.Errorf("%v, %v", e.URI, err)
		}
	}
	if calls != 2 {
		t.Errorf("resolved %d times", calls)
	}
}

type resolverFunc func() (smithyendpoints.Endpoint, error)

func (f resolverFunc) ResolveEndpoint(context.Context, cloudwatchlogs.EndpointParameters) (smithyendpoints.Endpoint, error) {
	return f()
}

// TestRequestsShareGoroutines: a goroutine that has sent a request sends the next one too, and
// ends when there is none for a while.
func TestRequestsShareGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := New(Options{Log: discard, connector: newFake(t)})
		run := func() string {
			id := make(chan string, 1)
			u.runRequest(func() {
				var stack [64]byte
				first, _, _ := bytes.Cut(stack[:runtime.Stack(stack[:], false)], []byte(" ["))
				id <- string(first)
			})
			synctest.Wait()
			return <-id
		}
		first := run()
		if next := run(); next != first {
			t.Errorf("%s, and then %s", first, next)
		}
		time.Sleep(2 * idleWorker)
		synctest.Wait()
		if next := run(); next == first {
			t.Error("a goroutine waits forever")
		}
		stop(t, u)
	})
}

// TestBatchIsFinishedWhereItIsSent: the sender does not compress a batch that it
// sends at once, and compresses one that it must hold, so that others can be built.
func TestBatchIsFinishedWhereItIsSent(t *testing.T) {
	u := New(Options{Log: discard, connector: newFake(t)})
	defer stop(t, u)
	s := newSender(u, newService(u, target.Access{Region: "r"}, newEndpoint()), target.Target{}, testTarget)
	feed := newFeed(t)
	at := time.Now()
	feed.add(at, "first")
	d := newDelivery(s, testTarget, feed, 0)
	s.deliveries = []*Delivery{d}
	inFlight := s.build(at, true)
	if inFlight.builder == nil {
		t.Error("the sender has compressed the batch")
	}
	s.u.pool.finish(inFlight)
	s.flight.batches = append(s.flight.batches, inFlight)

	feed.add(at, "second, in the same millisecond")
	d.notified.Store(true)
	held := s.build(at, true)
	s.sendOrHold(held)
	if s.flight.held != held || held.builder != nil || len(u.pool.backlog.building) != 0 {
		t.Error("the held batch keeps others from being built")
	}
}
