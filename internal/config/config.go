// Package config turns what users write, the plugin's environment, the ROUTE URL and the log options
// of a container, into typed settings. Names, defaults, meaning and checks of a setting are in one
// row of a table (settings.go, options.go), and every bad value gets one line that says which
// setting it is, what it was and what is allowed.
//
// An invalid setting stops neither the plugin nor a container (problem.go).
//
// The package must not know files, clocks, goroutines or AWS, and does not read the environment
// itself: what it returns depends on nothing but its arguments.
package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/logspool/logspool/internal/target"
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
	SpoolFull      FullPolicy    // which lines are dropped when a spool is full
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
	NewGroup target.NewGroup

	// The entity that events belong to, where no log option says otherwise (entity.go). Nil: not given.
	EntityService, EntityEnvironment *naming.Template
	EntityAttributes                 map[string]string // shared: nobody may change it

	PluginSocket string // absolute path of the socket to listen on
	StateDir     string // absolute path of the directory for spools and attachment records

	awsRegion        string // what auto means first: AWS_REGION's, else AWS_DEFAULT_REGION's
	awsDefaultRegion string
	allowGroups      *regexp.Regexp // what the name of a log group must match; nil: anything
	hold             holds
}

// A Template is the template of a group or a stream. It is never nil: a broken one is replaced by the
// default.
type Template struct {
	*naming.Template
	// From says where the template was given, for the log: "log option group", "the container's
	// LOGSPOUT_GROUP", "ROUTE option LOGSPOUT_GROUP", "LOGSPOUT_GROUP" or "default".
	From string
}

// FullPolicy says which lines are dropped when a spool is full.
type FullPolicy string

// The policies. None blocks: a FIFO that is not read hangs docker stop.
const (
	DropOldest FullPolicy = "drop-oldest"
	DropNewest FullPolicy = "drop-newest"
)

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

// Errors are the bad values of a container's log options.
type Errors []error

// maxListed is how many errors one line lists: dockerd stops reading the plugin's output at a
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
