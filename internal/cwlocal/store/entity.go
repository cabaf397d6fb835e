package store

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// EntityStats counts the accepted batches of a stream that came with one entity. Rejected is the errorType with which
// the entity was rejected; the batches were accepted all the same.
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
	maxAttributeValue   = 512 // of key attributes, too
)

// rejectedEntity says why an entity was rejected.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_RejectedEntityInfo.html
type rejectedEntity struct {
	ErrorType string `json:"errorType"`
}

var (
	keyAttributes = []string{"Type", "ResourceType", "Identifier", "Name", "Environment"}

	// requiredAttributes are the key attributes that each type of entity needs ("How to add related information to
	// telemetry" in the CloudWatch User Guide).
	requiredAttributes = map[string][]string{
		"Service":       {"Name", "Environment"},
		"RemoteService": {"Name"},
		"AWS::Service":  {"Name"},
		"Resource":      {"ResourceType", "Identifier"},
		"AWS::Resource": {"ResourceType", "Identifier"},
	}
)

// reject returns the errorType of an entity that is not valid, and nothing otherwise. An entity that is rejected costs no
// events.
func reject(e *protocol.Entity) string {
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

// validMap checks how many entries there are and how long they are, in characters.
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

// countEntity adds a batch to those of its entity.
func (t *StreamStats) countEntity(e *protocol.Entity, rejected string) {
	if e == nil {
		return
	}
	for i := range t.Entities {
		s := &t.Entities[i]
		if maps.Equal(s.KeyAttributes, e.KeyAttributes) && maps.Equal(s.Attributes, e.Attributes) {
			s.Batches++
			return
		}
	}
	if len(t.Entities) < maxEntities {
		t.Entities = append(t.Entities, EntityStats{Entity: *e, Rejected: rejected, Batches: 1})
	}
}

// maxEntities is how many entities of a stream are counted one by one. Any further ones are left out.
const maxEntities = 100
