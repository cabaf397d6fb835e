package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/hosttest"
)

// pluginHost is where the plugin of a trial runs. It belongs to the row's goroutine.
type pluginHost struct {
	binary string
	// thread starts the plugin's processes, which end with it.
	thread *hosttest.Thread
	env    []string
	// state is the plugin's STATE_DIR.
	state string
	// wrap is a command that starts the plugin, which follows it; empty starts it
	// directly.
	wrap []string

	// plugin is nil while none runs.
	plugin *hosttest.Program
	kills  []time.Time
	// rss is the peak of resident memory in KiB, of all processes.
	rss int
	// log is the end of the logs of the processes that have ended.
	log string
}

// logLines is how many lines are kept of the log of each of the plugin's processes.
const logLines = 60

// start starts the plugin and waits until it listens.
func (h *pluginHost) start() (err error) {
	command := append(slices.Clone(h.wrap), h.binary)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = h.env
	// This program answers Ctrl-C, and ends the plugin.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if h.plugin, err = hosttest.StartProgram("the plugin", cmd, h.thread); err != nil {
		return err
	}
	return h.plugin.WaitLogged("logspool is listening", patience)
}

// kill kills the plugin with SIGKILL.
func (h *pluginHost) kill() {
	h.measureMemory()
	h.kills = append(h.kills, time.Now())
	h.plugin.Kill()
	h.ended()
}

// stop stops the plugin as dockerd does, which kills it after ten seconds.
func (h *pluginHost) stop() error {
	h.measureMemory()
	defer h.ended()
	return h.plugin.Stop(10 * time.Second)
}

// ended keeps the end of the log of the plugin's process, which has ended.
func (h *pluginHost) ended() {
	h.log += h.plugin.Log.Tail(logLines) + "\n"
	h.plugin = nil
}

// restart stops or kills the plugin, and starts it after a pause.
func (h *pluginHost) restart(gently bool, pause time.Duration) error {
	if gently {
		if err := h.stop(); err != nil {
			return err
		}
	} else {
		h.kill()
	}
	time.Sleep(pause)
	return h.start()
}

// measureMemory records the peak of the running plugin's memory.
func (h *pluginHost) measureMemory() { h.rss = max(h.rss, peakMemory(h.plugin.PID())) }

// peakMemory returns the peak of a process's resident memory in KiB (proc_pid_status(5),
// VmHWM), and 0 if the process has ended.
func peakMemory(pid int) (kib int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &kib)
	}
	return kib
}
