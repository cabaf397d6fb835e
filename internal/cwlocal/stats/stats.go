// Package stats counts the requests that the stand-in gets, by operation, outcome and
// sender, and keeps a list of those that broke a rule.
//
// It knows requests as package protocol reads them. It must not know the account, which
// counts its events itself, or faults.
package stats

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

const (
	maxRefusals   = 1000 // refusals that are kept; RequestStats.Refused counts all
	maxPrincipals = 1000 // senders that are counted separately; the others are counted as ""
)

// RequestStats are counts of requests since the start. The sender of a request is the ARN
// of the role that the access key was issued for, or else the key's ID.
type RequestStats struct {
	// Requests counts by operation, which is "unknown" if it could not be read, and by
	// outcome.
	Requests map[string]map[string]int64 `json:"requests"`
	// By counts by sender and operation, without the requests whose signature was
	// refused.
	By map[string]map[string]int64 `json:"by"`

	// Tokens counts requests with a session token.
	Tokens int64 `json:"tokens"`
	// Concurrent is the number of requests in flight now.
	Concurrent    int `json:"concurrent"`
	MaxConcurrent int `json:"maxConcurrent"`
	// Refused counts requests that broke a rule.
	Refused      int64 `json:"refused"`
	GzipRequests int64 `json:"gzipRequests"`
	// WireBytes is the size of all bodies as they were sent.
	WireBytes int64 `json:"wireBytes"`
	// BodyBytes is the size of all bodies after decompression.
	BodyBytes int64 `json:"bodyBytes"`
	// Replaced counts strings in which invalid UTF-8 was replaced.
	Replaced int64 `json:"replaced"`
}

// A Refusal is a request that was refused because it broke a rule. Errors because of a
// fault or a quota, or because a group or stream does not exist or already exists, are no
// refusals.
type Refusal struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId"`
	Operation string    `json:"operation"`
	Region    string    `json:"region"`
	Group     string    `json:"group"`
	Stream    string    `json:"stream"`
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Events    int       `json:"events"`
	Bytes     int       `json:"bytes"` // Bytes is the size of the body after decompression.
}

// A Recorder counts requests. All methods may be called concurrently.
type Recorder struct {
	mu       sync.Mutex
	stats    RequestStats
	refusals []Refusal
}

// New makes a Recorder.
func New() *Recorder {
	return &Recorder{stats: RequestStats{Requests: map[string]map[string]int64{}, By: map[string]map[string]int64{}}}
}

// Begin counts a request as in flight.
func (r *Recorder) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Concurrent++
	r.stats.MaxConcurrent = max(r.stats.MaxConcurrent, r.stats.Concurrent)
}

// End counts a request as ended with an outcome. failed is the error of the service, if
// that is why it failed. If the error means that the request broke a rule, End also returns
// the Refusal.
func (r *Recorder) End(req *protocol.Request, outcome string, failed *protocol.Error, now time.Time) (
	refusal Refusal, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(req, outcome)
	if failed == nil || failed.Expected {
		return Refusal{}, false
	}
	refusal = Refusal{Time: now, RequestID: req.ID, Operation: req.Operation, Region: req.Auth.Region,
		Group: req.Input.Strings["logGroupName"], Stream: req.Input.Strings["logStreamName"],
		Code: failed.Code, Message: failed.Message, Events: len(req.Input.Events), Bytes: req.BodyBytes}
	r.stats.Refused++
	if len(r.refusals) < maxRefusals {
		r.refusals = append(r.refusals, refusal)
	}
	return refusal, true
}

func (r *Recorder) count(req *protocol.Request, outcome string) {
	st := &r.stats
	st.Concurrent--
	add(st.Requests, req.Operation, outcome)
	if by := req.Auth.Principal; by != "" {
		if st.By[by] == nil && len(st.By) >= maxPrincipals {
			by = ""
		}
		add(st.By, by, req.Operation)
	}
	if req.SessionToken != "" {
		st.Tokens++
	}
	if req.Gzip {
		st.GzipRequests++
	}
	st.WireBytes += int64(req.WireBytes)
	st.BodyBytes += int64(req.BodyBytes)
	st.Replaced += int64(req.Input.Replaced)
}

func add(counts map[string]map[string]int64, first, second string) {
	if counts[first] == nil {
		counts[first] = map[string]int64{}
	}
	counts[first][second]++
}

// Stats returns the current counts. They do not change later.
func (r *Recorder) Stats() RequestStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.stats
	out.Requests, out.By = clone(out.Requests), clone(out.By)
	return out
}

func clone(counts map[string]map[string]int64) map[string]map[string]int64 {
	out := make(map[string]map[string]int64, len(counts))
	for first, m := range counts {
		out[first] = maps.Clone(m)
	}
	return out
}

// Refusals returns the first refusals, at most 1000.
func (r *Recorder) Refusals() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refusals)
}
