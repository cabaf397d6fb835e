package uploader

import (
	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/target"
)

// appendEntity appends the entity as a member of PutLogEvents' body. The API wants two key attributes at least, one of them
// the type; an entity that lacks one is CloudWatch's to reject, which costs no events.
func appendEntity(body []byte, e target.Entity) []byte {
	if e == (target.Entity{}) {
		return body
	}
	body = append(body, `"entity":{"keyAttributes":{"Type":"Service"`...)
	for _, a := range []struct{ name, value string }{{"Name", e.Service}, {"Environment", e.Environment}} {
		if a.value != "" {
			body = append(body, `,"`+a.name+`":`...)
			body = appendString(body, a.value)
		}
	}
	body = append(body, '}')
	if e.Attributes != "" {
		body = append(append(body, `,"attributes":`...), e.Attributes...)
	}
	return append(body, `},`...)
}

// appendString appends s as a JSON string.
func appendString(body []byte, s string) []byte {
	body, _ = events.AppendEscaped(append(body, '"'), []byte(s))
	return append(body, '"')
}
