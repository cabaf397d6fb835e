package uploader

// Entity is a service that log events belong to, as CloudWatch's "Explore related" knows it. It is comparable: it is
// part of a target's identity.
type Entity struct {
	Service     string // the key attribute Name
	Environment string
	// Attributes is a JSON object of strings with at most ten further attributes, its keys in order; empty: none.
	Attributes string
}

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
		body = append(append(body, `,"attributes":`...), e.Attributes...)
	}
	return append(body, `},`...)
}

// appendString appends s as a JSON string.
func appendString(body []byte, s string) []byte {
	body, _ = appendEscaped(append(body, '"'), []byte(s))
	return append(body, '"')
}
