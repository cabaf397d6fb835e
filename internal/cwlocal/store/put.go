package store

import (
	"math"
	"sort"
	"strconv"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// The limits of PutLogEvents.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
const (
	maxBatchEvents = 10000
	maxBatchBytes  = 1 << 20 // sum of protocol.InputEvent.Size
	maxEventBytes  = 1 << 20 // protocol.InputEvent.Size
	maxSpan        = 24 * time.Hour
	maxAge         = 14 * 24 * time.Hour
	maxAhead       = 2 * time.Hour
)

type putResult struct {
	Next     string        `json:"nextSequenceToken"`
	Rejected *rejectedInfo `json:"rejectedLogEventsInfo,omitempty"`

	RejectedEntity *rejectedEntity `json:"rejectedEntityInfo,omitempty"`
}

// rejectedInfo reports which events of a batch were dropped: the events before each end,
// and the events from the start on.
type rejectedInfo struct {
	TooNewStart *int `json:"tooNewLogEventStartIndex,omitempty"`
	TooOldEnd   *int `json:"tooOldLogEventEndIndex,omitempty"`
	ExpiredEnd  *int `json:"expiredLogEventEndIndex,omitempty"`
}

func (s *Store) putLogEvents(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	groupName, streamName := v.groupName(&r.Input), v.streamName(&r.Input)
	v.optional(&r.Input, "sequenceToken", math.MaxInt, nil) // it is ignored, but must not be empty
	v.events(&r.Input)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := checkBatch(r.Input.Events); err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	g, st, err := s.stream(r.Auth.Region, groupName, streamName)
	if err != nil {
		return nil, err
	}
	now := s.opts.Now()
	tooOld, expired, tooNew := window(r.Input.Events, now, g.retention)
	accepted := s.accept(r.Input.Events[max(tooOld, expired):tooNew], millis(now))
	s.record(r, g, st, accepted)
	s.stats.TooOld += int64(tooOld)
	s.stats.Expired += int64(max(tooOld, expired) - tooOld)
	s.stats.TooNew += int64(len(r.Input.Events) - tooNew)

	out := putResult{
		Next:     protocol.SequenceToken(uint64(s.stats.Batches)),
		Rejected: rejected(tooOld, expired, tooNew, len(r.Input.Events)),
	}
	if r.Input.Entity != nil {
		errorType := entityError(r.Input.Entity)
		if errorType != "" {
			out.RejectedEntity = &rejectedEntity{errorType}
		}
		st.stats.countEntity(r.Input.Entity, errorType)
	}
	return out, nil
}

// rejected returns the rejectedInfo for what window returned for a batch of n events, or
// nil if all were accepted.
func rejected(tooOld, expired, tooNew, n int) *rejectedInfo {
	if tooOld == 0 && expired == 0 && tooNew == n {
		return nil
	}
	info := &rejectedInfo{}
	if tooOld > 0 {
		info.TooOldEnd = &tooOld
	}
	if expired > tooOld {
		info.ExpiredEnd = &expired
	}
	if tooNew < n {
		info.TooNewStart = &tooNew
	}
	return info
}

// events checks the constraints of the model for a batch.
func (v *violations) events(in *protocol.Input) {
	switch {
	case !in.HasEvents:
		v.add("null", "logEvents", "not be null")
	case len(in.Events) == 0:
		v.add("'[]'", "logEvents", "have length greater than or equal to 1")
	case len(in.Events) > maxBatchEvents:
		v.add("'[...]'", "logEvents", "have length less than or equal to %d", maxBatchEvents)
	}
	for i := range in.Events {
		e := &in.Events[i]
		if e.HasTime && e.Timestamp >= 0 && len(e.Message) > 0 {
			continue
		}
		at := "logEvents." + strconv.Itoa(i+1) + ".member."
		switch {
		case !e.HasTime:
			v.add("null", at+"timestamp", "not be null")
		case e.Timestamp < 0:
			v.add(quoted(strconv.FormatInt(e.Timestamp, 10)), at+"timestamp", "have value greater than or equal to 0")
		}
		switch {
		case !e.HasMessage:
			v.add("null", at+"message", "not be null")
		case e.Message == "":
			v.add("''", at+"message", "have length greater than or equal to 1")
		}
	}
}

// checkBatch checks the size, the order and the time span of a batch.
func checkBatch(events []protocol.InputEvent) *protocol.Error {
	size := 0
	for i := range events {
		n := events[i].Size()
		if n > maxEventBytes {
			return protocol.Invalid("Log event too large: %d bytes exceeds limit of %d", n, maxEventBytes)
		}
		size += n
	}
	if size > maxBatchBytes {
		return protocol.Invalid("Upload too large: %d bytes exceeds limit of %d", size, maxBatchBytes)
	}
	for i := 1; i < len(events); i++ {
		if events[i].Timestamp < events[i-1].Timestamp {
			return protocol.Invalid("Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	if events[len(events)-1].Timestamp-events[0].Timestamp > maxSpan.Milliseconds() {
		return protocol.Invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return nil
}

// window returns which events the service accepts by their time: from the greater of tooOld
// and expired up to tooNew, exclusive. An event that is both too old and expired counts as
// too old.
func window(events []protocol.InputEvent, now time.Time, retention int64) (tooOld, expired, tooNew int) {
	from := func(oldest int64) int {
		return sort.Search(len(events), func(i int) bool { return events[i].Timestamp >= oldest })
	}
	tooOld = from(millis(now.Add(-maxAge)))
	if retention > 0 {
		expired = from(millis(now.AddDate(0, 0, -int(retention))))
	}
	tooNew = max(from(millis(now.Add(maxAhead))+1), tooOld, expired)
	return tooOld, expired, tooNew
}

// accept makes accepted events of the events of a request. s.mu is held.
func (s *Store) accept(in []protocol.InputEvent, now int64) []Event {
	events := make([]Event, len(in))
	for i := range in {
		s.seq++
		events[i] = Event{Timestamp: in[i].Timestamp, Ingested: now, Seq: s.seq, Message: in[i].Message}
	}
	return events
}
