package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

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

// setEntityOption reads a log option. In awslogs's spelling it has the fields of Docker's tag template.
func setEntityOption(field **naming.Template, v value) error {
	parse := naming.Parse
	if v.alias {
		parse = naming.ParseTag
	}
	return set(field, v, func(text string) (*naming.Template, error) { return parseEntityTemplate(text, parse) })
}

// setEntitySetting reads a setting. Without it there is no such attribute, so a broken template leaves none.
func setEntitySetting(field **naming.Template, v value) error {
	return set(field, v, func(text string) (*naming.Template, error) { return parseEntityTemplate(text, naming.Parse) })
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

// HasEntity reports whether events may belong to an entity. Attributes alone make none, as in awslogs.
func (c *Container) HasEntity() bool { return c.EntityService != nil || c.EntityEnvironment != nil }

// EntityUses reports whether the entity's templates may use a field, as Template.Uses does.
func (c *Container) EntityUses(field string) bool {
	return c.EntityService != nil && c.EntityService.Uses(field) || c.EntityEnvironment != nil && c.EntityEnvironment.Uses(field)
}

// Entity renders the container's entity: none where service name and environment render nothing. On EC2,
// where of has an InstanceID, it gets the attributes that the CloudWatch agent adds. The error says,
// in one line, which of the two could not be rendered; the entity is without it.
func (c *Container) Entity(of *naming.Container) (e target.Entity, err error) {
	var errs Errors
	for _, t := range []struct {
		what     string
		template *naming.Template
		field    *string
	}{{"entity-service-name", c.EntityService, &e.Service}, {"entity-environment", c.EntityEnvironment, &e.Environment}} {
		if t.template == nil {
			continue
		}
		if *t.field, err = naming.Value(t.template, of); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.what, err))
		}
	}
	if e == (target.Entity{}) {
		return e, errs.orNil()
	}
	attributes := maps.Clone(c.EntityAttributes)
	if attributes == nil {
		attributes = map[string]string{}
	}
	if of.InstanceID != "" {
		addEC2(attributes, of.InstanceID, e.Service != "")
	}
	if len(attributes) > 0 {
		text, _ := json.Marshal(attributes) // strings only, and sorted by key
		e.Attributes = string(text)
	}
	return e, errs.orNil()
}

// addEC2 adds the attributes that the CloudWatch agent adds on EC2 to those of a user
// (aws/amazon-cloudwatch-agent, plugins/processors/awsentity), which come first where both have one or
// where there is no room for more. EC2.AutoScalingGroup is not known here.
func addEC2(attributes map[string]string, instanceID string, named bool) {
	add := [][2]string{{"PlatformType", "AWS::EC2"}, {"EC2.InstanceId", instanceID}}
	if named {
		add = append(add, [2]string{"AWS.ServiceNameSource", "UserConfiguration"})
	}
	for _, a := range add {
		if _, own := attributes[a[0]]; !own && len(attributes) < maxEntityAttributes {
			attributes[a[0]] = a[1]
		}
	}
}
