//go:build e2e

// Package e2e shows that the installed plugin does what it promises: a real Docker engine, real containers,
// and cwlocal in the place of CloudWatch Logs. It is run by `make e2e`, as root.
//
// It must know nothing of the plugin but what a user can: its settings, its options, and what arrives.
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
	// Everything that the tests leave anywhere has this name or begins with it, so that a later run
	// finds what an aborted one left behind.
	ours = "logspool-e2e"

	// label marks the tests' containers and services.
	label = "com.github.logspool.e2e"

	// runDirs is where each run has a directory; the second engine needs a real file system.
	runDirs = "/var/tmp"

	// runDirVar tells the process that runs the tests its directory.
	runDirVar = "LOGSPOOL_E2E_RUN_DIR"
)

// TestMain runs the tests in a second process, so that cleaning up happens whatever becomes of them: a
// panic and go test's time-out end a process before anything deferred can run.
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
		return 1, fmt.Errorf("root is needed to look into the plugin's directories and to start a second engine")
	}
	unlock, err := lock()
	if err != nil {
		return 1, err
	}
	defer unlock()
	local := &engine{}
	if err := cleanUp(local); err != nil {
		return 1, fmt.Errorf("couldn't remove what an earlier run left behind: %w", err)
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
	return 1, fmt.Errorf("the tests ended by %v", tests.ProcessState)
}

// lock keeps two runs from removing each other's plugins.
func lock() (unlock func(), err error) {
	f, err := os.OpenFile("/run/"+ours+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another run of these tests is under way: %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// runTests sets up what all tests share, runs them, and then looks at what arrived after each had looked.
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

// cleanUp removes what the tests have made, in this run or an earlier one. It goes on after an error.
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
		// A container whose FIFO nobody reads can neither be stopped nor removed.
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

// isOurs reports whether a plugin is one of the tests', also under the name of a registry.
func isOurs(name string) bool {
	return strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], ours+":")
}
