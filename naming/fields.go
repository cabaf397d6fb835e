// Package naming turns a template and what is known of a container into the names of a log group
// and a log stream that CloudWatch Logs accepts.
//
// The package is pure: it must not know files, the plugin's own environment, clocks, goroutines or
// AWS's SDK. Everything that a template can say comes from the Container that the caller passes.
// Templates come from whoever may start a container, so nothing in them is trusted: whatever a
// template says, parsing and executing it end in bounded time and memory (bounds.go).
package naming

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/container"
)

// Container is what the templates can say of a container and of the Docker host it runs on. The
// fields are as Docker gives them (moby, daemon/logger/loginfo.go).
type Container struct {
	// Info is what dockerd says about the container. Its Name may be with or without Docker's leading slash.
	container.Info
	// Attrs are the labels and variables that the log options labels, labels-regex, env and env-regex
	// choose (moby's Info.ExtraAttributes). Nil is the same as none.
	Attrs map[string]string

	// EnvIsForeign says that the container's environment does not decide names: its variable HOSTNAME
	// does not stand for Host. What a template asks of .Env it is told.
	EnvIsForeign bool

	// Host is the container's host name as the engine says it. It is needed only where NeedsHost
	// says so; empty, the first 12 characters of the ID stand in, which is Docker's default.
	Host string

	LoggerHost string // the Docker host's name
	InstanceID string // EC2's, empty elsewhere
	Region     string // the region that the logs go to

	// Source is the output that the events come from, stdout or stderr. It matters only where a
	// template Uses("Source").
	Source string
}

// NeedsHost reports whether the engine must be asked for the container's host name: Docker does
// not tell it to log drivers, and most containers do not have it in their environment.
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

// command is the entrypoint and the arguments (moby, daemon/logger/loginfo.go, Info.Command).
func (c *Container) command() string {
	return strings.Join(append([]string{c.Entrypoint}, c.Args...), " ")
}

// short is what Docker calls a short ID: 12 characters, without the digest's algorithm that an image's
// ID begins with (moby, pkg/stringid, TruncateID; Docker 29.4 applies it to {{.ImageID}}).
func short(id string) string {
	if _, hex, ok := strings.Cut(id, ":"); ok {
		id = hex
	}
	return id[:min(len(id), 12)]
}

// groupFields is what {{.}} is in the template of a group or a stream: the fields of logspout's
// CloudWatch adapter, with its meaning, and some more. It holds strings and maps of strings only:
// nothing in it has a method that reads or makes more than it holds.
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
	ImageID    string // 12 characters, without "sha256:": no name can hold the colon
	DaemonName string
	Command    string
	Source     string
}

// Lbl returns a label, also one whose name has dots in it, and fails where it is missing.
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

// tagFields is what {{.}} is in Docker's tag template: the fields and methods of moby's logger.Info.
type tagFields struct {
	ID          string // 12 characters
	FullID      string
	Name        string
	ImageID     string // 12 characters, without "sha256:"
	ImageFullID string
	ImageName   string
	DaemonName  string
	Command     string
	Hostname    string // the Docker host's

	ContainerID         string
	ContainerName       string // with the slash
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

// ExtraAttributes returns what the log options choose of the labels and the environment. In Docker its
// argument renames them; a template can only say {{.ExtraAttributes nil}}.
func (f *tagFields) ExtraAttributes(func(string) string) map[string]string { return f.extra }

func newTagFields(c *Container) any {
	extra := c.Attrs
	if extra == nil { // {{json}} shows the difference
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

// A dialect is a set of fields that templates are written against.
type dialect struct {
	fields []string // fields and methods, as documented
	data   func(*Container) any
	// maps are the fields that are maps. What follows one of them behind a dot is a key.
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

// list returns the fields as an error says them: ".Host .Env …".
func (d *dialect) list() string { return "." + strings.Join(d.fields, " .") }
