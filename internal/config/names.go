package config

import (
	"errors"

	"github.com/logspool/logspool/naming"
)

// Names holds the templates of a log group and a log stream.
type Names struct{ Group, Stream Template }

// A Template is the template of a group or a stream, and where it comes from. In the results
// of Load and Settings.Container, its naming.Template is never nil.
type Template struct {
	*naming.Template
	// From says where the template was given, for the log: "log option group", "label
	// logspool.group", "the container's LOGSPOUT_GROUP", "ROUTE option LOGSPOUT_GROUP",
	// "LOG_OPTS option group", "LOGSPOUT_GROUP" or "default".
	From string
}

var (
	defaultGroup  = mustParse(naming.DefaultGroup())
	defaultStream = mustParse(naming.DefaultStream())
	fullID        = mustParse("{{.ID}}")
)

func mustParse(text string) *naming.Template {
	t, err := naming.Parse(text)
	if err != nil {
		panic(err)
	}
	return t
}

// setTemplate parses a template into field. If the template is invalid, it sets field to
// def and returns the error. It does not keep an earlier value, because the user meant a
// different name.
func setTemplate(field *Template, v value, def *naming.Template) error {
	parse := naming.Parse
	if v.tag {
		parse = naming.ParseTag
	}
	t, err := parse(v.text)
	if err != nil {
		t = def
	}
	*field = Template{Template: t, From: v.from}
	return err
}

func isInvalidTemplate(err error) bool {
	_, ok := errors.AsType[*naming.Error](err)
	return ok
}
