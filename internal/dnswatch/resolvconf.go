package dnswatch

import (
	"os"
	"strings"
)

const (
	resolvConf = "/etc/resolv.conf"
	mountInfo  = "/proc/self/mountinfo"
)

// Replaced returns a function that reports whether the host has replaced or moved the file that is mounted at
// /etc/resolv.conf, since Replaced was called. It is false where nothing is mounted there.
//
// A host whose /etc/resolv.conf is a symbolic link may make it point to another file. That cannot be seen from inside a
// mount namespace that has the first file.
func Replaced() func() bool { return replacedIn(mountInfo, resolvConf) }

func replacedIn(mountInfo, file string) func() bool {
	first := mountedFrom(mountInfo, file)
	return func() bool {
		now := mountedFrom(mountInfo, file)
		return first != "" && now != "" && (now != first || strings.HasSuffix(now, deleted))
	}
}

// deleted is how the kernel marks a mounted file that has no name any more (fs/proc_namespace.c, show_mountinfo, and
// fs/d_path.c, dentry_path).
const deleted = "//deleted"

// mountedFrom returns the path, in its file system, of what is mounted at the path at; empty where nothing is.
// The fields are those of proc_pid_mountinfo(5).
func mountedFrom(mountInfo, at string) (from string) {
	b, err := os.ReadFile(mountInfo)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == at {
			from = fields[3] // the last one covers the others
		}
	}
	return from
}
