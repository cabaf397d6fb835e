// Package stats counts the requests that the stand-in gets, by operation, outcome and sender, and lists
// those that broke a rule.
//
// It knows requests as package protocol reads them. It must not know the account, which counts its
// events itself, or faults.
package stats

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// maxRefusals is how many refusals are kept. RequestStats.Refused counts them all.
const maxRefusals = 1000

// RequestStats count requests since the start.
type RequestStats struct {
	// Requests by operation and outcome; the operation is "unknown" until it could be read.
	Requests map[string]map[string]int64 `json:"requests"`
	// By is who made them, by operation: the ARN of the role whose keys they were signed with, or the
	// ID of the access key. Those whose signature was refused are not among them.
	By            map[string]map[string]int64 `json:"by"`
	Tokens        int64                       `json:"tokens"`     // requests with a session token
	Concurrent    int                         `json:"concurrent"` // under way now
	MaxConcurrent int                         `json:"maxConcurrent"`
	Refused       int64                       `json:"refused"` // requests that broke a rule
	GzipRequests  int64                       `json:"gzipRequests"`
	WireBytes     int64                       `json:"wireBytes"` // of bodies as they came
	BodyBytes     int64                       `json:"bodyBytes"` // of bodies decompressed

	Replaced int64 `json:"replaced"` // strings with invalid UTF-8
}

// A Refusal is a request that broke a rule: it was refused, and not by a fault or a quota, nor
// because something is not there yet or is there already.
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
	Bytes     int       `json:"bytes"` // of the body, decompressed
}

// A Recorder counts requests. All methods may be called at once.
type Recorder struct {
	mu       sync.Mutex
	stats    RequestStats
	refusals []Refusal
}

// New makes a Recorder that has counted nothing.
func New() *Recorder {
	return &Recorder{stats: RequestStats{Requests: map[string]map[string]int64{}, By: map[string]map[string]int64{}}}
}

// Begin counts a request in.
func (r *Recorder) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Concurrent++
	r.stats.MaxConcurrent = max(r.stats.MaxConcurrent, r.stats.Concurrent)
}

// End counts a request out, with its outcome: OK, an error code, or something else that says what
// happened to it. It returns the Refusal if the request failed because it broke a rule.
func (r *Recorder) End(req *protocol.Request, outcome string, failed *protocol.Error, now time.Time) (refusal Refusal, refused bool) {
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
	r.stats.Concurrent--
	byOutcome := r.stats.Requests[req.Operation]
	if byOutcome == nil {
		byOutcome = map[string]int64{}
		r.stats.Requests[req.Operation] = byOutcome
	}
	byOutcome[outcome]++
	if req.Auth.Principal != "" {
		r.countBy(req.Auth.Principal, req.Operation)
	}
	if req.SessionToken != "" {
		r.stats.Tokens++
	}
	if req.Gzip {
		r.stats.GzipRequests++
	}
	r.stats.WireBytes += int64(req.WireBytes)
	r.stats.BodyBytes += int64(req.BodyBytes)
	r.stats.Replaced += int64(req.Input.Replaced)
}

// maxPrincipals bounds those that are told apart. The others are counted together, by no name.
const maxPrincipals = 1000

func (r *Recorder) countBy(principal, op string) {
	byOp := r.stats.By[principal]
	if byOp == nil {
		if len(r.stats.By) >= maxPrincipals {
			principal = ""
		}
		if byOp = r.stats.By[principal]; byOp == nil {
			byOp = map[string]int64{}
			r.stats.By[principal] = byOp
		}
	}
	byOp[op]++
}

// Stats returns a copy of the counts.
func (r *Recorder) Stats() RequestStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.stats
	out.Requests = cloneCounts(r.stats.Requests)
	out.By = cloneCounts(r.stats.By)
	return out
}

func cloneCounts(m map[string]map[string]int64) map[string]map[string]int64 {
	out := make(map[string]map[string]int64, len(m))
	for key, counts := range m {
		out[key] = maps.Clone(counts)
	}
	return out
}

// Refusals lists the requests that broke a rule, the first thousand of them.
func (r *Recorder) Refusals() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refusals)
}
