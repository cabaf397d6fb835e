package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

// EntityTemplates describes the entity that events belong to, which CloudWatch shows under
// "Explore related".
type EntityTemplates struct {
	// EntityService and EntityEnvironment are nil if they are not given.
	EntityService, EntityEnvironment *naming.Template
	// EntityAttributes is shared, and must not be changed.
	EntityAttributes map[string]string
}

// The limits of CloudWatch Logs (API reference, Entity).
const (
	maxEntityAttributes = 10
	maxEntityKey        = 256
	maxEntityValue      = 512
)

// parseEntityTemplate parses the template of a service name or of an environment.
func parseEntityTemplate(text string, parse func(string) (*naming.Template, error)) (*naming.Template, error) {
	t, err := parse(text)
	if err == nil && t.Uses("Source") {
		return nil, fmt.Errorf("%s uses .Source: an entity is the same for stdout and stderr, use another field", shown(text))
	}
	return t, err
}

// setEntityTemplate reads a log option or a setting. In awslogs's spelling, the template has
// the fields of Docker's tag template. An invalid template leaves the field as it was.
func setEntityTemplate(field **naming.Template, v value) error {
	parse := naming.Parse
	if v.alias {
		parse = naming.ParseTag
	}
	return set(field, v, func(text string) (*naming.Template, error) { return parseEntityTemplate(text, parse) })
}

func parseEntityAttributes(text string) (map[string]string, error) {
	attributes, err := parsePairs(text, checkEntityAttribute)
	if err == nil && len(attributes) > maxEntityAttributes {
		return nil, fmt.Errorf("%s has %d attributes: use at most %d", shown(text), len(attributes), maxEntityAttributes)
	}
	return attributes, err
}

func checkEntityAttribute(key, val string) error {
	switch {
	case !utf8.ValidString(key + val):
		return fmt.Errorf("the attribute %s is not UTF-8", shown(key+"="+val))
	case utf8.RuneCountInString(key) > maxEntityKey:
		return fmt.Errorf("the key %s has %d characters: use at most %d", shown(key), utf8.RuneCountInString(key), maxEntityKey)
	case val == "":
		return fmt.Errorf("the key %s has no value: use 1 to %d characters", shown(key), maxEntityValue)
	case utf8.RuneCountInString(val) > maxEntityValue:
		return fmt.Errorf("the value of the key %s has %d characters: use at most %d", shown(key), utf8.RuneCountInString(val), maxEntityValue)
	}
	return nil
}

// HasEntity reports whether events may belong to an entity. As in awslogs, attributes alone do
// not define one.
func (e *EntityTemplates) HasEntity() bool {
	return e.EntityService != nil || e.EntityEnvironment != nil
}

// EntityUses reports whether the entity's templates may use a field, as Template.Uses does.
func (e *EntityTemplates) EntityUses(field string) bool {
	return e.EntityService != nil && e.EntityService.Uses(field) || e.EntityEnvironment != nil && e.EntityEnvironment.Uses(field)
}

// Entity renders a container's entity. It is the zero value if service name and
// environment render as nothing. If of has an InstanceID, the entity gets the attributes
// that the CloudWatch agent adds on EC2. If one of the two templates fails, the entity
// lacks it, and the error says why in one line.
func (e *EntityTemplates) Entity(of *naming.Container) (entity target.Entity, err error) {
	var errs Errors
	for _, t := range []struct {
		what     string
		template *naming.Template
		field    *string
	}{
		{"entity-service-name", e.EntityService, &entity.Service},
		{"entity-environment", e.EntityEnvironment, &entity.Environment},
	} {
		if t.template == nil {
			continue
		}
		if *t.field, err = naming.Value(t.template, of); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.what, err))
		}
	}
	if entity == (target.Entity{}) {
		return entity, errs.orNil()
	}
	attributes := maps.Clone(e.EntityAttributes)
	if attributes == nil {
		attributes = map[string]string{}
	}
	if of.InstanceID != "" {
		addEC2(attributes, of.InstanceID, entity.Service != "")
	}
	if len(attributes) > 0 {
		text, _ := json.Marshal(attributes) // strings only, and sorted by key
		entity.Attributes = string(text)
	}
	return entity, errs.orNil()
}

// addEC2 adds the attributes that the CloudWatch agent adds on EC2
// (aws/amazon-cloudwatch-agent, plugins/processors/awsentity), except
// EC2.AutoScalingGroup, which is not known here. The user's own attributes take
// precedence, also if there is no room for both.
func addEC2(attributes map[string]string, instanceID string, hasService bool) {
	add := [][2]string{{"PlatformType", "AWS::EC2"}, {"EC2.InstanceId", instanceID}}
	if hasService {
		add = append(add, [2]string{"AWS.ServiceNameSource", "UserConfiguration"})
	}
	for _, a := range add {
		if _, own := attributes[a[0]]; !own && len(attributes) < maxEntityAttributes {
			attributes[a[0]] = a[1]
		}
	}
}
