// Package fault makes the stand-in fail on demand. It holds the faults that users add,
// finds the one that applies to a request, and makes the response for the kinds of faults
// that replace one.
//
// It knows requests as package protocol reads them. It must not know the account, or how a
// response is sent.
package fault

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// A Kind is a way to fail.
type Kind string

// The kinds. Those marked "stored" first carry the request out. A fault that rejects a batch
// answers with InvalidParameterException.
const (
	Throttle           Kind = "throttle"            // ThrottlingException
	InternalError      Kind = "500"                 // HTTP 500, InternalFailure
	Unavailable        Kind = "503"                 // HTTP 503, ServiceUnavailableException
	Denied             Kind = "denied"              // AccessDeniedException
	ExpiredToken       Kind = "expired-token"       // ExpiredTokenException
	UnrecognizedClient Kind = "unrecognized-client" // UnrecognizedClientException
	ResetBefore        Kind = "reset-before"        // not stored, the connection is reset
	ResetAfter         Kind = "reset-after"         // stored, the connection is reset
	Hang               Kind = "hang"                // not stored, no response
	HangAfter          Kind = "hang-after"          // stored, no response
	HTMLOK             Kind = "html-200"            // not stored, HTTP 200 with an HTML page
	HTMLBad            Kind = "html-400"            // not stored, HTTP 400 with an HTML page
	Truncated          Kind = "truncated"           // stored, half of the response
	DataAccepted       Kind = "data-accepted"       // stored, DataAlreadyAcceptedException
	GzipUnsupported    Kind = "gzip-415"            // HTTP 415 for compressed bodies
	GzipMisread        Kind = "gzip-serialization"  // SerializationException for compressed bodies
	GzipCrash          Kind = "gzip-500"            // HTTP 500 for compressed bodies, like moto
	Slow               Kind = "slow"                // served normally after Delay
	Poison             Kind = "poison"              // rejects batches with Text in a message
	SmallEvents        Kind = "small-events"        // rejects batches with an event over Limit
	ErrorCode          Kind = "code"                // HTTP 400 with Code, and Text as its message
	Bottleneck         Kind = "bottleneck"          // served one after another, Limit bytes of bodies a second
)

// Kinds are all kinds.
var Kinds = []Kind{Throttle, InternalError, Unavailable, Denied, ExpiredToken, UnrecognizedClient,
	ResetBefore, ResetAfter, Hang, HangAfter, HTMLOK, HTMLBad, Truncated, DataAccepted,
	GzipUnsupported, GzipMisread, GzipCrash, Slow, Poison, SmallEvents, ErrorCode, Bottleneck}

// A Fault makes requests fail that break no rule. The first matching fault applies, in
// the order in which they were added. A Slow or Bottleneck fault only adds a delay, and the
// faults after it are tried too.
//
// A fault applies to requests that match Operation, Region, Group, Stream and AccessKey.
// An empty field matches every request. Probability, Count and For limit how often and
// how long it applies. Delay, Code, Text and Limit belong to single kinds.
//
// The fields are not grouped into structs, because a Fault reads like the flat JSON
// object that the control endpoint takes.
type Fault struct {
	Kind Kind `json:"kind"`

	// Operation is the name of an operation, such as PutLogEvents. If it is empty, the fault
	// applies to all of them except GetCallerIdentity, which does nothing for a log.
	Operation string `json:"operation,omitempty"`
	Region    string `json:"region,omitempty"`
	Group     string `json:"group,omitempty"`
	Stream    string `json:"stream,omitempty"`
	// AccessKey is an access key ID.
	AccessKey string `json:"accessKey,omitempty"`

	// Probability is the chance that the fault applies to a matching request; 0 means
	// always.
	Probability float64 `json:"probability,omitempty"`
	// Seed is the seed of the random numbers for Probability.
	Seed uint64 `json:"seed,omitempty"`
	// Count is the number of requests that the fault applies to; 0 means no limit.
	Count int `json:"count,omitempty"`
	// For is how long the fault applies by the Server's clock; 0 means no limit.
	For time.Duration `json:"-"`

	// Delay is the real time by which Slow delays a request.
	Delay time.Duration `json:"-"`
	// Code is the error code of ErrorCode, such as ThrottlingException.
	Code string `json:"code,omitempty"`
	// Text is what Poison finds in a message, and the error message of SmallEvents and
	// ErrorCode.
	Text string `json:"text,omitempty"`
	// Limit is the largest size of an event for SmallEvents, in bytes (see
	// protocol.InputEvent.Size). For Bottleneck, it is how many bytes of bodies are served in
	// a second, counted after decompression.
	Limit int `json:"limit,omitempty"`
}

// faultJSON is a Fault with durations such as 1m30s.
type faultJSON struct {
	*plainFault
	For   string `json:"for,omitempty"`
	Delay string `json:"delay,omitempty"`
}

type plainFault Fault

// MarshalJSON writes durations in Go's notation.
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

// UnmarshalJSON reads what MarshalJSON writes. It refuses unknown members.
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

// Check returns an error if the fault is invalid.
func (f *Fault) Check() error {
	switch {
	case !slices.Contains(Kinds, f.Kind):
		return fmt.Errorf("kind is %q; it must be one of %v", f.Kind, Kinds)
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("probability is %v; it must be from 0 to 1", f.Probability)
	case f.Count < 0 || f.For < 0 || f.Delay < 0:
		return fmt.Errorf("count, for and delay must not be negative")
	case f.Kind == Slow && f.Delay == 0:
		return fmt.Errorf("slow needs a delay")
	case f.Kind == Poison && f.Text == "":
		return fmt.Errorf("poison needs a text")
	case f.Kind == ErrorCode && f.Code == "":
		return fmt.Errorf("code needs a code")
	case f.Kind == SmallEvents && f.Limit <= protocol.EventOverhead:
		return fmt.Errorf("limit is %d; small-events needs a limit of more than %d bytes", f.Limit, protocol.EventOverhead)
	case f.Kind == Bottleneck && f.Limit <= 0:
		return fmt.Errorf("bottleneck needs a limit")
	case f.Operation != "" && !protocol.IsSTSOperation(f.Operation) && !slices.Contains(protocol.Operations(), f.Operation):
		return fmt.Errorf("unknown operation %q", f.Operation)
	}
	return nil
}
