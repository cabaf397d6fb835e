package store

import (
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// A filterQuery is a checked request for FilterLogEvents.
type filterQuery struct {
	group  string
	prefix string   // prefix begins the names of the streams to search.
	names  []string // names has the names of the streams to search; nil means all.

	from  position
	end   int64 // end is in milliseconds, and inclusive.
	limit int64
	match func(message string) bool
}

func parseFilterQuery(r *protocol.Request) (q filterQuery, err *protocol.Error) {
	var v violations
	q.group = v.groupNameOrARN(r)
	q.prefix = v.optional(&r.Input, "logStreamNamePrefix", maxName, streamNameForm)
	q.names = v.streamNames(&r.Input)
	q.from.timestamp = v.between(&r.Input, "startTime", 0, math.MaxInt64, 0)
	q.end = v.between(&r.Input, "endTime", 0, math.MaxInt64, math.MaxInt64)
	q.limit = v.between(&r.Input, "limit", 1, maxEventsPage, maxEventsPage)
	token := v.optional(&r.Input, "nextToken", math.MaxInt, nil)
	text := r.Input.Strings["filterPattern"]
	if text != "" {
		v.checked(text, "filterPattern", maxPattern, nil)
	}
	if err := v.err(); err != nil {
		return q, err
	}
	if err := oneGroupName(&r.Input); err != nil {
		return q, err
	}
	if q.names != nil && q.prefix != "" {
		return q, protocol.Invalid("LogStream names and LogStream name prefix are mutually exclusive parameters.")
	}
	if q.match, err = parsePattern(text); err != nil {
		return q, err
	}
	if token != "" {
		ok := false
		if q.from, ok = parsePosition(token); !ok {
			return q, errBadToken
		}
	}
	return q, nil
}

func (v *violations) streamNames(in *protocol.Input) []string {
	names, given := in.Lists["logStreamNames"]
	if given && len(names) == 0 {
		v.add("'[]'", "logStreamNames", "have length greater than or equal to 1")
	}
	if len(names) > maxStreamNames {
		v.add("'[...]'", "logStreamNames", "have length less than or equal to %d", maxStreamNames)
	}
	for _, name := range names {
		v.checked(name, "logStreamNames", maxName, streamNameForm)
	}
	return names
}

type filteredEvent struct {
	ID        string `json:"eventId"`
	Ingested  int64  `json:"ingestionTime"`
	Stream    string `json:"logStreamName"`
	Message   string `json:"message"`
	Timestamp int64  `json:"timestamp"`
}

func (s *Store) filterLogEvents(r *protocol.Request) (any, *protocol.Error) {
	q, err := parseFilterQuery(r)
	if err != nil {
		return nil, err
	}
	streams, err := s.readStreams(r.Auth.Region, &q)
	if err != nil {
		return nil, err
	}
	out := struct {
		Events   []filteredEvent `json:"events"`
		Next     string          `json:"nextToken,omitempty"`
		Searched []string        `json:"searchedLogStreams"`
	}{Events: []filteredEvent{}, Searched: []string{}}
	size := 0
	for e := range merged(streams, q.from, q.end) {
		if !q.match(e.Message) {
			continue
		}
		size += len(e.Message) + protocol.EventOverhead
		if int64(len(out.Events)) == q.limit || size > maxPageBytes && len(out.Events) > 0 {
			out.Next = e.position().String()
			break
		}
		id := e.position().String()
		out.Events = append(out.Events, filteredEvent{id, e.Ingested, e.stream, e.Message, e.Timestamp})
	}
	return out, nil
}

// readStreams returns the kept events, sorted, of the streams that a query asks for, by
// name. The streams that the query names must exist.
func (s *Store) readStreams(region string, q *filterQuery) (map[string][]Event, *protocol.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(region, q.group)
	if err != nil {
		return nil, err
	}
	for _, name := range q.names {
		if g.streams[name] == nil {
			return nil, errNoStream
		}
	}
	streams := map[string][]Event{}
	for name, st := range g.streams {
		if strings.HasPrefix(name, q.prefix) && (q.names == nil || slices.Contains(q.names, name)) {
			streams[name] = st.byTime()
		}
	}
	return streams, nil
}

type streamEvent struct {
	*Event
	stream string
}

// merged returns the events of several streams in one order, from a position up to and
// including a time.
func merged(streams map[string][]Event, from position, end int64) iter.Seq[streamEvent] {
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
			next := &all[least]
			e := streamEvent{&next.events[0], next.stream}
			if e.Timestamp > end || !yield(e) {
				return
			}
			if next.events = next.events[1:]; len(next.events) == 0 {
				all = slices.Delete(all, least, least+1)
			}
		}
	}
}
