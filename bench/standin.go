package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/hosttest"
)

// listening is what the stand-in prints before its URL.
const listening = "listening on "

// standIn is a stand-in for CloudWatch Logs in a process of its own. It has a control endpoint
// (see package cwlocal).
type standIn struct {
	program *hosttest.Program
	url     string
}

// standInSettings are the settings of the stand-in's process.
type standInSettings struct {
	Keep int // Keep is how many events of each stream are kept, see cwlocal.Options.
}

// runStandIn is the stand-in's process. It ends when it is killed.
func runStandIn(text []byte) error {
	var s standInSettings
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{accessKey: secretKey}, Keep: s.Keep})
	if err != nil {
		return err
	}
	fmt.Println(listening + service.URL())
	select {}
}

// startStandIn starts a stand-in. The caller must close it.
func (b *bench) startStandIn(ctx context.Context, s standInSettings) (*standIn, error) {
	p, err := b.startPart(ctx, "stand-in", s)
	if err != nil {
		return nil, err
	}
	_, url, _ := strings.Cut(p.Log.String(), listening)
	return &standIn{p, strings.TrimSpace(url)}, nil
}

func (s *standIn) close() { s.program.Kill() }

// control calls the control endpoint, and decodes the answer into result unless that is nil.
func (s *standIn) control(ctx context.Context, method, path string, body, result any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+"/_cwlocal/"+path, sent)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	if result == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(result)
}

// events returns the events that a stream has kept, in order of arrival.
func (s *standIn) events(ctx context.Context, stream string) (events []cwlocal.Event, err error) {
	q := url.Values{"region": {region}, "group": {logGroup}, "stream": {stream}, "order": {"arrival"}}
	var text bytes.Buffer
	if err := get(ctx, http.DefaultClient, s.url+"/_cwlocal/events?"+q.Encode(), &text); err != nil {
		return nil, err
	}
	for d := json.NewDecoder(&text); d.More(); {
		var e cwlocal.Event
		if err := d.Decode(&e); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// fail makes requests fail until recover is called.
func (s *standIn) fail(ctx context.Context, f cwlocal.Fault) error {
	return s.control(ctx, http.MethodPost, "faults", f, nil)
}

// recover ends all faults.
func (s *standIn) recover(ctx context.Context) error {
	return s.control(ctx, http.MethodDelete, "faults", nil, nil)
}

// waitEvents waits until a stream, or all of them if it is empty, have n events. It fails if
// none arrives for a while.
func (s *standIn) waitEvents(ctx context.Context, stream string, n int64) error {
	for before := int64(-1); ; {
		q := url.Values{"stream": {stream}, "events": {strconv.FormatInt(n, 10)}, "timeout": {patience.String()}}
		err := s.control(ctx, http.MethodGet, "wait?"+q.Encode(), nil, nil)
		if err == nil {
			return nil
		}
		var stats cwlocal.Stats
		if failed := s.control(ctx, http.MethodGet, "stats", nil, &stats); failed != nil || stats.Events == before {
			return fmt.Errorf("waited for %d lines: %w", n, err)
		}
		before = stats.Events
	}
}
