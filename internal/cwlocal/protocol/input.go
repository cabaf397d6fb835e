package protocol

import (
	"maps"
	"slices"
)

// kind is the type of a member of a request.
type kind int

const (
	aString kind = iota
	aLong
	aBoolean
	aStringList
	aStringMap
	theEvents // PutLogEvents' own
	theEntity // PutLogEvents' own
)

type members = map[string]kind

// operations are the operations of CloudWatch Logs with the members that each takes, by the service's
// model.
var operations = map[string]members{
	"PutLogEvents": {"logGroupName": aString, "logStreamName": aString, "logEvents": theEvents,
		"sequenceToken": aString, "entity": theEntity},

	"CreateLogGroup": {"logGroupName": aString, "kmsKeyId": aString, "tags": aStringMap,
		"logGroupClass": aString, "deletionProtectionEnabled": aBoolean},
	"DeleteLogGroup":        {"logGroupName": aString},
	"PutRetentionPolicy":    {"logGroupName": aString, "retentionInDays": aLong},
	"DeleteRetentionPolicy": {"logGroupName": aString},
	"TagResource":           {"resourceArn": aString, "tags": aStringMap},
	"UntagResource":         {"resourceArn": aString, "tagKeys": aStringList},
	"ListTagsForResource":   {"resourceArn": aString},
	"DescribeLogGroups": {"accountIdentifiers": aStringList, "includeLinkedAccounts": aBoolean, "limit": aLong,
		"logGroupClass": aString, "logGroupNamePattern": aString, "logGroupNamePrefix": aString, "nextToken": aString},

	"CreateLogStream": {"logGroupName": aString, "logStreamName": aString},
	"DeleteLogStream": {"logGroupName": aString, "logStreamName": aString},
	"DescribeLogStreams": {"descending": aBoolean, "limit": aLong, "logGroupIdentifier": aString, "logGroupName": aString,
		"logStreamNamePrefix": aString, "nextToken": aString, "orderBy": aString},

	"GetLogEvents": {"endTime": aLong, "limit": aLong, "logGroupIdentifier": aString, "logGroupName": aString,
		"logStreamName": aString, "nextToken": aString, "startFromHead": aBoolean, "startTime": aLong, "unmask": aBoolean},
	"FilterLogEvents": {"endTime": aLong, "filterPattern": aString, "interleaved": aBoolean, "limit": aLong,
		"logGroupIdentifier": aString, "logGroupName": aString, "logStreamNamePrefix": aString, "logStreamNames": aStringList,
		"nextToken": aString, "startFromHead": aBoolean, "startTime": aLong, "unmask": aBoolean},
}

// Operations lists the operations of CloudWatch Logs that the stand-in knows, in no order.
func Operations() []string { return slices.Collect(maps.Keys(operations)) }

// Input is a request's members. One that is missing, or null, is in none of the maps.
type Input struct {
	Strings  map[string]string
	Longs    map[string]int64
	Booleans map[string]bool
	Lists    map[string][]string
	Maps     map[string]map[string]string

	Events    []InputEvent
	HasEvents bool
	Entity    *Entity
	Replaced  int // strings in which invalid UTF-8 was replaced
}

// An InputEvent is an event of PutLogEvents before it is checked.
type InputEvent struct {
	Timestamp           int64
	Message             string
	HasTime, HasMessage bool

	from, to int // of the message in the reader's arena
}

// EventOverhead is what the service adds to the length of each message, in bytes.
const EventOverhead = 26

// Size returns the event's size as the service counts it.
func (e *InputEvent) Size() int { return len(e.Message) + EventOverhead }

// decodeInput reads a request's body by the types of its members. Of body and arena, which is written over, it keeps
// nothing.
func decodeInput(body []byte, types members, arena *[]byte) (Input, *Error) {
	in := Input{Strings: map[string]string{}, Longs: map[string]int64{}, Booleans: map[string]bool{},
		Lists: map[string][]string{}, Maps: map[string]map[string]string{}}
	r := &reader{b: body, arena: slices.Grow((*arena)[:0], len(body))}
	defer func() { *arena = r.arena }()
	seen := map[string]bool{}
	err := r.object(func(member []byte) *Error {
		name := string(member)
		k, known := types[name]
		switch {
		case !known:
			return serialization("Unknown member '%s'", name)
		case seen[name]:
			return serialization("Member '%s' is there twice", name)
		}
		seen[name] = true
		if r.null() {
			return nil
		}
		return in.member(r, name, k)
	})
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return Input{}, err
	}
	// One string holds all messages: one allocation, and it lives as long as they do.
	all := string(r.arena)
	for i := range in.Events {
		in.Events[i].Message = all[in.Events[i].from:in.Events[i].to]
	}
	in.Replaced = r.replaced
	return in, nil
}

func (in *Input) member(r *reader, name string, k kind) (err *Error) {
	switch k {
	case aString:
		in.Strings[name], err = r.text()
	case aLong:
		in.Longs[name], err = r.long()
	case aBoolean:
		in.Booleans[name], err = r.boolean()
	case aStringList:
		in.Lists[name] = []string{}
		err = r.list(func() *Error {
			v, err := r.text()
			in.Lists[name] = append(in.Lists[name], v)
			return err
		})
	case aStringMap:
		in.Maps[name], err = r.stringMap()
	case theEvents:
		in.HasEvents = true
		in.Events = make([]InputEvent, 0, min(10000, len(r.b)/64+1)) // an event is seldom shorter
		err = r.list(func() *Error { return in.event(r) })
	case theEntity:
		in.Entity, err = r.entity()
	}
	return err
}

func (in *Input) event(r *reader) *Error {
	var e InputEvent
	err := r.object(func(name []byte) (err *Error) {
		switch string(name) {
		case "timestamp":
			if e.HasTime {
				return serialization("Member 'timestamp' is there twice")
			}
			if e.HasTime = !r.null(); e.HasTime {
				e.Timestamp, err = r.long()
			}
		case "message":
			if e.HasMessage {
				return serialization("Member 'message' is there twice")
			}
			if e.HasMessage = !r.null(); e.HasMessage {
				e.from, e.to, err = r.str()
			}
		default:
			return serialization("Unknown member '%s' of an event", name)
		}
		return err
	})
	in.Events = append(in.Events, e)
	return err
}

func (r *reader) stringMap() (map[string]string, *Error) {
	m := map[string]string{}
	err := r.object(func(name []byte) *Error {
		key := string(name)
		v, err := r.text()
		if _, twice := m[key]; twice {
			return serialization("Key '%s' is there twice", key)
		}
		m[key] = v
		return err
	})
	return m, err
}

// text takes a string and leaves nothing in the arena.
func (r *reader) text() (string, *Error) {
	mark := len(r.arena)
	from, to, err := r.str()
	if err != nil {
		return "", err
	}
	s := string(r.arena[from:to])
	r.arena = r.arena[:mark]
	return s, nil
}
