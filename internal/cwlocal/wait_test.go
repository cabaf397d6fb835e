package cwlocal

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestWaitEventsReturnsWhenTheEventsHaveArrived(t *testing.T) {
	c := newStreamClient(t, Options{})
	c.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"t"}`)
	done := make(chan error, 3)
	for _, stream := range []string{"s", "t", ""} {
		n := int64(2)
		if stream == "" {
			n = 4
		}
		go func() { done <- c.s.WaitEvents(context.Background(), testRegion, "g", stream, n) }()
	}
	for _, stream := range []string{"s", "t", "s", "t"} {
		c.ok("PutLogEvents", batchTo("g", stream, at(0, "x")))
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := c.s.WaitEvents(ctx, testRegion, "g", "s", 3)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `waited for 3 events in "eu-central-1" "g" "s", got 2`) {
		t.Error(err)
	}
	go func() { done <- c.s.Wait(context.Background(), func() bool { return false }) }()
	c.s.Close()
	if err := <-done; err == nil {
		t.Error("Close didn't end the wait")
	}
}
