//go:build e2e

// Package e2e tests the installed plugin with a real Docker engine and real containers.
// Package cwlocal stands in for CloudWatch Logs. `make e2e` runs the tests, as root.
//
// The tests must know only what a user knows of the plugin: its settings, its options, and
// what arrives.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/logspool/logspool/internal/hosttest"
)

const (
	// ours is the name of everything that the tests make, or the beginning of its name, so
	// that a later run finds what an aborted one has left.
	ours = "logspool-e2e"

	// label is a label of the tests' containers and services.
	label = "com.github.logspool.e2e"

	// runDirs has a directory for each run. The second engine needs a real file system.
	runDirs = "/var/tmp"

	// runDirVar is the variable with the run's directory, for the process that runs the tests.
	runDirVar = "LOGSPOOL_E2E_RUN_DIR"
)

// TestMain runs the tests in a second process, so that it cleans up in any case. A panic or
// the timeout of go test ends a process without running deferred functions.
func TestMain(m *testing.M) {
	if dir := os.Getenv(runDirVar); dir != "" {
		os.Exit(runTests(m, dir))
	}
	status, err := supervise()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

func supervise() (status int, err error) {
	if os.Getuid() != 0 {
		return 1, fmt.Errorf("needs root to read the plugin's directories and to start a second engine")
	}
	unlock, err := lock()
	if err != nil {
		return 1, err
	}
	defer unlock()
	local := &engine{}
	if err := cleanUp(local); err != nil {
		return 1, fmt.Errorf("couldn't remove what an earlier run has left: %w", err)
	}
	dir, err := os.MkdirTemp(runDirs, ours+"-")
	if err != nil {
		return 1, err
	}
	defer func() {
		if cleanErr := cleanUp(local); cleanErr != nil && err == nil {
			err = fmt.Errorf("couldn't clean up: %w", cleanErr)
		}
	}()

	tests := exec.Command(os.Args[0], os.Args[1:]...)
	tests.Env = append(os.Environ(), runDirVar+"="+dir)
	tests.Stdout, tests.Stderr = os.Stdout, os.Stderr
	tests.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := tests.Start(); err != nil {
		return 1, err
	}
	go func() {
		for s := range signals {
			_ = tests.Process.Signal(s)
		}
	}()
	_ = tests.Wait()
	if code := tests.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, fmt.Errorf("the tests ended with %v", tests.ProcessState)
}

// lock makes sure that only one run exists at a time: two would remove each other's plugins.
func lock() (unlock func(), err error) {
	f, err := os.OpenFile("/run/"+ours+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another run of these tests exists: %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// runTests sets up what all tests share, runs them, and checks what arrived after their ends.
func runTests(m *testing.M, dir string) int {
	if err := setUp(dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	status := m.Run()
	for _, problem := range audit() {
		fmt.Fprintln(os.Stderr, "e2e:", problem)
		status = max(status, 1)
	}
	return status
}

// cleanUp removes what this run and earlier ones have made. It continues after an error.
func cleanUp(local *engine) error {
	var failed []string
	try := func(args ...string) []string {
		out, err := local.run(args...)
		if err != nil {
			failed = append(failed, err.Error())
			return nil
		}
		return strings.Fields(out)
	}

	plugins := try("plugin", "ls", "--format", "{{.Name}}={{.Enabled}}")
	for _, p := range plugins {
		// dockerd can neither stop nor remove a container whose FIFO the plugin does not read.
		if name, ok := strings.CutSuffix(p, "=false"); ok && isOurs(name) {
			_, _ = local.run("plugin", "enable", "--timeout", "0", name)
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(runDirs, ours+"-*"))
	for _, dir := range dirs {
		if err := leaveSwarm(local, dir); err != nil {
			failed = append(failed, err.Error())
		}
	}
	for _, id := range try("ps", "-aq", "--filter", "label="+label) {
		try("rm", "-fv", id)
	}
	for _, id := range try("images", "-q", "--filter", "reference="+imageName+":*") {
		try("rmi", "-f", id)
	}
	for _, p := range plugins {
		name, _, _ := strings.Cut(p, "=")
		if isOurs(name) {
			_, _ = local.run("plugin", "disable", "-f", name)
			try("plugin", "rm", "-f", name)
		}
	}
	for _, dir := range dirs {
		if err := hosttest.RemoveDir(dir); err != nil {
			failed = append(failed, err.Error())
		}
	}
	if failed != nil {
		return fmt.Errorf("%s", strings.Join(failed, "; "))
	}
	return nil
}

// isOurs reports whether a plugin belongs to the tests, with or without a registry in its name.
func isOurs(name string) bool {
	return strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], ours+":")
}
