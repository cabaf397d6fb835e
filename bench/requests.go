package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// The sizes of the measurement requests.
const (
	requestsContainers = 100
	requestsStreams    = 5
	requestsRate       = 10 // requestsRate is in lines per second and container.
	requestsDelay      = 4 * time.Second
	requestsWindow     = 10 * requestsDelay
	requestsTurns      = 3
)

// requests measures how many requests the plugin makes for containers that share streams.
func (b *bench) requests(ctx context.Context) ([]row, error) {
	h, err := b.newHost(ctx, b.binary, false, 0, []string{"DELAY=" + requestsDelay.String()})
	if err != nil {
		return nil, err
	}
	defer h.close()
	if err := h.startSharing(ctx, requestsContainers, requestsStreams); err != nil {
		return nil, err
	}
	if err := h.warmUp(ctx); err != nil {
		return nil, err
	}
	writing := h.steadily(ctx, pace{requestsRate})
	perSecond, err := b.requestWindows(ctx, writing)
	if err := errors.Join(err, writing.stop(ctx)); err != nil {
		return nil, err
	}
	return []row{{
		what: fmt.Sprintf("requests: %d containers in %d streams, %d lines/s each, DELAY %g", requestsContainers, requestsStreams, requestsRate, requestsDelay.Seconds()),
		got:  spreadOf(perSecond), unit: "requests/s", limit: 1.3,
		note: "All PutLogEvents requests, whatever the answer. The values are those of windows of 40 s in one run, after 8 s of writing. " +
			"A request for each stream every 4 s is 1.25 per second.",
	}}, nil
}

// requestWindows returns the requests per second in some windows.
func (b *bench) requestWindows(ctx context.Context, writing *steady) (perSecond []float64, err error) {
	if err := writing.sleep(ctx, b.time(2*requestsDelay)); err != nil {
		return nil, err
	}
	for range cmp.Or(b.turns, requestsTurns) {
		before, begun := writing.puts(), time.Now()
		if err := writing.sleep(ctx, b.time(requestsWindow)); err != nil {
			return nil, err
		}
		got := float64(writing.puts()-before) / time.Since(begun).Seconds()
		fmt.Fprintf(b.out, "requests: %.2f per second\n", got)
		perSecond = append(perSecond, got)
	}
	return perSecond, nil
}

// puts returns how many PutLogEvents requests there were.
func (h *host) puts() (n int64) {
	for _, count := range h.service.Stats().Requests["PutLogEvents"] {
		n += count
	}
	return n
}
