package uploader

import "strings"

// Entity is a service that log events belong to, as CloudWatch's "Explore related" knows it. It is comparable: it is
// part of a target's identity.
type Entity struct {
	Service     string // the key attribute Name
	Environment string
	// Attributes are further attributes as "k=v,k=v". Equal attributes must be spelled in the same order.
	Attributes string
}

// maxEntityAttributes is how many attributes CloudWatch takes (API reference, Entity).
const maxEntityAttributes = 10

// appendTo appends the entity as a member of PutLogEvents' body. The API wants two key attributes at least, one of them
// the type; an entity that lacks one is CloudWatch's to reject, which costs no events.
func (e Entity) appendTo(body []byte) []byte {
	if e == (Entity{}) {
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
		body = e.appendAttributes(body)
	}
	return append(body, `},`...)
}

func (e Entity) appendAttributes(body []byte) []byte {
	body = append(body, `,"attributes":{`...)
	n := 0
	for pair := range strings.SplitSeq(e.Attributes, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" || value == "" || n == maxEntityAttributes {
			continue
		}
		if n++; n > 1 {
			body = append(body, ',')
		}
		body = append(appendString(body, name), ':')
		body = appendString(body, value)
	}
	return append(body, '}')
}

// appendString appends s as a JSON string.
func appendString(body []byte, s string) []byte {
	body, _ = appendEscaped(append(body, '"'), []byte(s))
	return append(body, '"')
}
