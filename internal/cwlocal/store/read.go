package store

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// maxPageBytes bounds a page of events: messages, and protocol.EventOverhead for each.
const maxPageBytes = 1 << 20

// identifierForm is that of a group's name or ARN.
var identifierForm = regexp.MustCompile(`^[\w#+=/:,.@-]*$`)

// groupOf finds the group's name in a call that takes it as a name or as an identifier, which is a
// name or an ARN.
func (s *Store) groupOf(r *protocol.Request, v *violations) string {
	id, ok := r.Input.Strings["logGroupIdentifier"]
	if !ok {
		return v.groupName(&r.Input)
	}
	v.optional(&r.Input, "logGroupName", maxName, groupNameForm)
	v.checked(id, "logGroupIdentifier", 2048, identifierForm)
	if name, ok := protocol.GroupOfARN(r.Auth.Region, id); ok {
		return name
	}
	return id
}

func oneGroupName(in *protocol.Input) *protocol.Error {
	_, name := in.Strings["logGroupName"]
	if _, id := in.Strings["logGroupIdentifier"]; name && id {
		return protocol.Refuse("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	}
	return nil
}

type outputEvent struct {
	Ingested  int64  `json:"ingestionTime"`
	Message   string `json:"message"`
	Timestamp int64  `json:"timestamp"`
}

func (s *Store) getLogEvents(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	groupName, streamName := s.groupOf(r, &v), v.streamName(&r.Input)
	start := v.between(&r.Input, "startTime", 0, math.MaxInt64, 0)
	end := v.between(&r.Input, "endTime", 0, math.MaxInt64, math.MaxInt64)
	limit := v.between(&r.Input, "limit", 1, maxEventsPage, maxEventsPage)
	token := v.optional(&r.Input, "nextToken", math.MaxInt, nil)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := oneGroupName(&r.Input); err != nil {
		return nil, err
	}
	at, forward, err := parseEventsToken(token, r.Input.Booleans["startFromHead"])
	if err != nil {
		return nil, err
	}
	events, err := s.readStream(r.Auth.Region, groupName, streamName)
	if err != nil {
		return nil, err
	}

	// endTime is exclusive here, unlike in FilterLogEvents.
	lo, hi := firstAt(events, position{start, 0}), firstAt(events, position{end, 0})
	hi = max(lo, hi)
	switch {
	case token == "":
	case forward: // behind the position
		lo = min(max(lo, firstAt(events, position{at.timestamp, at.seq + 1})), hi)
	default: // before the position
		hi = max(min(hi, firstAt(events, at)), lo)
	}
	n := fitting(hi-lo, limit, func(i int) string {
		if forward {
			return events[lo+i].Message
		}
		return events[hi-1-i].Message
	})
	if forward {
		hi = lo + n
	} else {
		lo = hi - n
	}
	out := struct {
		Events   []outputEvent `json:"events"`
		Backward string        `json:"nextBackwardToken"`
		Forward  string        `json:"nextForwardToken"`
	}{Events: make([]outputEvent, 0, n)}
	for _, e := range events[lo:hi] {
		out.Events = append(out.Events, outputEvent{e.Ingested, e.Message, e.Timestamp})
	}
	// At the end of the stream the token that came in goes out again: that is how a reader knows.
	// A forward token points at the event before the next page, a backward one at the event behind it.
	first, last := at, at
	switch {
	case n > 0:
		first, last = events[lo].position(), events[hi-1].position()
	case forward:
		first.seq++
	case at.seq > 0:
		last.seq--
	}
	out.Backward, out.Forward = "b/"+first.String(), "f/"+last.String()
	return out, nil
}

// parseEventsToken is where a page starts, and in which direction it goes.
func parseEventsToken(token string, fromHead bool) (at position, forward bool, err *protocol.Error) {
	if token == "" {
		return at, fromHead, nil
	}
	direction, text, _ := strings.Cut(token, "/")
	at, ok := parsePosition(text)
	if !ok || direction != "f" && direction != "b" {
		return at, false, errBadToken
	}
	return at, direction == "f", nil
}

func (s *Store) readStream(region, groupName, streamName string) ([]Event, *protocol.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.stream(region, groupName, streamName)
	if err != nil {
		return nil, err
	}
	return st.byTime(), nil
}

// fitting is how many of n messages fit a page, and at least one.
func fitting(n int, limit int64, message func(int) string) int {
	n = int(min(int64(n), limit))
	size := 0
	for i := range n {
		size += len(message(i)) + protocol.EventOverhead
		if size > maxPageBytes && i > 0 {
			return i
		}
	}
	return n
}

type filteredEvent struct {
	ID        string `json:"eventId"`
	Ingested  int64  `json:"ingestionTime"`
	Stream    string `json:"logStreamName"`
	Message   string `json:"message"`
	Timestamp int64  `json:"timestamp"`
}

func (s *Store) filterLogEvents(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	groupName := s.groupOf(r, &v)
	prefix := v.optional(&r.Input, "logStreamNamePrefix", maxName, streamNameForm)
	names, named := r.Input.Lists["logStreamNames"]
	v.streamNames(names, named)
	start := v.between(&r.Input, "startTime", 0, math.MaxInt64, 0)
	end := v.between(&r.Input, "endTime", 0, math.MaxInt64, math.MaxInt64)
	limit := v.between(&r.Input, "limit", 1, maxEventsPage, maxEventsPage)
	token := v.optional(&r.Input, "nextToken", math.MaxInt, nil)
	text := r.Input.Strings["filterPattern"]
	if text != "" {
		v.checked(text, "filterPattern", maxPattern, nil)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := oneGroupName(&r.Input); err != nil {
		return nil, err
	}
	if named && prefix != "" {
		return nil, protocol.Invalid("LogStream names and LogStream name prefix are mutually exclusive parameters.")
	}
	match, err := parsePattern(text)
	if err != nil {
		return nil, err
	}
	from := position{start, 0}
	if token != "" {
		p, ok := parsePosition(token)
		if !ok {
			return nil, errBadToken
		}
		from = p
	}
	streams, err := s.readStreams(r.Auth.Region, groupName, func(name string) bool {
		return strings.HasPrefix(name, prefix) && (!named || slices.Contains(names, name))
	}, names)
	if err != nil {
		return nil, err
	}

	out := struct {
		Events   []filteredEvent `json:"events"`
		Next     string          `json:"nextToken,omitempty"`
		Searched []string        `json:"searchedLogStreams"`
	}{Events: []filteredEvent{}, Searched: []string{}}
	size := 0
	for e := range merged(streams, from, end) {
		if !match(e.Message) {
			continue
		}
		size += len(e.Message) + protocol.EventOverhead
		if int64(len(out.Events)) == limit || size > maxPageBytes && len(out.Events) > 0 {
			out.Next = e.position().String()
			break
		}
		out.Events = append(out.Events, filteredEvent{e.position().String(), e.Ingested, e.stream, e.Message, e.Timestamp})
	}
	return out, nil
}

func (v *violations) streamNames(names []string, given bool) {
	if given && len(names) == 0 {
		v.add("'[]'", "logStreamNames", "have length greater than or equal to 1")
	}
	if len(names) > maxStreamNames {
		v.add("'[...]'", "logStreamNames", "have length less than or equal to %d", maxStreamNames)
	}
	for _, name := range names {
		v.checked(name, "logStreamNames", maxName, streamNameForm)
	}
}

// readStreams are the events of the wanted streams by name. Those in must have to be there.
func (s *Store) readStreams(region, groupName string, want func(string) bool, must []string) (map[string][]Event, *protocol.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(region, groupName)
	if err != nil {
		return nil, err
	}
	for _, name := range must {
		if g.streams[name] == nil {
			return nil, errNoStream
		}
	}
	streams := map[string][]Event{}
	for name, st := range g.streams {
		if want(name) {
			streams[name] = st.byTime()
		}
	}
	return streams, nil
}

type streamEvent struct {
	*Event
	stream string
}

// merged goes through the events of many streams by time, from a position up to and with a time.
func merged(streams map[string][]Event, from position, end int64) func(yield func(streamEvent) bool) {
	return func(yield func(streamEvent) bool) {
		type rest struct {
			stream string
			events []Event
		}
		var all []rest
		for name, events := range streams {
			if events = events[firstAt(events, from):]; len(events) > 0 {
				all = append(all, rest{name, events})
			}
		}
		for len(all) > 0 {
			least := 0
			for i := range all {
				if all[i].events[0].position().compare(all[least].events[0].position()) < 0 {
					least = i
				}
			}
			r := &all[least]
			e := streamEvent{&r.events[0], r.stream}
			if e.Timestamp > end || !yield(e) {
				return
			}
			if r.events = r.events[1:]; len(r.events) == 0 {
				all = slices.Delete(all, least, least+1)
			}
		}
	}
}
