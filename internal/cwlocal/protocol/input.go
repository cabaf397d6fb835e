package protocol

import "slices"

// Input is the members of a request by name. A member that is missing or null is in none of
// the maps.
type Input struct {
	Strings  map[string]string
	Longs    map[string]int64
	Booleans map[string]bool
	Lists    map[string][]string
	Maps     map[string]map[string]string

	Events    []InputEvent
	HasEvents bool // HasEvents says that the request has the member logEvents.
	Entity    *Entity
	Replaced  int // Replaced counts strings in which invalid UTF-8 was replaced.
}

// An InputEvent is an event of PutLogEvents whose values have not been checked.
type InputEvent struct {
	Timestamp  int64 // Timestamp is in milliseconds since 1970.
	Message    string
	HasTime    bool
	HasMessage bool

	from, to int // from and to bound the message in the reader's arena.
}

// EventOverhead is how many bytes the service adds to the length of each message.
const EventOverhead = 26

// Size returns the event's size in bytes, as the service counts it.
func (e *InputEvent) Size() int { return len(e.Message) + EventOverhead }

// maxLikelyEvents bounds the memory that is allocated before events are read. PutLogEvents
// accepts no more events than that.
const maxLikelyEvents = 10000

// decodeInput reads a request's body by the types of its members. It overwrites arena, and
// keeps no reference to arena or body.
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
			return serialization("Member '%s' occurs twice", name)
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
	// All messages share one string, which takes one allocation.
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
		// Few events are shorter than 64 bytes.
		in.Events = make([]InputEvent, 0, min(maxLikelyEvents, len(r.b)/64+1))
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
				return serialization("Member 'timestamp' occurs twice")
			}
			if e.HasTime = !r.null(); e.HasTime {
				e.Timestamp, err = r.long()
			}
		case "message":
			if e.HasMessage {
				return serialization("Member 'message' occurs twice")
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
			return serialization("Key '%s' occurs twice", key)
		}
		m[key] = v
		return err
	})
	return m, err
}

// text reads a string, and leaves nothing in the arena.
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
