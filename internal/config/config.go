// Package config turns what users write into typed settings: the plugin's environment, the
// ROUTE URL, LOG_OPTS, and a container's log options and labels. Each setting has one row in a
// table (settings.go, options.go) with its name, default, meaning and check. Each invalid value
// gets one line that names the setting, the value and what is allowed.
//
// An invalid setting stops neither the plugin nor a container (problem.go).
//
// The package must not know files, clocks, goroutines or AWS. It does not read the
// environment itself: its results depend only on its arguments.
package config

import (
	"regexp"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// Settings is the plugin's configuration. Load fills it in, and nothing changes it later.
type Settings struct {
	// Names applies if neither a log option nor the container's environment sets a name.
	Names
	RegionSettings
	// Delay is the time between flushes.
	Delay time.Duration
	// Debug says that the plugin logs at debug level.
	Debug bool
	// Gzip says that request bodies are compressed.
	Gzip bool
	// ContainerEnv says that a container's environment may set its group and stream, and may
	// request that the container be ignored.
	ContainerEnv bool
	// ContainerLabels says that a container's labels may set some of its options.
	ContainerLabels bool
	SpoolSettings
	// NewGroup applies to the groups that the plugin creates, if no log option sets the same.
	NewGroup target.NewGroup
	// EntityTemplates applies if no log option sets the same.
	EntityTemplates
	StatusSettings
	MetricsSettings
	Paths

	// allowGroups must match the whole name of a log group; nil allows every name.
	allowGroups *regexp.Regexp
	// sources says where the values of settings were given, by the names of the settings.
	sources map[string]string
	// logOpts are the options in LOG_OPTS that have no setting with the same meaning. The
	// others have set their settings.
	logOpts givenOptions
	// logOptsGroup is the option group in LOG_OPTS if it set Group.
	logOptsGroup givenOption
	hold         holds
}

// Paths says where the plugin keeps its files. Both paths are absolute.
type Paths struct {
	// PluginSocket is the socket to listen on.
	PluginSocket string
	// StateDir is the directory for spools and attachment records.
	StateDir string
}

// lookup returns the variables of an environment. Of two entries for one variable, the last
// one counts.
func lookup(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return env
}

// Doc describes one setting or log option. Tests compare config.json and the tables of
// the documentation with it.
//
// Default is also empty for a log option whose default is a setting with the same
// meaning.
type Doc struct {
	Name string
	// Alias is awslogs's spelling of a log option, and empty if there is none.
	Alias string
	// Default is the default as text, and empty if there is none.
	Default string
	Doc     string
	// Label says that a container's label can set a log option.
	Label bool
}
