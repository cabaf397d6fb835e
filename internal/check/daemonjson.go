package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/installed"
)

// builtInDrivers are dockerd's own log drivers (moby, daemon/logdrivers_linux.go). Every other
// name is a plugin's.
var builtInDrivers = []string{"none", "local", "json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "gcplogs", "logentries", "etwlogs"}

// daemonLogging is what dockerd's configuration file and flags say about logging.
type daemonLogging struct {
	from    string // from is the file, or the flags.
	driver  string
	options []string // options are the names of log-opts. Their values may be secrets.
}

// checkDaemonJSON looks for a configuration with which dockerd does not start, or containers
// cannot be started, while the plugin is missing or disabled.
func (c *checker) checkDaemonJSON(ctx context.Context) []Result {
	const name = "daemon.json"
	if c.engineIsRemote() {
		return []Result{unknown(name, "the engine is on another host")}
	}
	d, err := c.daemonLogging()
	var invalid *json.SyntaxError
	switch {
	case errors.As(err, &invalid):
		return []Result{bad(name, "correct the file: dockerd does not start with it", "%v", err)}
	case err != nil:
		return []Result{unknown(name, "%v", err)}
	case d.driver == "" || slices.Contains(builtInDrivers, d.driver):
		return []Result{good(name, "%s has no log-opts for a plugin", d.from)}
	}
	var results []Result
	if len(d.options) > 0 {
		results = append(results, bad(name,
			"remove log-opts, restart dockerd, and give the options to the plugin instead: "+c.set(`LOG_OPTS='{"OPTION":"VALUE"}'`),
			"%s has log-opts (%s) for the plugin %s: dockerd does not start while the plugin is missing or disabled",
			d.from, strings.Join(d.options, " "), d.driver))
	}
	ours := c.Plugin != nil && installed.Reference(c.Plugin.Name) == installed.Reference(d.driver)
	if ours { // the check of the plugin says whether it is enabled
		return orGood(results, name, "%s has the log-driver %s, and no log-opts", d.from, d.driver)
	}
	switch enabled, err := installed.Enabled(ctx, d.driver); {
	case err != nil && !strings.Contains(strings.ToLower(err.Error()), "no such plugin"):
		results = append(results, unknown(name, "%s has the log-driver %s, and its state is not known: %v", d.from, d.driver, err))
	case err != nil:
		results = append(results, bad(name, "install the plugin, or name another log-driver",
			"%s has the log-driver %s, which is not installed: containers cannot be started", d.from, d.driver))
	case !enabled:
		results = append(results, bad(name, "docker plugin enable --timeout 0 "+d.driver,
			"%s has the log-driver %s, which is disabled: containers cannot be started", d.from, d.driver))
	}
	return orGood(results, name, "%s has the log-driver %s, and no log-opts", d.from, d.driver)
}

// daemonLogging reads dockerd's configuration. A flag and the file cannot both set the same
// (moby, cmd/dockerd, findConfigurationConflicts).
func (c *checker) daemonLogging() (daemonLogging, error) {
	p, _ := c.dockerd()
	file := c.host.daemonJSON
	if named := p.flags("config-file"); len(named) > 0 {
		file = named[len(named)-1]
	}
	d := daemonLogging{from: file}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.from = "no file " + file + " exists, and dockerd"
	case err != nil:
		return d, err
	default:
		var config struct {
			Driver  string         `json:"log-driver"`
			Options map[string]any `json:"log-opts"`
		}
		if err := json.Unmarshal(b, &config); err != nil {
			return d, fmt.Errorf("couldn't read %s: %w", file, err)
		}
		d.driver, d.options = config.Driver, slices.Sorted(maps.Keys(config.Options))
	}
	for _, v := range p.flags("log-driver") {
		d.driver, d.from = v, "dockerd's command line"
	}
	for _, v := range p.flags("log-opt") {
		name, _, _ := strings.Cut(v, "=")
		d.options, d.from = append(d.options, name), "dockerd's command line"
	}
	return d, nil
}
