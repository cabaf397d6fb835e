// Package fault makes the stand-in fail on demand: it holds the faults that users ask for, finds the one
// that a request meets, and makes the response of those that respond.
//
// It knows requests as package protocol reads them. It must not know the account or how responses are
// sent.
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

// The kinds. Those that say "stored" carry the request out and only then fail.
const (
	Throttle           Kind = "throttle"            // ThrottlingException
	InternalError      Kind = "500"                 // HTTP 500, InternalFailure
	Unavailable        Kind = "503"                 // HTTP 503, ServiceUnavailableException
	Denied             Kind = "denied"              // AccessDeniedException
	ExpiredToken       Kind = "expired-token"       // ExpiredTokenException
	UnrecognizedClient Kind = "unrecognized-client" // UnrecognizedClientException
	ResetBefore        Kind = "reset-before"        // the connection is reset, nothing stored
	ResetAfter         Kind = "reset-after"         // stored, then the connection is reset
	Hang               Kind = "hang"                // no answer, nothing stored
	HangAfter          Kind = "hang-after"          // stored, then no answer
	HTMLOK             Kind = "html-200"            // 200 with a web page, nothing stored
	HTMLBad            Kind = "html-400"            // 400 with a web page, nothing stored
	Truncated          Kind = "truncated"           // stored, the answer's JSON cut in half
	DataAccepted       Kind = "data-accepted"       // stored, DataAlreadyAcceptedException
	GzipUnsupported    Kind = "gzip-415"            // compressed bodies get HTTP 415
	GzipMisread        Kind = "gzip-serialization"  // compressed bodies get SerializationException
	Slow               Kind = "slow"                // served as ever, Delay later
	GzipCrash          Kind = "gzip-500"            // compressed bodies get HTTP 500, as from moto's server
	Poison             Kind = "poison"              // InvalidParameterException for a batch with Text in a message
	SmallEvents        Kind = "small-events"        // the limit of an event is Limit; Text, if any, is the error's message
)

// Kinds are all kinds.
var Kinds = []Kind{Throttle, InternalError, Unavailable, Denied, ExpiredToken, UnrecognizedClient, ResetBefore,
	ResetAfter, Hang, HangAfter, HTMLOK, HTMLBad, Truncated, DataAccepted, GzipUnsupported, GzipMisread, GzipCrash, Slow, Poison, SmallEvents}

// A Fault makes requests fail that no rule refuses. Its empty fields match everything. Faults are
// tried in the order in which they were added and the first that fits is taken; Slow adds its delay
// and lets the next ones be tried.
type Fault struct {
	Kind Kind `json:"kind"`

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

// Check returns an error if the fault makes no sense.
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
	case f.Kind == SmallEvents && f.Limit <= protocol.EventOverhead:
		return fmt.Errorf("limit is %d; small-events needs one of more than %d bytes", f.Limit, protocol.EventOverhead)
	}
	if f.Operation != "" && f.Operation != protocol.AssumeRole && !slices.Contains(protocol.Operations(), f.Operation) {
		return fmt.Errorf("operation %q is not known here", f.Operation)
	}
	return nil
}
