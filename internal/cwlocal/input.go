package cwlocal

import "slices"

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

// An operation is one call of the API: the members that it takes, by the service's model, and what
// it does. run may lock the Server.
type operation struct {
	members map[string]kind
	run     func(*Server, *call) (any, *apiError)
}

var operations = map[string]operation{
	"PutLogEvents": {members{"logGroupName": aString, "logStreamName": aString, "logEvents": theEvents,
		"sequenceToken": aString, "entity": theEntity}, (*Server).putLogEvents},

	"CreateLogGroup": {members{"logGroupName": aString, "kmsKeyId": aString, "tags": aStringMap,
		"logGroupClass": aString, "deletionProtectionEnabled": aBoolean}, (*Server).createLogGroup},
	"DeleteLogGroup":        {members{"logGroupName": aString}, (*Server).deleteLogGroup},
	"PutRetentionPolicy":    {members{"logGroupName": aString, "retentionInDays": aLong}, (*Server).putRetentionPolicy},
	"DeleteRetentionPolicy": {members{"logGroupName": aString}, (*Server).deleteRetentionPolicy},
	"TagResource":           {members{"resourceArn": aString, "tags": aStringMap}, (*Server).tagResource},
	"UntagResource":         {members{"resourceArn": aString, "tagKeys": aStringList}, (*Server).untagResource},
	"ListTagsForResource":   {members{"resourceArn": aString}, (*Server).listTagsForResource},
	"DescribeLogGroups": {members{"accountIdentifiers": aStringList, "includeLinkedAccounts": aBoolean, "limit": aLong,
		"logGroupClass": aString, "logGroupNamePattern": aString, "logGroupNamePrefix": aString, "nextToken": aString},
		(*Server).describeLogGroups},

	"CreateLogStream": {members{"logGroupName": aString, "logStreamName": aString}, (*Server).createLogStream},
	"DeleteLogStream": {members{"logGroupName": aString, "logStreamName": aString}, (*Server).deleteLogStream},
	"DescribeLogStreams": {members{"descending": aBoolean, "limit": aLong, "logGroupIdentifier": aString, "logGroupName": aString,
		"logStreamNamePrefix": aString, "nextToken": aString, "orderBy": aString}, (*Server).describeLogStreams},

	"GetLogEvents": {members{"endTime": aLong, "limit": aLong, "logGroupIdentifier": aString, "logGroupName": aString,
		"logStreamName": aString, "nextToken": aString, "startFromHead": aBoolean, "startTime": aLong, "unmask": aBoolean},
		(*Server).getLogEvents},
	"FilterLogEvents": {members{"endTime": aLong, "filterPattern": aString, "interleaved": aBoolean, "limit": aLong,
		"logGroupIdentifier": aString, "logGroupName": aString, "logStreamNamePrefix": aString, "logStreamNames": aStringList,
		"nextToken": aString, "startFromHead": aBoolean, "startTime": aLong, "unmask": aBoolean}, (*Server).filterLogEvents},
}

type members = map[string]kind

// input is a request's members. One that is missing, or null, is in none of the maps.
type input struct {
	strings  map[string]string
	longs    map[string]int64
	booleans map[string]bool
	lists    map[string][]string
	maps     map[string]map[string]string

	events    []inputEvent
	hasEvents bool
	entity    *Entity
	replaced  int // strings in which invalid UTF-8 was replaced
}

// inputEvent is an event before it is checked.
type inputEvent struct {
	timestamp           int64
	message             string
	hasTime, hasMessage bool
	from, to            int // of the message in the reader's arena
}

// decodeInput reads a request's body by the types of its members. Of body and arena, which is written over, it keeps
// nothing.
func decodeInput(body []byte, types members, arena *[]byte) (input, *apiError) {
	in := input{strings: map[string]string{}, longs: map[string]int64{}, booleans: map[string]bool{},
		lists: map[string][]string{}, maps: map[string]map[string]string{}}
	r := &reader{b: body, arena: slices.Grow((*arena)[:0], len(body))}
	defer func() { *arena = r.arena }()
	seen := map[string]bool{}
	err := r.object(func(member []byte) *apiError {
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
		return input{}, err
	}
	// One string holds all messages: one allocation, and it lives as long as they do.
	all := string(r.arena)
	for i := range in.events {
		in.events[i].message = all[in.events[i].from:in.events[i].to]
	}
	in.replaced = r.replaced
	return in, nil
}

func (in *input) member(r *reader, name string, k kind) (err *apiError) {
	switch k {
	case aString:
		in.strings[name], err = r.text()
	case aLong:
		in.longs[name], err = r.long()
	case aBoolean:
		in.booleans[name], err = r.boolean()
	case aStringList:
		in.lists[name] = []string{}
		err = r.list(func() *apiError {
			v, err := r.text()
			in.lists[name] = append(in.lists[name], v)
			return err
		})
	case aStringMap:
		in.maps[name], err = r.stringMap()
	case theEvents:
		in.hasEvents = true
		in.events = make([]inputEvent, 0, min(maxBatchEvents, len(r.b)/64+1)) // an event is seldom shorter
		err = r.list(func() *apiError { return in.event(r) })
	case theEntity:
		in.entity, err = r.entity()
	}
	return err
}

func (in *input) event(r *reader) *apiError {
	var e inputEvent
	err := r.object(func(name []byte) (err *apiError) {
		switch string(name) {
		case "timestamp":
			if e.hasTime {
				return serialization("Member 'timestamp' is there twice")
			}
			if e.hasTime = !r.null(); e.hasTime {
				e.timestamp, err = r.long()
			}
		case "message":
			if e.hasMessage {
				return serialization("Member 'message' is there twice")
			}
			if e.hasMessage = !r.null(); e.hasMessage {
				e.from, e.to, err = r.str()
			}
		default:
			return serialization("Unknown member '%s' of an event", name)
		}
		return err
	})
	in.events = append(in.events, e)
	return err
}

func (r *reader) stringMap() (map[string]string, *apiError) {
	m := map[string]string{}
	err := r.object(func(name []byte) *apiError {
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
func (r *reader) text() (string, *apiError) {
	mark := len(r.arena)
	from, to, err := r.str()
	if err != nil {
		return "", err
	}
	s := string(r.arena[from:to])
	r.arena = r.arena[:mark]
	return s, nil
}
