package dnswatch

import (
	"os"
	"strings"
)

const (
	resolvConf = "/etc/resolv.conf"
	mountInfo  = "/proc/self/mountinfo"
)

// Replaced returns a function that reports whether the host has replaced or moved the file
// mounted at /etc/resolv.conf since the call of Replaced. It returns false if nothing is
// mounted there.
//
// If the host's /etc/resolv.conf is a symbolic link, the host may point it to another file. A mount
// namespace with the first file cannot see that.
func Replaced() func() bool { return replacedIn(mountInfo, resolvConf) }

func replacedIn(mountInfo, file string) func() bool {
	first := mountedFrom(mountInfo, file)
	return func() bool {
		now := mountedFrom(mountInfo, file)
		return first != "" && now != "" && (now != first || strings.HasSuffix(now, deleted))
	}
}

// deleted is the kernel's mark for a mounted file that has no name any more (fs/proc_namespace.c,
// show_mountinfo, and fs/d_path.c, dentry_path).
const deleted = "//deleted"

// mountedFrom returns the path of the file mounted at the path at, within its file system. It
// returns "" if nothing is mounted there. The fields are those of proc_pid_mountinfo(5).
func mountedFrom(mountInfo, at string) (from string) {
	b, err := os.ReadFile(mountInfo)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == at {
			from = fields[3] // the last mount covers the others
		}
	}
	return from
}
