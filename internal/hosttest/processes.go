package hosttest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a running process.
type Process struct {
	Parent int
	Args   []string // Args has one element at least, which is empty during an execve(2).
}

// Processes returns all processes by ID.
func Processes() map[int]Process {
	all := map[int]Process{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		stat, statErr := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil || statErr != nil {
			continue // it has ended
		}
		// The command's name, in parentheses, may have any characters (proc_pid_stat(5)).
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		all[pid] = Process{parent, strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")}
	}
	return all
}

// PluginProcess finds the process of the Docker plugin with an ID: the child of the shim
// that has the ID among its arguments. Found is false if the plugin is not running.
func PluginProcess(id string) (pid int, found bool) {
	all := Processes()
	for pid, p := range all {
		shim := all[p.Parent]
		if shim.Args != nil && strings.Contains(shim.Args[0], "containerd-shim") && slices.Contains(shim.Args, id) {
			return pid, true
		}
	}
	return 0, false
}

// RemoveDir removes a directory, and first kills the processes that use it and unmounts
// what is mounted below it. It kills the processes that have a path below the directory in
// their arguments, and their descendants: a Docker engine, its containerd, the shims and
// their children. It never kills the caller.
func RemoveDir(dir string) error {
	for _, pid := range processesOf(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			points = append(points, fields[1])
		}
	}
	slices.Sort(points)
	for _, point := range slices.Backward(points) {
		err = errors.Join(err, os.NewSyscallError("umount "+point, unix.Unmount(point, unix.MNT_DETACH)))
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// processesOf returns the processes that RemoveDir kills.
func processesOf(dir string) (pids []int) {
	all := Processes()
	known := map[int]bool{os.Getpid(): false} // whether a process uses the directory
	for found := true; found; {
		found = false
		for pid, p := range all {
			if _, ok := known[pid]; ok {
				continue
			}
			if known[p.Parent] || slices.ContainsFunc(p.Args, func(a string) bool { return strings.Contains(a, dir+"/") }) {
				known[pid], found = true, true
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
