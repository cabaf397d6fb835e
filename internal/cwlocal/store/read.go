package store

import (
	"math"
	"regexp"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// maxPageBytes bounds the sizes of a page's events together (see protocol.InputEvent.Size).
const maxPageBytes = 1 << 20

// identifierForm is the form of a group's name or ARN.
var identifierForm = regexp.MustCompile(`^[\w#+=/:,.@-]*$`)

// groupNameOrARN checks the group in a call that takes it by logGroupName or by
// logGroupIdentifier, which is a name or an ARN. It returns the group's name.
func (v *violations) groupNameOrARN(r *protocol.Request) string {
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

// oneGroupName refuses a call that names the group in both ways.
func oneGroupName(in *protocol.Input) *protocol.Error {
	_, name := in.Strings["logGroupName"]
	if _, id := in.Strings["logGroupIdentifier"]; name && id {
		return protocol.Refuse("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	}
	return nil
}

// A getQuery is a checked request for GetLogEvents. Unlike in FilterLogEvents, end is
// exclusive.
type getQuery struct {
	group, stream string
	start, end    int64 // start and end are in milliseconds.
	limit         int64

	token   string
	at      position // at is the position in the token.
	forward bool
}

func parseGetQuery(r *protocol.Request) (q getQuery, err *protocol.Error) {
	var v violations
	q.group, q.stream = v.groupNameOrARN(r), v.streamName(&r.Input)
	q.start = v.between(&r.Input, "startTime", 0, math.MaxInt64, 0)
	q.end = v.between(&r.Input, "endTime", 0, math.MaxInt64, math.MaxInt64)
	q.limit = v.between(&r.Input, "limit", 1, maxEventsPage, maxEventsPage)
	q.token = v.optional(&r.Input, "nextToken", math.MaxInt, nil)
	if err := v.err(); err != nil {
		return q, err
	}
	if err := oneGroupName(&r.Input); err != nil {
		return q, err
	}
	if q.token == "" {
		q.forward = r.Input.Booleans["startFromHead"]
		return q, nil
	}
	direction, text, _ := strings.Cut(q.token, "/")
	at, ok := parsePosition(text)
	if !ok || direction != "f" && direction != "b" {
		return q, errBadToken
	}
	q.at, q.forward = at, direction == "f"
	return q, nil
}

// page returns the part of a stream's events, which are sorted, that the query asks for.
func (q *getQuery) page(events []Event) []Event {
	lo := firstAt(events, position{q.start, 0})
	hi := max(lo, firstAt(events, position{q.end, 0}))
	switch {
	case q.token == "":
	case q.forward: // the events behind the position
		lo = min(max(lo, firstAt(events, position{q.at.timestamp, q.at.seq + 1})), hi)
	default: // the events before the position
		hi = max(min(hi, firstAt(events, q.at)), lo)
	}
	events = events[lo:hi]
	n := fitting(len(events), q.limit, func(i int) string {
		if q.forward {
			return events[i].Message
		}
		return events[len(events)-1-i].Message
	})
	if q.forward {
		return events[:n]
	}
	return events[len(events)-n:]
}

// tokens returns the tokens that lead back and forward from a page. A forward token holds
// the position of the event before the next page, a backward token the position of the
// event behind it. When a page is empty, the token that asked for it is returned again:
// that is how a reader knows that it has everything.
func (q *getQuery) tokens(page []Event) (backward, forward string) {
	first, last := q.at, q.at
	switch {
	case len(page) > 0:
		first, last = page[0].position(), page[len(page)-1].position()
	case q.forward:
		first.seq++
	case q.at.seq > 0:
		last.seq--
	}
	return "b/" + first.String(), "f/" + last.String()
}

type outputEvent struct {
	Ingested  int64  `json:"ingestionTime"`
	Message   string `json:"message"`
	Timestamp int64  `json:"timestamp"`
}

func (s *Store) getLogEvents(r *protocol.Request) (any, *protocol.Error) {
	q, err := parseGetQuery(r)
	if err != nil {
		return nil, err
	}
	events, err := s.readStream(r.Auth.Region, q.group, q.stream)
	if err != nil {
		return nil, err
	}
	page := q.page(events)
	out := struct {
		Events   []outputEvent `json:"events"`
		Backward string        `json:"nextBackwardToken"`
		Forward  string        `json:"nextForwardToken"`
	}{Events: make([]outputEvent, 0, len(page))}
	for _, e := range page {
		out.Events = append(out.Events, outputEvent{e.Ingested, e.Message, e.Timestamp})
	}
	out.Backward, out.Forward = q.tokens(page)
	return out, nil
}

// readStream returns a stream's kept events, sorted.
func (s *Store) readStream(region, groupName, streamName string) ([]Event, *protocol.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.stream(region, groupName, streamName)
	if err != nil {
		return nil, err
	}
	return st.byTime(), nil
}

// fitting returns how many of n messages fit a page. A page holds at least one.
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
