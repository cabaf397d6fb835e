package protocol

// An Entity describes what the events of a request belong to.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_Entity.html
type Entity struct {
	KeyAttributes map[string]string `json:"keyAttributes"`
	Attributes    map[string]string `json:"attributes,omitempty"`
}

// entity reads an entity.
func (r *reader) entity() (*Entity, *Error) {
	e := &Entity{}
	seen := map[string]bool{}
	err := r.object(func(member []byte) (err *Error) {
		name := string(member)
		if seen[name] {
			return serialization("Member '%s' occurs twice", name)
		}
		seen[name] = true
		if r.null() {
			return nil
		}
		switch name {
		case "keyAttributes":
			e.KeyAttributes, err = r.stringMap()
		case "attributes":
			e.Attributes, err = r.stringMap()
		default:
			return serialization("Unknown member '%s' of an entity", name)
		}
		return err
	})
	return e, err
}
