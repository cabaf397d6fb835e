// Package naming renders the names of log groups and log streams from templates and facts
// about a container. CloudWatch Logs accepts every name that it returns.
//
// The package is pure: it must not know files, the plugin's own environment, clocks,
// goroutines or the AWS SDK. A template can render only what is in the Container that the
// caller passes. Anyone who may start a container can write a template, so templates are
// not trusted: parsing and executing any template takes bounded time and memory
// (bounds.go).
package naming

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/oneline"
)

// Container holds the facts about a container and its Docker host that templates can
// render.
//
// The Name in Info may begin with Docker's slash. Attrs may be nil. With EnvIsForeign,
// Host is not taken from the container's variable HOSTNAME, but templates can still use
// .Env. Host is needed only if NeedsHost returns true. If it is empty, templates get
// Docker's default, the first 12 characters of the ID. Source matters only for a template
// that Uses("Source").
type Container struct {
	// Info is what dockerd says about the container.
	container.Info
	// Attrs are the labels and variables that the log options labels, labels-regex, env
	// and env-regex select (moby's Info.ExtraAttributes).
	Attrs map[string]string

	// EnvIsForeign says that the container's environment does not decide names.
	EnvIsForeign bool

	// Host is the container's host name according to the engine.
	Host string
	// LoggerHost is the name of the Docker host.
	LoggerHost string
	// InstanceID is the ID of the EC2 instance, and empty on other hosts.
	InstanceID string
	// Region is the region that the logs go to.
	Region string
	// Source is the output that the events come from, stdout or stderr.
	Source string
}

// NeedsHost reports whether the caller must ask the engine for the container's host name.
// dockerd does not give it to log drivers, and most containers do not have it in their
// environment.
func (c *Container) NeedsHost() bool { return c.hostVariable() == "" }

func (c *Container) hostVariable() string {
	if c.EnvIsForeign {
		return ""
	}
	return c.environment()["HOSTNAME"]
}

func (c *Container) environment() map[string]string {
	env := make(map[string]string, len(c.Env))
	for _, kv := range c.Env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return env
}

func (c *Container) name() string { return strings.TrimPrefix(c.Name, "/") }

// command returns the entrypoint and the arguments (moby, daemon/logger/loginfo.go,
// Info.Command).
func (c *Container) command() string {
	return strings.Join(append([]string{c.Entrypoint}, c.Args...), " ")
}

// short returns Docker's short form of an ID: 12 characters, without the digest algorithm
// at the beginning of an image's ID (moby, pkg/stringid, TruncateID; Docker 29.4 applies
// it to {{.ImageID}}).
func short(id string) string {
	if _, hex, ok := strings.Cut(id, ":"); ok {
		id = hex
	}
	return oneline.Cut(id, 12)
}

// groupFields is {{.}} in the template of a group or a stream. It has the fields of
// logspout's CloudWatch adapter, with the same meaning, and some more. It is flat because
// its fields are the template language. It holds only strings and maps of strings, so no
// template can call a method that reads or makes more than it holds.
type groupFields struct {
	Host       string
	Env        map[string]string
	Labels     map[string]string
	Name       string
	ID         string
	LoggerHost string
	InstanceID string
	Region     string

	ShortID    string
	ImageName  string
	ImageID    string // ImageID has 12 characters and no "sha256:", because names have no colon.
	DaemonName string
	Command    string
	Source     string
}

// Lbl returns a label, whose name may contain dots. It fails if the label is missing.
func (f *groupFields) Lbl(name string) (string, error) {
	if v, ok := f.Labels[name]; ok {
		return v, nil
	}
	return "", fmt.Errorf("the container has no label %s", quote(name))
}

func newGroupFields(c *Container) any {
	env := c.environment()
	host := c.hostVariable()
	if host == "" {
		host = c.Host
	}
	if host == "" {
		host = short(c.ID)
	}
	return &groupFields{
		Host:       host,
		Env:        env,
		Labels:     c.Labels,
		Name:       c.name(),
		ID:         c.ID,
		LoggerHost: c.LoggerHost,
		InstanceID: c.InstanceID,
		Region:     c.Region,
		ShortID:    short(c.ID),
		ImageName:  c.ImageName,
		ImageID:    short(c.ImageID),
		DaemonName: c.DaemonName,
		Command:    c.command(),
		Source:     c.Source,
	}
}

// tagFields is {{.}} in Docker's tag template. It is flat because its fields and methods are
// those of moby's logger.Info.
type tagFields struct {
	ID          string // ID has 12 characters.
	FullID      string
	Name        string
	ImageID     string // ImageID has 12 characters, without "sha256:".
	ImageFullID string
	ImageName   string
	DaemonName  string
	Command     string
	Hostname    string // Hostname is the name of the Docker host.

	ContainerID         string
	ContainerName       string // ContainerName begins with the slash.
	ContainerEntrypoint string
	ContainerArgs       []string
	ContainerImageID    string
	ContainerImageName  string
	ContainerEnv        []string
	ContainerLabels     map[string]string
	ContainerCreated    created
	Config              map[string]string
	LogPath             string

	extra map[string]string
}

// ExtraAttributes returns the labels and variables that the log options select. In Docker, its
// argument renames them, but a template can only pass nil: {{.ExtraAttributes nil}}.
func (f *tagFields) ExtraAttributes(func(string) string) map[string]string { return f.extra }

func newTagFields(c *Container) any {
	extra := c.Attrs
	if extra == nil { // {{json}} must render {}, not null
		extra = map[string]string{}
	}
	return &tagFields{
		ID:                  short(c.ID),
		FullID:              c.ID,
		Name:                c.name(),
		ImageID:             short(c.ImageID),
		ImageFullID:         c.ImageID,
		ImageName:           c.ImageName,
		DaemonName:          c.DaemonName,
		Command:             c.command(),
		Hostname:            c.LoggerHost,
		ContainerID:         c.ID,
		ContainerName:       c.Name,
		ContainerEntrypoint: c.Entrypoint,
		ContainerArgs:       c.Args,
		ContainerImageID:    c.ImageID,
		ContainerImageName:  c.ImageName,
		ContainerEnv:        c.Env,
		ContainerLabels:     c.Labels,
		ContainerCreated:    created(c.Created.UTC()),
		Config:              c.Config,
		LogPath:             c.LogPath,
		extra:               extra,
	}
}

// A dialect is the set of fields that a kind of template can use. A name after a field in
// maps is a key.
type dialect struct {
	// fields are the names of fields and methods, in the order of the documentation.
	fields []string
	// data returns the value of {{.}}.
	data func(*Container) any
	// maps are the names of the fields that are maps.
	maps []string
}

var (
	groupDialect = &dialect{fields: fieldsOf(&groupFields{}), data: newGroupFields, maps: mapsOf[groupFields]()}
	tagDialect   = &dialect{fields: fieldsOf(&tagFields{}), data: newTagFields, maps: mapsOf[tagFields]()}
)

// Fields returns the fields and methods of the templates of groups and streams.
func Fields() []string { return slices.Clone(groupDialect.fields) }

// TagFields returns the fields and methods of Docker's tag template.
func TagFields() []string { return slices.Clone(tagDialect.fields) }

func fieldsOf(data any) []string {
	var names []string
	t := reflect.TypeOf(data)
	for field := range t.Elem().Fields() {
		if field.IsExported() {
			names = append(names, field.Name)
		}
	}
	return append(names, methodsOf(t)...)
}

func mapsOf[T any]() []string {
	var names []string
	for field := range reflect.TypeFor[T]().Fields() {
		if field.IsExported() && field.Type.Kind() == reflect.Map {
			names = append(names, field.Name)
		}
	}
	return names
}

func methodsOf(t reflect.Type) []string {
	var names []string
	for method := range t.Methods() {
		names = append(names, method.Name)
	}
	return names
}

// list returns the fields as errors list them: ".Host .Env …".
func (d *dialect) list() string { return "." + strings.Join(d.fields, " .") }
