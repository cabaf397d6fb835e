package events

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// JSON holds the fields of an event's object beside its text (log) and its source. Host,
// ContainerID, ContainerName and ImageName are always in the object. InstanceID and Tag are
// in it if they are not empty, and Attrs if there are any.
//
// No field is cut. If the fields together take more than a quarter of Options.MaxBytes,
// the longest ones are left out.
type JSON struct {
	// Host is the Docker host's name, and InstanceID its EC2 instance.
	Host, InstanceID string
	// ContainerID is the short ID.
	ContainerID, ContainerName, ImageName string
	Tag                                   string
	Attrs                                 map[string]string
}

const (
	jsonHead      = `{"log":`
	jsonPart      = `,"part":`
	jsonContinued = `,"continued":true`
)

// jsonObject makes the JSON objects of one container's events.
type jsonObject struct {
	max   int
	tails [Stderr + 1][]byte // tails has the end of the object after the text, by source.
}

func newJSONObject(j *JSON, limit int) *jsonObject {
	fields := [][]byte{appendMember(nil, "host", j.Host)}
	if j.InstanceID != "" {
		fields = append(fields, appendMember(nil, "instance_id", j.InstanceID))
	}
	fields = append(fields,
		appendMember(nil, "container_id", j.ContainerID),
		appendMember(nil, "container_name", j.ContainerName),
		appendMember(nil, "image_name", j.ImageName),
	)
	if j.Tag != "" {
		fields = append(fields, appendMember(nil, "tag", j.Tag))
	}
	if len(j.Attrs) > 0 {
		var attrs []byte
		for _, key := range slices.Sorted(maps.Keys(j.Attrs)) {
			attrs = appendMember(attrs, key, j.Attrs[key])
		}
		attrs[0] = '{' // replaces the first member's comma
		fields = append(fields, slices.Concat([]byte(`,"attrs":`), attrs, []byte("}")))
	}
	o := &jsonObject{max: limit}
	for src := range o.tails {
		source := appendMember(nil, "source", Source(src).String())
		for {
			o.tails[src] = slices.Concat(source, slices.Concat(fields...), []byte("}"))
			if len(o.tails[src]) <= limit/4 || len(fields) == 0 {
				break
			}
			longest := 0
			for i := range fields {
				if len(fields[i]) > len(fields[longest]) {
					longest = i
				}
			}
			fields = slices.Delete(fields, longest, longest+1)
		}
	}
	return o
}

// object returns the message of l's next part. It moves end back if the escaped text does
// not fit.
func (o *output) object(l *line) []byte {
	text, tail := l.part(), o.json.tails[l.source]
	whole := l.ended && !l.full
	if whole && l.count == 0 {
		if len(bytes.Trim(text, "\n")) == 0 {
			return nil // as for an empty line in plain text
		}
		if v, ok := nested(text); ok && fits(v, o.max-len(jsonHead)-len(tail)) {
			buf := append(l.make(markRoom+len(tail)), jsonHead...)
			buf = append(buf, v...)
			*l.made = append(buf, tail...)
			return *l.made
		}
	}
	part := 0
	room := o.max - len(jsonHead) - len(`""`) - len(tail)
	if l.count > 0 {
		part = l.count + 1
		room -= len(jsonPart) + digits(part)
	}
	n := escapedFit(text, room)
	if n < len(text) || !whole {
		whole = false
		if part == 0 {
			part = 1
			room -= len(jsonPart) + digits(part)
		}
		n = o.divide(text, escapedFit(text, room-len(jsonContinued)))
		l.end = l.out + n
	}
	buf := append(l.make(markRoom+len(tail)), jsonHead...)
	buf = append(buf, '"')
	buf, _ = AppendEscaped(buf, text[:n])
	buf = append(buf, '"')
	if part > 0 {
		buf = append(buf, jsonPart...)
		buf = strconv.AppendInt(buf, int64(part), 10)
	}
	if !whole {
		buf = append(buf, jsonContinued...)
	}
	*l.made = append(buf, tail...)
	return *l.made
}

// nested returns text without the white space around it if that is a JSON object. The
// bytes stay as they are, so that no digit of a number and no second key of the same name
// is lost.
func nested(text []byte) ([]byte, bool) {
	v := bytes.Trim(text, " \t\r\n")
	if len(v) < 2 || v[0] != '{' || v[len(v)-1] != '}' {
		return nil, false
	}
	return v, json.Valid(v)
}

// appendMember appends a comma, the key and the value.
func appendMember(buf []byte, key, value string) []byte {
	buf = append(buf, `,"`...)
	buf, _ = AppendEscaped(buf, []byte(key))
	buf = append(buf, `":"`...)
	buf, _ = AppendEscaped(buf, []byte(value))
	return append(buf, '"')
}
