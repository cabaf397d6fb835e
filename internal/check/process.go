package check

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is a process of this host.
type process struct {
	pid  string
	args []string
}

// processes returns the processes of that name. It is empty if they cannot be read.
func (h *host) processes(name string) []process {
	dirs, _ := filepath.Glob(filepath.Join(h.proc, "[0-9]*")) // the pattern is well formed
	var all []process
	for _, dir := range dirs {
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // without it, there are no arguments
		var args []string
		for arg := range bytes.SplitSeq(bytes.TrimRight(cmdline, "\x00"), []byte{0}) {
			args = append(args, string(arg))
		}
		all = append(all, process{filepath.Base(dir), args})
	}
	return all
}

// flags returns the values of a flag, which is given as --name=value, --name value, or with
// one dash.
func (p process) flags(name string) []string {
	var values []string
	for i, arg := range p.args {
		flag, value, found := strings.Cut(arg, "=")
		switch {
		case flag != "--"+name && flag != "-"+name:
		case found:
			values = append(values, value)
		case i+1 < len(p.args):
			values = append(values, p.args[i+1])
		}
	}
	return values
}

// openFiles returns the hard limit of open files, to which the plugin raises its own limit.
func (h *host) openFiles(p process) (int, error) {
	b, err := os.ReadFile(filepath.Join(h.proc, p.pid, "limits"))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(l, "Max open files")
		if fields := strings.Fields(rest); ok && len(fields) >= 2 {
			if fields[1] == "unlimited" {
				return math.MaxInt32, nil
			}
			return strconv.Atoi(fields[1])
		}
	}
	return 0, fmt.Errorf("process %s has no limit of open files", p.pid)
}

// pluginProcess finds the plugin's process. It is the one that has the plugin's directory
// mounted.
func (c *checker) pluginProcess() (process, bool) {
	if c.Plugin == nil {
		return process{}, false
	}
	for _, p := range c.host.processes("logspool") {
		mounts, err := os.ReadFile(filepath.Join(c.host.proc, p.pid, "mountinfo"))
		if err == nil && bytes.Contains(mounts, []byte("/"+c.Plugin.ID+"/")) {
			return p, true
		}
	}
	return process{}, false
}

// dockerd finds the engine's process. If several run, it is the one with the engine's data
// root, or else the first one.
func (c *checker) dockerd() (process, bool) {
	all := c.host.processes("dockerd")
	if len(all) == 0 || c.Engine == nil || c.engineIsRemote() {
		return process{}, false
	}
	for _, p := range all {
		for _, root := range append(p.flags("data-root"), p.flags("g")...) {
			if filepath.Clean(root) == filepath.Clean(c.Engine.Root) {
				return p, true
			}
		}
	}
	for _, p := range all {
		if len(p.flags("data-root")) == 0 && len(p.flags("g")) == 0 {
			return p, true
		}
	}
	return all[0], true
}
