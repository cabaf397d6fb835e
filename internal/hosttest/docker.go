// Package hosttest is what tests, the demo and the fault matrix use of the machine that
// they run on: the docker command, private Docker engines, programs in the background,
// processes and mounts, and threads in a network namespace of their own.
//
// It must not know the plugin's packages, or what it is used for.
package hosttest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// DockerTime limits one docker command. It is long enough that only a failure reaches it.
const DockerTime = 90 * time.Second

// A DockerError is a docker command that failed.
type DockerError struct {
	// Command is the command, as in "docker plugin create".
	Command string
	// Code is the exit status, and -1 if the command did not run to its end.
	Code int
	// Stderr is what the command printed to stderr, or why it did not run to its end.
	Stderr string
}

func (e *DockerError) Error() string {
	return fmt.Sprintf("%s: exit %d: %s", e.Command, e.Code, strings.ReplaceAll(e.Stderr, "\n", "; "))
}

// Docker runs a docker command and returns what it printed to stdout, without surrounding
// white space. It blocks for DockerTime at most. Host is a DOCKER_HOST; empty means the
// default engine. The error is a *DockerError.
//
// Docker kills the command when ctx ends. What the engine has done by then is unknown, so a
// command that makes or removes something should not have a ctx that Ctrl-C ends.
func Docker(ctx context.Context, host string, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, DockerTime, fmt.Errorf("no answer in %v", DockerTime))
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	// With content trust, docker would look for a notary of a test's registry.
	cmd.Env = append(cmd.Environ(), "DOCKER_CONTENT_TRUST=0")
	if host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+host)
	}
	// A terminal sends Ctrl-C to the whole process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdin = stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return strings.TrimSpace(stdout.String()), nil
	}
	failed := &DockerError{Command: strings.Join(append([]string{"docker"}, args[:min(2, len(args))]...), " "), Code: -1}
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		failed.Stderr = context.Cause(ctx).Error()
	case ended:
		failed.Code, failed.Stderr = exit.ExitCode(), strings.TrimSpace(stderr.String())
	default:
		failed.Stderr = err.Error()
	}
	return "", failed
}

// ImageTar returns a tar archive with a program under the given name, for an image that has
// nothing else. The program at path must be a static binary.
func ImageTar(path, name string) (io.Reader, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(program)
	}
	return &b, errors.Join(err, w.Close())
}
