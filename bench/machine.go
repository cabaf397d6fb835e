package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes where and when the measurement ran, as a table.
func (b *bench) machine(ctx context.Context) string {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)
	var name unix.Utsname
	_ = unix.Uname(&name)
	engine, err := exec.CommandContext(ctx, "dockerd", "--version").Output()
	if err != nil {
		engine = []byte("none")
	}
	cell := func(label, value string) string { return tableRow([]string{label, oneCell(value)}) }
	return "| the last run | |\n|---|---|\n" +
		cell("date", time.Now().UTC().Format(time.DateOnly)) +
		cell("processor", fmt.Sprintf("%s, %d cores", cpuModel(), runtime.NumCPU())) +
		cell("memory", fmt.Sprintf("%.0f GiB", float64(info.Totalram)*float64(info.Unit)/(1<<30))) +
		cell("kernel", unix.ByteSliceToString(name.Release[:])) +
		cell("dockerd", string(engine)) +
		cell("Go", runtime.Version()) +
		cell("other load on the machine at the start", fmt.Sprintf("%.1f processes ready to run (load average)", float64(info.Loads[0])/65536))
}

// cpuModel returns the processor's name (proc_cpuinfo(5)).
func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name")
	_, rest, _ = strings.Cut(rest, ":")
	model, _, _ := strings.Cut(rest, "\n")
	if model = strings.TrimSpace(model); model == "" {
		return runtime.GOARCH
	}
	return model
}
