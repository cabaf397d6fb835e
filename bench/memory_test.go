package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/hosttest"
)

func buildPlugin(t *testing.T) (binary string) {
	binary = filepath.Join(t.TempDir(), "logspool")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// TestStartAndMemoryAreMeasured runs these measurements with little load. Their figures say
// nothing then.
func TestStartAndMemoryAreMeasured(t *testing.T) {
	binary := buildPlugin(t)
	for _, name := range []string{"start", "memory"} {
		var out bytes.Buffer
		err := run(t.Context(), []string{"-binary", binary, "-run", "^" + name + "$", "-scale", "0.003", "-turns", "1", "rows"}, &out)
		if err != nil && !errors.Is(err, errLimit) {
			t.Fatalf("%v\n%s", err, &out)
		}
		rows := regexp.MustCompile(`(?m)^\| (start after|memory w).* (s|MiB) \| (pass|\*\*FAIL\*\*)`).FindAllString(out.String(), -1)
		if len(rows) != 4 {
			t.Errorf("%s has %d rows, want 4:\n%s", name, len(rows), &out)
		}
	}
}

// TestInitializationAllocatesLittle: the plugin's packages do not prepare at their start what
// most plugins never need, such as large regular expressions.
func TestInitializationAllocatesLittle(t *testing.T) {
	const most = 600_000
	cmd := exec.Command(buildPlugin(t), "--version")
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	sum, ours := 0, regexp.MustCompile(`(?m)^init (?:main|github\.com/logspool/\S+) @.* (\d+) bytes, \d+ allocs$`)
	lines := ours.FindAllStringSubmatch(trace.String(), -1)
	for _, l := range lines {
		var bytes int
		_, _ = fmt.Sscan(l[1], &bytes)
		sum += bytes
	}
	if len(lines) == 0 || sum > most {
		t.Errorf("%d packages allocate %d bytes, more than %d:\n%s", len(lines), sum, most, &trace)
	}
}

// TestIdleContainersTakeLittleMemory: a container that has written a line and is idle keeps a
// few structures and two goroutines.
func TestIdleContainersTakeLittleMemory(t *testing.T) {
	const few, many, most = 10, 210, 40_000
	b := &bench{binary: buildPlugin(t), out: io.Discard, dir: t.TempDir()}
	var err error
	if b.thread, err = hosttest.NewThread(false); err != nil {
		t.Fatal(err)
	}
	defer b.thread.End()
	each := (b.goMemory(t, many) - b.goMemory(t, few)) / (many - few)
	t.Logf("%d bytes per container", each)
	if each > most {
		t.Errorf("an idle container takes %d bytes, more than %d", each, most)
	}
}

// goMemory returns the bytes that a plugin with idle containers uses for its heap and its stacks.
func (b *bench) goMemory(t *testing.T, containers int) int64 {
	h, err := b.newHost(t.Context(), b.binary, false, containers, []string{"DELAY=10ms"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if err := h.warmUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for range 2 { // the first collection frees what finalizers keep
		sum = h.heapAndStacks(t)
	}
	return sum
}

func (h *host) heapAndStacks(t *testing.T) (sum int64) {
	var profile bytes.Buffer
	if err := get(t.Context(), h.socketClient(), "http://status/debug/pprof/heap?debug=1&gc=1", &profile); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"HeapAlloc", "Stack"} {
		_, rest, found := strings.Cut(profile.String(), "\n# "+name+" = ")
		var bytes int64
		if _, err := fmt.Sscan(rest, &bytes); !found || err != nil {
			t.Fatalf("the profile has no %s:\n%s", name, profile.String())
		}
		sum += bytes
	}
	return sum
}
