package store

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// EntityStats counts the accepted batches of a stream that had one entity. Rejected is the
// errorType if the service rejected the entity, which does not reject the batches.
type EntityStats struct {
	protocol.Entity
	Rejected string `json:"rejected,omitempty"`
	Batches  int64  `json:"batches"`
}

// The limits of an entity.
const (
	minKeyAttributes    = 2
	maxKeyAttributes    = 4
	maxKeyAttributeName = 32
	maxAttributes       = 10
	maxAttributeName    = 256
	maxAttributeValue   = 512 // also of key attributes
)

// rejectedEntity reports why an entity was rejected.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_RejectedEntityInfo.html
type rejectedEntity struct {
	ErrorType string `json:"errorType"`
}

var (
	keyAttributes = []string{"Type", "ResourceType", "Identifier", "Name", "Environment"}

	// requiredAttributes are the key attributes that each type of entity requires ("How to
	// add related information to telemetry" in the CloudWatch User Guide).
	requiredAttributes = map[string][]string{
		"Service":       {"Name", "Environment"},
		"RemoteService": {"Name"},
		"AWS::Service":  {"Name"},
		"Resource":      {"ResourceType", "Identifier"},
		"AWS::Resource": {"ResourceType", "Identifier"},
	}
)

// entityError returns the errorType for an invalid entity, and "" for a valid one. Events
// of a rejected entity are accepted all the same.
func entityError(e *protocol.Entity) string {
	if !validMap(e.Attributes, 0, maxAttributes, maxAttributeName) {
		return "InvalidAttributes"
	}
	if !validMap(e.KeyAttributes, minKeyAttributes, maxKeyAttributes, maxKeyAttributeName) {
		return "InvalidKeyAttributes"
	}
	for name := range e.KeyAttributes {
		if !slices.Contains(keyAttributes, name) {
			return "InvalidKeyAttributes"
		}
	}
	typ, ok := e.KeyAttributes["Type"]
	if !ok {
		return "MissingRequiredFields"
	}
	required, ok := requiredAttributes[typ]
	if !ok {
		return "InvalidTypeValue"
	}
	for _, name := range required {
		if _, ok := e.KeyAttributes[name]; !ok {
			return "MissingRequiredFields"
		}
	}
	return ""
}

// validMap checks the number of entries, and the length of their names and values in
// characters.
func validMap(m map[string]string, least, most, longestName int) bool {
	if len(m) < least || len(m) > most {
		return false
	}
	for name, value := range m {
		n, v := utf8.RuneCountInString(name), utf8.RuneCountInString(value)
		if n < 1 || n > longestName || v < 1 || v > maxAttributeValue {
			return false
		}
	}
	return true
}

// countEntity counts a batch with its entity.
func (st *StreamStats) countEntity(e *protocol.Entity, rejected string) {
	for i := range st.Entities {
		known := &st.Entities[i]
		if maps.Equal(known.KeyAttributes, e.KeyAttributes) && maps.Equal(known.Attributes, e.Attributes) {
			known.Batches++
			return
		}
	}
	if len(st.Entities) < maxEntities {
		st.Entities = append(st.Entities, EntityStats{Entity: *e, Rejected: rejected, Batches: 1})
	}
}

// maxEntities is how many entities of a stream are counted. Further ones are not.
const maxEntities = 100
