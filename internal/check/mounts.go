package check

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/logspool/logspool/internal/installed"
)

// noFiles is the default source of the mount aws, which has none of the AWS files.
const noFiles = "/sys/module"

// checkAWSFiles checks that the plugin can see the files that its settings name.
func (c *checker) checkAWSFiles(context.Context) []Result {
	const name = "aws files"
	if c.Plugin == nil {
		return nil
	}
	source := c.Plugin.Mounts["aws"]
	if c.engineIsRemote() {
		return []Result{unknown(name, "the engine is on another host")}
	}
	if !filepath.IsAbs(source) {
		return []Result{bad(name, c.set("aws.source=/root/.aws"), "aws.source is %q, which is not an absolute path, so the plugin has no AWS files", source)}
	}
	if _, err := os.ReadDir(source); err != nil {
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			return []Result{unknown(name, "%s: only root can read it: run this command as root", source)}
		}
		return []Result{bad(name, c.set("aws.source=/root/.aws")+" (or "+noFiles+" for no files)", "aws.source: %v; the plugin cannot be enabled", err)}
	}
	if problems := c.hiddenPaths(); problems != nil {
		return problems
	}
	if source == noFiles {
		return []Result{good(name, "none are mounted")}
	}
	return []Result{good(name, "%s is mounted at %s", source, installed.AWSMount)}
}

// hiddenPaths returns the settings that name a file that the plugin cannot see.
func (c *checker) hiddenPaths() []Result {
	if c.Plugin == nil {
		return nil
	}
	var results []Result
	for _, name := range pathSettings {
		path := strings.TrimSpace(c.Plugin.Env[name])
		if path == "" {
			continue
		}
		if _, ok := c.Plugin.HostPath(path); !ok {
			results = append(results, bad("aws files",
				"put the file into "+c.Plugin.Mounts["aws"]+", which the plugin sees at "+installed.AWSMount+", and "+
					c.set(name+"="+installed.AWSMount+"/"+filepath.Base(path)),
				"%s=%s: the plugin cannot see this path", name, path))
		}
	}
	return results
}

// checkSocket checks the mount that the template field .Host needs.
func (c *checker) checkSocket(context.Context) []Result {
	const name = "docker socket"
	conf := c.container
	switch {
	case c.Plugin == nil:
		return nil
	case !conf.Group.Uses("Host") && !conf.Stream.Uses("Host") && !conf.EntityUses("Host"):
		return nil
	case c.engineIsRemote():
		return []Result{unknown(name, "the engine is on another host")}
	}
	source := c.Plugin.Mounts["docker"]
	info, err := os.Stat(source)
	if err == nil && info.Mode().Type() == fs.ModeSocket {
		return []Result{good(name, "%s is mounted", source)}
	}
	return []Result{bad(name, c.set("docker.source=/var/run/docker.sock"),
		"a name uses .Host, and docker.source is %q, which is not a socket: .Host is the short ID of a container without the variable HOSTNAME", source)}
}
