package cwlocal

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// FaultKind is a way to fail.
type FaultKind string

// The kinds. Those that say "stored" carry the request out and only then fail.
const (
	Throttle           FaultKind = "throttle"            // ThrottlingException
	InternalError      FaultKind = "500"                 // HTTP 500, InternalFailure
	Unavailable        FaultKind = "503"                 // HTTP 503, ServiceUnavailableException
	Denied             FaultKind = "denied"              // AccessDeniedException
	ExpiredToken       FaultKind = "expired-token"       // ExpiredTokenException
	UnrecognizedClient FaultKind = "unrecognized-client" // UnrecognizedClientException
	ResetBefore        FaultKind = "reset-before"        // the connection is reset, nothing stored
	ResetAfter         FaultKind = "reset-after"         // stored, then the connection is reset
	Hang               FaultKind = "hang"                // no answer, nothing stored
	HangAfter          FaultKind = "hang-after"          // stored, then no answer
	HTMLOK             FaultKind = "html-200"            // 200 with a web page, nothing stored
	HTMLBad            FaultKind = "html-400"            // 400 with a web page, nothing stored
	Truncated          FaultKind = "truncated"           // stored, the answer's JSON cut in half
	DataAccepted       FaultKind = "data-accepted"       // stored, DataAlreadyAcceptedException
	GzipUnsupported    FaultKind = "gzip-415"            // compressed bodies get HTTP 415
	GzipMisread        FaultKind = "gzip-serialization"  // compressed bodies get SerializationException
	Slow               FaultKind = "slow"                // served as ever, Delay later
	GzipCrash          FaultKind = "gzip-500"            // compressed bodies get HTTP 500, as from moto's server
	Poison             FaultKind = "poison"              // InvalidParameterException for a batch with Text in a message
	SmallEvents        FaultKind = "small-events"        // the limit of an event is Limit; Text, if any, is the error's message
)

// FaultKinds are all kinds.
var FaultKinds = []FaultKind{Throttle, InternalError, Unavailable, Denied, ExpiredToken, UnrecognizedClient, ResetBefore,
	ResetAfter, Hang, HangAfter, HTMLOK, HTMLBad, Truncated, DataAccepted, GzipUnsupported, GzipMisread, GzipCrash, Slow, Poison, SmallEvents}

// A Fault makes requests fail that no rule refuses. Its empty fields match everything. Faults are
// tried in the order in which they were added and the first that fits is taken; Slow adds its delay
// and lets the next ones be tried.
type Fault struct {
	Kind FaultKind `json:"kind"`

	Operation string `json:"operation,omitempty"` // as PutLogEvents
	Region    string `json:"region,omitempty"`
	Group     string `json:"group,omitempty"`
	Stream    string `json:"stream,omitempty"`
	AccessKey string `json:"accessKey,omitempty"` // access key ID

	Probability float64       `json:"probability,omitempty"` // 0 is always
	Seed        uint64        `json:"seed,omitempty"`        // of Probability's dice
	Count       int           `json:"count,omitempty"`       // how many requests it takes; 0 is no end
	For         time.Duration `json:"-"`                     // how long it takes requests, by the Server's clock; 0 is no end

	Delay time.Duration `json:"-"`               // of Slow, in real time
	Text  string        `json:"text,omitempty"`  // of Poison and SmallEvents
	Limit int           `json:"limit,omitempty"` // of SmallEvents, in bytes, the 26 of each event included
}

// faultJSON is a Fault with its durations spelt as 1m30s.
type faultJSON struct {
	*plainFault
	For   string `json:"for,omitempty"`
	Delay string `json:"delay,omitempty"`
}

type plainFault Fault

// MarshalJSON spells durations as Go does.
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{plainFault: (*plainFault)(&f)}
	if f.For != 0 {
		j.For = f.For.String()
	}
	if f.Delay != 0 {
		j.Delay = f.Delay.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON takes what MarshalJSON makes, and refuses unknown members.
func (f *Fault) UnmarshalJSON(b []byte) error {
	j := faultJSON{plainFault: (*plainFault)(f)}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return err
	}
	for text, to := range map[string]*time.Duration{j.For: &f.For, j.Delay: &f.Delay} {
		if text == "" {
			continue
		}
		v, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		*to = v
	}
	return nil
}

func (f *Fault) check() error {
	switch {
	case !slices.Contains(FaultKinds, f.Kind):
		return fmt.Errorf("kind is %q; it must be one of %v", f.Kind, FaultKinds)
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("probability is %v; it must be from 0 to 1", f.Probability)
	case f.Count < 0 || f.For < 0 || f.Delay < 0:
		return fmt.Errorf("count, for and delay must not be negative")
	case f.Kind == Slow && f.Delay == 0:
		return fmt.Errorf("slow needs a delay")
	case f.Kind == Poison && f.Text == "":
		return fmt.Errorf("poison needs a text")
	case f.Kind == SmallEvents && f.Limit <= protocol.EventOverhead:
		return fmt.Errorf("limit is %d; small-events needs one of more than %d bytes", f.Limit, protocol.EventOverhead)
	}
	if f.Operation != "" && f.Operation != protocol.AssumeRole && !slices.Contains(protocol.Operations(), f.Operation) {
		return fmt.Errorf("operation %q is not known here", f.Operation)
	}
	return nil
}

// activeFault is a Fault at work.
type activeFault struct {
	Fault
	id      int64
	until   time.Time // zero: no end
	taken   int
	dice    *rand.Rand
	cleared chan struct{} // closed when the fault is cleared: lets go of what hangs
}

type faults struct {
	mu     sync.Mutex
	lastID int64
	active []*activeFault
}

// ActiveFault is a fault as ListFaults shows it. Taken is how many requests it took.
type ActiveFault struct {
	ID    int64 `json:"id"`
	Fault Fault `json:"fault"`
	Taken int   `json:"taken"`
}

// AddFault sets a fault to work and returns its number. It panics on a fault that makes no sense.
func (s *Server) AddFault(f Fault) (id int64) {
	if err := f.check(); err != nil {
		panic("cwlocal: " + err.Error())
	}
	fs := &s.faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.lastID++
	a := &activeFault{Fault: f, id: fs.lastID, cleared: make(chan struct{}), dice: rand.New(rand.NewPCG(f.Seed, 0))}
	if f.For > 0 {
		a.until = s.now().Add(f.For)
	}
	fs.active = append(fs.active, a)
	return a.id
}

// ListFaults shows the faults that were added and not cleared, also those that are used up.
func (s *Server) ListFaults() []ActiveFault {
	fs := &s.faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	list := []ActiveFault{}
	for _, a := range fs.active {
		list = append(list, ActiveFault{a.id, a.Fault, a.taken})
	}
	return list
}

// ClearFault ends a fault, and all with the number 0. What hangs on it has its connection reset. It
// says how many there were.
func (s *Server) ClearFault(id int64) int {
	fs := &s.faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := len(fs.active)
	fs.active = slices.DeleteFunc(fs.active, func(a *activeFault) bool {
		if id != 0 && a.id != id {
			return false
		}
		close(a.cleared)
		return true
	})
	return n - len(fs.active)
}

// pick finds the fault for a request, or nil. It blocks for the delays of slow ones.
func (fs *faults) pick(c *call, now time.Time, closing <-chan struct{}) *activeFault {
	var delay time.Duration
	f := fs.take(c, now, &delay)
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.r.Context().Done():
		case <-closing:
		}
	}
	return f
}

func (fs *faults) take(c *call, now time.Time, delay *time.Duration) *activeFault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, a := range fs.active {
		if !a.takes(c, now) {
			continue
		}
		a.taken++
		if a.Kind != Slow {
			return a
		}
		*delay += a.Delay
	}
	return nil
}

// takes says whether the fault applies to a request. It throws the dice only if all else fits, so
// that a seed gives the same run for the same requests.
func (a *activeFault) takes(c *call, now time.Time) bool {
	fits := func(want, got string) bool { return want == "" || want == got }
	switch {
	case a.Count > 0 && a.taken >= a.Count,
		!a.until.IsZero() && !now.Before(a.until),
		!fits(a.Operation, c.req.Operation),
		!fits(a.Region, c.req.Auth.Region),
		!fits(a.AccessKey, c.req.Auth.KeyID),
		!fits(a.Group, c.req.Input.Strings["logGroupName"]),
		!fits(a.Stream, c.req.Input.Strings["logStreamName"]),
		(a.Kind == GzipUnsupported || a.Kind == GzipMisread || a.Kind == GzipCrash) && !c.req.Gzip,
		a.Kind == SmallEvents && longest(&c.req.Input) <= a.Limit,
		a.Kind == DataAccepted && c.req.Operation != "PutLogEvents",
		a.Kind == Poison && !contains(&c.req.Input, a.Text):
		return false
	}
	return a.Probability == 0 || a.dice.Float64() < a.Probability
}

func contains(in *protocol.Input, text string) bool {
	return slices.ContainsFunc(in.Events, func(e protocol.InputEvent) bool { return strings.Contains(e.Message, text) })
}

// longest is the size of the largest event, with its overhead.
func longest(in *protocol.Input) int {
	n := 0
	for i := range in.Events {
		n = max(n, in.Events[i].Size())
	}
	return n
}

const aPage = "<html><head><title>%d</title></head><body><h1>%d</h1><p>cwlocal: a proxy's page</p></body></html>\n"

// serveFault answers a request as its fault says, or does not.
func (s *Server) serveFault(c *call, f *activeFault) {
	outcome := "fault:" + string(f.Kind)
	fail := func(status int, code, message string) {
		s.leave(c, outcome, nil)
		c.write(c.req.ErrorResponse(&protocol.Error{Status: status, Code: code, Message: message}))
	}
	switch f.Kind {
	case Throttle:
		fail(400, protocol.ErrThrottled.Code, protocol.ErrThrottled.Message)
	case InternalError:
		fail(500, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.")
	case Unavailable:
		fail(503, "ServiceUnavailableException", "The service cannot complete the request.")
	case Denied:
		action, resource := "logs:"+c.req.Operation, protocol.GroupARN(c.req.Auth.Region, c.req.Input.Strings["logGroupName"])+":log-stream:"+c.req.Input.Strings["logStreamName"]
		if c.req.STS {
			action, resource = "sts:"+c.req.Operation, c.req.Input.Strings["RoleArn"]
		}
		fail(400, "AccessDeniedException", fmt.Sprintf("User: arn:aws:iam::%s:user/%s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
			protocol.AccountID, c.req.Auth.KeyID, action, resource, action))
	case ExpiredToken:
		fail(400, "ExpiredTokenException", "The security token included in the request is expired")
	case UnrecognizedClient:
		fail(400, protocol.ErrUnknownKey.Code, protocol.ErrUnknownKey.Message)
	case GzipUnsupported:
		fail(415, "UnsupportedMediaTypeException", "Content-Encoding is not supported: gzip")
	case GzipMisread:
		fail(400, protocol.ErrNotJSON.Code, protocol.ErrNotJSON.Message)
	case GzipCrash:
		fail(500, "InternalFailure", "'utf-8' codec can't decode byte 0x8b in position 1: invalid start byte")
	case SmallEvents:
		message := f.Text
		if message == "" {
			message = fmt.Sprintf("Log event too large: %d bytes exceeds limit of %d", longest(&c.req.Input), f.Limit)
		}
		fail(400, "InvalidParameterException", message)
	case Poison:
		fail(400, "InvalidParameterException", "A log event is not acceptable.")
	case HTMLOK, HTMLBad:
		status := http.StatusOK
		if f.Kind == HTMLBad {
			status = http.StatusBadRequest
		}
		s.leave(c, outcome, nil)
		c.write(protocol.Response{Status: status, ContentType: "text/html", Body: fmt.Appendf(nil, aPage, status, status)})
	case ResetBefore:
		s.leave(c, outcome, nil)
		c.reset()
	case Hang:
		s.hang(c, f)
		s.leave(c, outcome, nil)
		c.reset()
	case ResetAfter, HangAfter, Truncated, DataAccepted:
		s.serveFaultAfter(c, f, outcome)
	}
}

// serveFaultAfter carries the request out. If it fails by itself, that stays the answer of the kinds
// that have one.
func (s *Server) serveFaultAfter(c *call, f *activeFault, outcome string) {
	resp, own, failed := s.run(c)
	if failed != nil {
		outcome += " after " + own
	}
	switch f.Kind {
	case HangAfter:
		s.hang(c, f)
		fallthrough
	case ResetAfter:
		s.leave(c, outcome, failed)
		c.reset()
	case Truncated:
		s.leave(c, outcome, failed)
		resp.Body = resp.Body[:len(resp.Body)/2]
		c.write(resp)
	case DataAccepted:
		if failed == nil {
			resp = c.req.ErrorResponse(&protocol.Error{Status: 400, Code: "DataAlreadyAcceptedException",
				Message: "The given batch of log events has already been accepted.",
				Extra:   map[string]string{"expectedSequenceToken": protocol.SequenceToken(0)}})
		}
		s.leave(c, outcome, failed)
		c.write(resp)
	}
}

// hang blocks until the client goes, the fault is cleared, or the Server is closed.
func (s *Server) hang(c *call, f *activeFault) {
	s.touch() // that it hangs, and what it stored, is there to be waited for
	select {
	case <-c.r.Context().Done():
	case <-f.cleared:
	case <-s.closing:
	}
}

// reset ends the connection with a TCP reset instead of an answer.
func (c *call) reset() {
	if h, ok := c.w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
				tcp.SetLinger(0)
			}
			conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}
