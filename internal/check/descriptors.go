package check

import (
	"context"

	"github.com/logspool/logspool/driver"
	"github.com/logspool/logspool/internal/installed"
)

// checkDescriptors compares the limit of open files with the number of containers.
func (c *checker) checkDescriptors(ctx context.Context) []Result {
	const name = "descriptors"
	if c.engineIsRemote() {
		return []Result{unknown(name, "the engine is on another host")}
	}
	p, found := c.pluginProcess()
	if !found {
		if p, found = c.dockerd(); !found { // plugins inherit its limit
			return []Result{unknown(name, "neither the plugin's nor dockerd's process was found")}
		}
	}
	limit, err := c.host.openFiles(p)
	if err != nil {
		return []Result{unknown(name, "couldn't read the limit of open files: %v", err)}
	}
	most := driver.MaxContainers(limit)
	ids, err := installed.Running(ctx)
	if err != nil {
		return []Result{unknown(name, "the limit of %d open files is enough for %d containers; how many run is not known: %v", limit, most, err)}
	}
	n := len(ids)
	if n >= most && c.Plugin != nil { // perhaps some of them use other drivers
		if ours, err := installed.CountDriver(ctx, ids, c.Plugin.Name); err == nil {
			n = ours
		}
	}
	if n >= most {
		return []Result{bad(name, "raise dockerd's limit (LimitNOFILE in its systemd unit) and restart dockerd",
			"the limit of %d open files is enough for %d containers, and %d run: no further container can be started", limit, most, n)}
	}
	return []Result{good(name, "the limit of %d open files is enough for %d containers; %d run", limit, most, n)}
}
