package installed

import (
	"path/filepath"
	"strings"
)

// AWSMount is where the plugin sees the mount aws of config.json.
const AWSMount = "/.aws"

// HostPath returns where a file of the plugin is on the host. The plugin sees the mount aws
// and its propagated mount, and ok is false for a path elsewhere.
func (p *Plugin) HostPath(path string) (host string, ok bool) {
	for _, m := range []struct{ inside, source string }{
		{AWSMount, p.Mounts["aws"]},
		{fifoDir, p.propagatedDir()},
	} {
		rest, found := strings.CutPrefix(filepath.Clean(path), m.inside)
		if found && m.source != "" && (rest == "" || rest[0] == '/') {
			return filepath.Join(m.source, rest), true
		}
	}
	return "", false
}

func (p *Plugin) propagatedDir() string {
	if p.Dir == "" {
		return ""
	}
	return filepath.Join(p.Dir, propagated)
}
