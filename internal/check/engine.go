package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/statusserver"
)

// pluginName returns the plugin's name as an operator writes it.
func (c *checker) pluginName() string {
	if c.Plugin == nil {
		return "logspool"
	}
	return strings.TrimSuffix(c.Plugin.Name, ":latest")
}

func (c *checker) checkPlugin(context.Context) []Result {
	const name = "plugin"
	switch {
	case c.Plugin == nil:
		return nil
	case !c.Plugin.Enabled:
		return []Result{bad(name, "docker plugin enable --timeout 0 "+c.pluginName(),
			"%s is disabled: containers that use it cannot be started, and those that run block when they print much", c.pluginName())}
	}
	return []Result{good(name, "%s is enabled", c.pluginName())}
}

// checkTimeout cannot know the timeout: dockerd keeps it only in memory and shows it nowhere.
func (c *checker) checkTimeout(context.Context) []Result {
	if c.Plugin == nil || !c.Plugin.Enabled {
		return nil // the remedies of the other checks enable the plugin with --timeout 0
	}
	n := c.pluginName()
	return []Result{unknown("timeout", "dockerd does not show it; if docker logs -f ends after 30 seconds, run "+
		"docker plugin disable -f %s; docker plugin enable --timeout 0 %s", n, n)}
}

// oldestEngine is the first version of the engine that the plugin supports.
var oldestEngine = [2]int{20, 10}

var engineVersion = regexp.MustCompile(`^v?(\d+)\.(\d+)`)

func (c *checker) checkEngine(context.Context) []Result {
	const name = "engine"
	if c.Engine == nil {
		return []Result{unknown(name, "%v", c.EngineErr)}
	}
	m := engineVersion.FindStringSubmatch(c.Engine.Version)
	if m == nil {
		return []Result{unknown(name, "version %q is not known; version %d.%d or later is needed", c.Engine.Version, oldestEngine[0], oldestEngine[1])}
	}
	major, _ := strconv.Atoi(m[1]) // digits; a number out of range is large enough
	minor, _ := strconv.Atoi(m[2])
	if major < oldestEngine[0] || major == oldestEngine[0] && minor < oldestEngine[1] {
		return []Result{bad(name, "upgrade Docker", "version %s is too old: %d.%d or later is needed", c.Engine.Version, oldestEngine[0], oldestEngine[1])}
	}
	return []Result{good(name, "version %s", c.Engine.Version)}
}

// engineIsRemote reports whether the engine's files are not on this host. Only root can see
// them.
func (c *checker) engineIsRemote() bool {
	if c.Engine == nil {
		return false
	}
	info, err := os.Stat(c.Engine.Root)
	return errors.Is(err, os.ErrNotExist) || err == nil && !info.IsDir()
}

// whyNoFiles says why a check of the plugin's files cannot be made.
func (c *checker) whyNoFiles() string {
	switch {
	case c.engineIsRemote():
		return "the engine is on another host"
	case os.Geteuid() != 0:
		return "only root can see the plugin's files: run this command as root"
	default:
		return "the plugin's files were not found on this host"
	}
}

// checkDelivery shows what the running plugin says about itself.
func (c *checker) checkDelivery(ctx context.Context) []Result {
	const name = "delivery"
	if c.Status == nil || c.Plugin != nil && !c.Plugin.Enabled {
		return nil
	}
	r, err := c.Status(ctx)
	if errors.Is(err, statusserver.ErrNotRunning) {
		n := c.pluginName()
		return []Result{bad(name, fmt.Sprintf("look for the reason in dockerd's log; then docker plugin disable -f %s; docker plugin enable --timeout 0 %s", n, n),
			"the plugin is enabled, and it does not answer: %v", err)}
	}
	if err != nil {
		return []Result{unknown(name, "the plugin's status is not known: %v", err)}
	}
	var results []Result
	for _, f := range r.Faults {
		detail := f.What
		for _, key := range []string{"region", "group", "container", "setting"} {
			if f.Attrs[key] != "" {
				detail += fmt.Sprintf(" (%s %s)", key, f.Attrs[key])
			}
		}
		if f.Err != "" {
			detail += ": " + f.Err
		}
		remedy := f.Remedy
		if remedy == "" {
			remedy = "see this message in docs/troubleshooting.md"
		}
		results = append(results, bad(name, remedy, "%s, since %s", detail, f.Since.UTC().Format("2006-01-02 15:04:05 UTC")))
	}
	results = append(results, fullSpools(r)...)
	return orGood(results, name, "the plugin reports no failure; it has %d containers", len(r.Containers))
}

// fullSpools returns a result for the spools that are four fifths full.
func fullSpools(r *status.Report) []Result {
	var results []Result
	for _, c := range r.Containers {
		if l := c.Spool.Limit; l > 0 && c.Undelivered.Bytes >= l/5*4 {
			results = append(results, bad("delivery", "find out why lines are not delivered, or raise SPOOL_MAX_SIZE",
				"the spool of the container %s has %d undelivered bytes of at most %d: when it is full, lines are lost", c.Name, c.Undelivered.Bytes, l))
		}
	}
	return results
}
