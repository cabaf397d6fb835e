// Package config turns what users write, the plugin's environment, the ROUTE URL and the log options
// of a container, into typed settings. Names, defaults, meaning and checks of a setting stand in one
// row of a table (settings.go, options.go), and every bad value gets one line that says which
// setting it is, what it was and what is allowed.
//
// The package must not know files, clocks, goroutines or AWS, and does not read the environment
// itself: what it returns depends on nothing but its arguments.
package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/logspool/logspool/naming"
)

// Settings is the plugin's configuration. It is read only once it is loaded.
type Settings struct {
	// Group and Stream name what no log option and no container names.
	Group, Stream Template
	// Region is ROUTE's, else AWS_REGION's; empty: look it up (the SDK's configuration, then EC2).
	Region string
	// Delay is the time between flushes.
	Delay time.Duration
	// NoEC2 forbids asking the EC2 metadata service.
	NoEC2 bool
	// Debug asks for a debug-level log.
	Debug bool
	// Gzip compresses request bodies.
	Gzip bool
	// ContainerEnv lets a container's environment name its group and stream, and ask to be ignored.
	ContainerEnv bool

	// SpoolMaxSize is how many undelivered bytes of one container are kept, never more than SpoolTotalSize unless that is
	// unknown.
	SpoolMaxSize   int64
	SpoolTotalSize int64         // bytes of all spools together
	SpoolFull      FullPolicy    // what gives way when a spool is full
	SpoolSync      time.Duration // time between fsyncs; 0: none

	// HistorySize is how many delivered bytes of one container are kept for docker logs, never more
	// than SpoolTotalSize unless that is unknown; 0: none.
	HistorySize int64
	// HistoryAge is how long the history of a container that has stopped is kept.
	HistoryAge time.Duration

	// Unknown says which of the bounds have a bad value. What the setting says then is to be had on top of what is there:
	// nothing is deleted for a bound that nobody knows.
	Unknown struct{ SpoolMaxSize, SpoolTotalSize, HistorySize bool }

	// NewGroup is what groups get that the driver makes, where no log option says otherwise.
	NewGroup NewGroup

	PluginSocket string // absolute path of the socket to listen on
	StateDir     string // absolute path of the directory for spools and attachment records

	// Warnings is what the plugin's log should say: templates that are broken and have been
	// replaced by the default name. One line each.
	Warnings []string

	awsRegion string // AWS_REGION's, which is what auto means first
}

// A Template is the template of a group or a stream. It is never nil: a broken one is replaced by the
// default.
type Template struct {
	*naming.Template
	// From says where the template was given, for the log: "log option group", "the container's
	// LOGSPOUT_GROUP", "ROUTE option LOGSPOUT_GROUP", "LOGSPOUT_GROUP" or "default".
	From string
}

// FullPolicy says what gives way when a spool is full.
type FullPolicy string

// The policies. None blocks: a FIFO that is not read hangs docker stop.
const (
	DropOldest FullPolicy = "drop-oldest"
	DropNewest FullPolicy = "drop-newest"
)

// Load reads the settings from an environment, entries KEY=value as os.Environ returns them, the
// last one of a name counting. An empty value is the same as none, because docker plugin set can set
// a variable and not unset it. Variables that are not in SettingDocs are not looked at.
//
// If there are bad values, the error is an Errors with one for each, and the settings are usable all
// the same, with the defaults in place of the bad ones: containers that are already attached go on. Where a default could
// delete what was meant to be kept, what cannot stands in.
func Load(environ []string) (*Settings, error) {
	s := &Settings{}
	for _, row := range settings {
		if row.set != nil && row.def != "" {
			// The defaults go through the same parsers, and a test checks that none is refused.
			_ = row.set(s, value{text: row.def, from: fromDefault})
		}
	}
	env := lookup(environ)
	var errs Errors
	for _, row := range settings {
		if row.set != nil {
			errs = append(errs, s.apply(row, row.name, env[row.name])...)
		}
	}
	// The options of ROUTE take precedence over the variables of the same name.
	route, routeErrs := parseRoute(env["ROUTE"])
	errs = append(errs, routeErrs...)
	for _, o := range route.options {
		errs = append(errs, s.apply(*o.row, "ROUTE option "+o.row.name, o.text)...)
	}
	if s.Region = route.region; s.Region == "" {
		s.Region = s.awsRegion
	}
	contradicted := false
	for _, c := range []struct {
		name    string
		size    int64
		unknown *bool
	}{{"SPOOL_MAX_SIZE", s.SpoolMaxSize, &s.Unknown.SpoolMaxSize}, {"HISTORY_SIZE", s.HistorySize, &s.Unknown.HistorySize}} {
		if err := s.checkTotal(c.size); err != nil && strings.TrimSpace(env[c.name]) != "" && !*c.unknown {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
			*c.unknown, contradicted = true, true
		}
	}
	if contradicted { // which of them is wrong nobody can tell
		s.SpoolTotalSize = max(s.SpoolTotalSize, s.SpoolMaxSize, s.HistorySize)
		s.Unknown.SpoolTotalSize = true
	}
	s.SpoolMaxSize, s.HistorySize = min(s.SpoolMaxSize, s.largest()), min(s.HistorySize, s.largest())
	return s, errs.orNil()
}

// apply sets one setting from a text, where there is one.
func (s *Settings) apply(row setting, from, text string) Errors {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	err := row.set(s, value{text: text, from: from})
	if err == nil {
		return nil
	}
	if isBrokenTemplate(err) {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %v; the default name is used", from, err))
		return nil
	}
	if row.bad != nil {
		row.bad(s)
	}
	return Errors{fmt.Errorf("%s: %w", from, err)}
}

// largest is how large one spool or history may be.
func (s *Settings) largest() int64 {
	if s.Unknown.SpoolTotalSize {
		return unlimited
	}
	return s.SpoolTotalSize
}

// checkTotal says that a size is more than all spools together may have.
func (s *Settings) checkTotal(size int64) error {
	if size <= s.largest() {
		return nil
	}
	return fmt.Errorf("%s is more than SPOOL_TOTAL_SIZE, %s", units.BytesSize(float64(size)), units.BytesSize(float64(s.SpoolTotalSize)))
}

// within returns a size, or as much as it may be, with the error of checkTotal.
func (s *Settings) within(size int64) (int64, error) {
	return min(size, s.largest()), s.checkTotal(size)
}

// lookup returns the variables of an environment.
func lookup(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return env
}

func isBrokenTemplate(err error) bool {
	_, ok := errors.AsType[*naming.Error](err)
	return ok
}

// Errors are the bad values of an environment or of a container's log options.
type Errors []error

// maxListed is how many errors one line tells of: dockerd stops reading the plugin's output at a
// line of 64 KiB.
const maxListed = 5

// Error is all of it in one line, for the user of docker run.
func (e Errors) Error() string {
	var b strings.Builder
	b.WriteString("logspool: ")
	for i, err := range e[:min(len(e), maxListed)] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	if n := len(e) - maxListed; n > 0 {
		fmt.Fprintf(&b, "; and %d more", n)
	}
	return b.String()
}

// Unwrap returns the single errors, one line each.
func (e Errors) Unwrap() []error { return e }

func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Doc describes one setting or log option, for config.json and the tables of the documentation,
// which tests hold to be the same as the code.
type Doc struct {
	Name    string
	Alias   string // the other spelling of a log option, awslogs's
	Default string // as text; empty: none, or the setting of the same meaning for a log option
	Doc     string
}
