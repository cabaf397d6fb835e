// Package hosttest is what tests, the demo and the fault matrix do with the machine that they run on: its docker
// command, its processes and mounts, and threads in a network of their own.
//
// It must not know the plugin, nor what a run is for.
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

// DockerTime bounds one docker command. It only ends what has failed already.
const DockerTime = 90 * time.Second

// A DockerError is a docker command that failed.
type DockerError struct {
	Command string // as in "docker plugin create"
	Code    int    // exit status; -1: it was not run to its end
	Said    string // to stderr, or why it has no end
}

func (e *DockerError) Error() string {
	return fmt.Sprintf("%s: exit %d: %s", e.Command, e.Code, strings.ReplaceAll(e.Said, "\n", "; "))
}

// Docker runs a docker command and returns what it printed to stdout, without the space around it. It blocks for
// DockerTime at most. host is a DOCKER_HOST; empty: the engine that answers. The error is a *DockerError.
//
// When ctx ends the command is killed, and nobody knows what the engine has done by then: what makes or removes something
// should not have one that Ctrl-C ends.
func Docker(ctx context.Context, host string, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, DockerTime, fmt.Errorf("no answer in %v", DockerTime))
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	// Content trust would look for a notary beside a registry of the run's own.
	cmd.Env = append(cmd.Environ(), "DOCKER_CONTENT_TRUST=0")
	if host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+host)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal sends Ctrl-C to the whole group
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
		failed.Said = context.Cause(ctx).Error()
	case ended:
		failed.Code, failed.Said = exit.ExitCode(), strings.TrimSpace(stderr.String())
	default:
		failed.Said = err.Error()
	}
	return "", failed
}

// ImageTar is the root file system of an image with nothing in it but a program, a static binary, under a name.
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
