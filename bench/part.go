package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/logspool/logspool/internal/hosttest"
)

// This program starts itself for the parts of a measurement that need a process of their own:
// they then share neither a scheduler nor a garbage collector with the load, and their
// processor time can be read. partEnv is the environment variable that names the part, and
// settingsEnv has its settings as JSON.
const (
	partEnv     = "BENCH_PART"
	settingsEnv = "BENCH_SETTINGS"
)

// parts has the parts by name. A part prints to its standard output.
var parts = map[string]func(settings []byte) error{
	"stand-in":       runStandIn,
	"trivial client": runTrivialClient,
}

// runPart runs the part that the environment names. ok is false if it names none.
func runPart() (ok bool, err error) {
	name := os.Getenv(partEnv)
	if name == "" {
		return false, nil
	}
	part := parts[name]
	if part == nil {
		return true, fmt.Errorf("there is no part %q", name)
	}
	return true, part([]byte(os.Getenv(settingsEnv)))
}

// partCommand returns the command that runs a part.
func partCommand(ctx context.Context, name string, settings any) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = []string{partEnv + "=" + name, settingsEnv + "=" + string(text)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd, nil
}

// startPart starts a part, and waits until it prints that it listens. The caller must end it.
func (b *bench) startPart(ctx context.Context, name string, settings any) (*hosttest.Program, error) {
	cmd, err := partCommand(ctx, name, settings)
	if err != nil {
		return nil, err
	}
	p, err := hosttest.StartProgram("the "+name, cmd, b.thread)
	if err != nil {
		return nil, err
	}
	if err := p.WaitLogged(listening, patience); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// outputOf runs a part, and decodes the JSON that it prints.
func (b *bench) outputOf(ctx context.Context, name string, settings, result any) error {
	cmd, err := partCommand(ctx, name, settings)
	if err != nil {
		return err
	}
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	b.thread.Do(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("the %s: %w: %s", name, err, &failure)
	}
	return json.Unmarshal(out.Bytes(), result)
}
