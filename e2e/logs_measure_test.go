//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/docpart"
)

var (
	measure = flag.String("measure", "", "measure docker logs and print the figures: all, cache, followers or tail")
	rounds  = flag.Int("rounds", 5, "how often to measure each of two things that are compared")
)

const (
	measuredLines = 1_000_000
	followedLines = 5_000_000
)

// TestMeasureDockerLogs measures what docker logs costs. It checks nothing, but prints the
// figures, and with -write writes them into the document.
func TestMeasureDockerLogs(t *testing.T) {
	if *measure == "" {
		t.Skip("takes minutes: run make benchlogs")
	}
	// This stand-in does not keep what it has accepted.
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{accessKey: secretKey}, Keep: cwlocal.KeepNone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	m := &meter{t: t, service: service}
	parts := []struct {
		name string
		run  func() []string
	}{
		{"cache", m.withAndWithout},
		{"followers", m.followers},
		{"tail", m.tail},
	}
	for _, part := range parts {
		if *measure != "all" && *measure != part.name {
			continue
		}
		rows := part.run()
		table := strings.Join(rows, "\n") + "\n"
		fmt.Printf("%s\n", table)
		if *write && !t.Failed() {
			if err := writeFigures(part.name, table); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// writeFigures replaces the table between two marks in the document.
func writeFigures(name, table string) error {
	return docpart.Replace(logsDocument, "<!-- make benchlogs WRITE=1 writes: "+name+" -->\n", "<!-- end of "+name+" -->", "\n"+table+"\n")
}

type meter struct {
	t       *testing.T
	service *cwlocal.Server
}

// flood starts a container that prints what the remote tells it, with a stream in the
// meter's service.
func (m *meter) flood(size int, docker ...string) (*container, *remote, stream) {
	r, control, args := newRemote(m.t)
	name := newName(m.t)
	c := start(m.t, spec{
		name: name, docker: append(control, docker...), args: append(args, "-size", strconv.Itoa(size)),
		opts: []string{"endpoint=" + m.service.URL(), "group=measured"},
	})
	r.connect()
	return c, r, stream{m.service, region, "measured", name}
}

// cpu returns the CPU time that a process has used.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is always 100
}

// enginePID returns the ID of the default engine's process.
func enginePID(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/var/run/docker.pid")
	if err != nil {
		t.Skipf("couldn't find the engine's process: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// sample is one measurement.
type sample struct {
	lines               float64 // a second
	engine, plugin, sum time.Duration
	given               float64 // lines a second that all followers together got
}

// measureOne measures measuredLines lines of 100 bytes. The CPU times are until all are
// delivered, and the rate is the container's.
func (m *meter) measureOne() sample {
	m.t.Helper()
	c, r, s := m.flood(99) // plus a newline
	engine, plugin := enginePID(m.t), tested.pid(m.t)
	engineBefore, pluginBefore := cpu(m.t, engine), cpu(m.t, plugin)
	begun := time.Now()
	r.tell("print %d", measuredLines)
	took := time.Since(begun)
	s.waitFor(m.t, measuredLines)
	got := sample{
		lines:  measuredLines / took.Seconds(),
		engine: cpu(m.t, engine) - engineBefore,
		plugin: cpu(m.t, plugin) - pluginBefore,
	}
	got.sum = got.engine + got.plugin
	r.end()
	c.finish(m.t)
	return got
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// withAndWithout compares reading from the spool with dockerd's cache, alternately.
func (m *meter) withAndWithout() []string {
	var spool, cache []sample
	set := func(size string) {
		if err := tested.reset("HISTORY_SIZE=" + size); err != nil {
			m.t.Fatal(err)
		}
	}
	defer set("")
	var rates, sums []float64
	for i := range *rounds {
		set("20m")
		spool = append(spool, m.measureOne())
		set("0")
		cache = append(cache, m.measureOne())
		rates = append(rates, spool[i].lines/cache[i].lines)
		sums = append(sums, spool[i].sum.Seconds()/cache[i].sum.Seconds())
	}
	rows := []string{
		fmt.Sprintf("| 1,000,000 lines of 100 bytes, median of %d | lines/s | dockerd CPU s | plugin CPU s | together |", *rounds), "|---|---|---|---|---|",
	}
	rate := func(s sample) float64 { return s.lines }
	sum := func(s sample) float64 { return s.sum.Seconds() }
	for _, row := range []struct {
		name    string
		samples []sample
	}{{"`HISTORY_SIZE=20m`", spool}, {"`HISTORY_SIZE=0`, the engine's cache", cache}} {
		rows = append(rows, fmt.Sprintf("| %s | %.0fk | %.2f | %.2f | %.2f |", row.name, median(row.samples, rate)/1000,
			median(row.samples, func(s sample) float64 { return s.engine.Seconds() }),
			median(row.samples, func(s sample) float64 { return s.plugin.Seconds() }), median(row.samples, sum)))
	}
	return append(rows, fmt.Sprintf("| ratio of the first row to the second: median, lowest and highest | %s | | | %s |", spread(rates), spread(sums)),
		"", fmt.Sprintf("dockerd does one write into a pipe for each line.\nA write of 150 bytes takes %.1f µs on this machine.", m.pipeWrite()))
}

// spread returns the median of ratios, with the least and the greatest.
func spread(ratios []float64) string {
	slices.Sort(ratios)
	return fmt.Sprintf("**%.2f** (%.2f to %.2f)", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
}

// pipeWrite returns how many microseconds a write of 150 bytes to a pipe takes if no reader waits.
func (m *meter) pipeWrite() float64 {
	m.t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		m.t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	const fills, writes, size = 500, 400, 150
	var took time.Duration
	entry, rest := make([]byte, size), make([]byte, writes*size)
	for range fills {
		begun := time.Now()
		for range writes {
			if _, err := unix.Write(fds[1], entry); err != nil {
				m.t.Fatal(err)
			}
		}
		took += time.Since(begun)
		if n, err := unix.Read(fds[0], rest); n != len(rest) {
			m.t.Fatal(n, err)
		}
	}
	return took.Seconds() / fills / writes * 1e6
}

// followers compares a container that prints as fast as it can without followers and with
// twenty, alternately.
func (m *meter) followers() []string {
	const many = 20
	if err := tested.reset("HISTORY_SIZE="); err != nil {
		m.t.Fatal(err)
	}
	var alone, followed []sample
	var ratios []float64
	for range *rounds {
		alone = append(alone, m.measureFollowed(0))
		followed = append(followed, m.measureFollowed(many))
		ratios = append(ratios, followed[len(followed)-1].lines/alone[len(alone)-1].lines)
	}
	rate := func(s sample) float64 { return s.lines }
	given := func(s sample) float64 { return s.given }
	return []string{
		fmt.Sprintf("| 5,000,000 lines of 100 bytes, median of %d | lines/s |", *rounds), "|---|---|",
		fmt.Sprintf("| alone | %.0fk |", median(alone, rate)/1000),
		fmt.Sprintf("| with %d `docker logs -f` | %.0fk |", many, median(followed, rate)/1000),
		fmt.Sprintf("| ratio of the second row to the first: median, lowest and highest | %s |", spread(ratios)),
		"", fmt.Sprintf("Every line was delivered.\nTogether, the followers got %.1fk lines a second.", median(followed, given)/1000),
	}
}

func (m *meter) measureFollowed(n int) sample {
	m.t.Helper()
	c, r, s := m.flood(99)
	r.tell("print 1")
	s.waitFor(m.t, 1)
	var all []*exec.Cmd
	var given atomic.Int64
	var reading sync.WaitGroup
	first := make(chan bool, n)
	for range n {
		cmd := exec.Command("docker", "logs", "-f", c.name)
		out, err := cmd.StdoutPipe()
		if err != nil {
			m.t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			m.t.Fatal(err)
		}
		reading.Go(func() {
			some, p := false, make([]byte, 256<<10)
			for {
				n, err := out.Read(p)
				given.Add(int64(bytes.Count(p[:n], []byte("\n"))))
				if !some && n > 0 {
					some = true
					first <- true
				}
				if err != nil {
					return
				}
			}
		})
		all = append(all, cmd)
	}
	for range n {
		<-first
	}
	before, begun := given.Load(), time.Now()
	r.tell("print %d", followedLines)
	took := time.Since(begun)
	got := given.Load() - before
	s.waitFor(m.t, followedLines+1)
	r.end()
	c.finish(m.t)
	reading.Wait()
	for _, f := range all {
		_ = f.Wait()
	}
	if n := s.events(); n != followedLines+1 {
		m.t.Errorf("%d of %d lines were delivered", n, followedLines)
	}
	return sample{lines: followedLines / took.Seconds(), given: float64(got) / took.Seconds()}
}

// tail measures docker logs --tail 10 of a history of 1 GB.
func (m *meter) tail() []string {
	const lines, size = 1_000_000, 1000
	if err := tested.reset("HISTORY_SIZE=1200m"); err != nil {
		m.t.Fatal(err)
	}
	defer func() {
		if err := tested.reset("HISTORY_SIZE="); err != nil {
			m.t.Error(err)
		}
	}()
	// Delivery would disturb the measurement.
	c, r, _ := m.flood(size-1, "-e", "LOGSPOUT=ignore")
	r.tell("print %d", lines)
	pid := tested.pid(m.t)
	docker, err := dockertest.NewDaemon(dockertest.Options{
		Socket: filepath.Join("/run/docker/plugins", tested.id(m.t), "logspool.sock"), Dir: m.t.TempDir(),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	read := func() int {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err != nil {
			m.t.Fatal(err)
		}
		var n int
		for line := range strings.Lines(string(data)) {
			if text, ok := strings.CutPrefix(line, "rchar: "); ok {
				n, _ = strconv.Atoi(strings.TrimSpace(text))
			}
		}
		return n
	}
	history := dirSize(m.t, filepath.Join(tested.dir(m.t), ".state", "containers", c.id, "spool"))
	ask := func(config dockertest.ReadConfig) (took time.Duration, bytes, answer int) {
		before, begun := read(), time.Now()
		body, err := docker.ReadLogs(context.Background(), dockertest.Info{ContainerID: c.id}, config)
		if err != nil {
			m.t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, body)
		if err != nil {
			m.t.Fatal(err)
		}
		took = time.Since(begun)
		body.Close()
		return took, read() - before, int(n)
	}
	rows := []string{fmt.Sprintf("| read from a history of %d MB | time | bytes read | bytes returned |", history/1_000_000), "|---|---|---|---|"}
	for _, q := range []struct {
		name   string
		config dockertest.ReadConfig
	}{
		{"`--tail 10`", dockertest.ReadConfig{Tail: 10}},
		{"`--tail 1000`", dockertest.ReadConfig{Tail: 1000}},
		{"`--since` a second ago, with no newer entry", dockertest.ReadConfig{Tail: -1, Since: time.Now()}},
		{"`--until` before the first entry", dockertest.ReadConfig{Tail: -1, Until: time.Unix(1, 0)}},
		{"everything", dockertest.ReadConfig{Tail: -1}},
	} {
		var best time.Duration
		var bytes, answered int
		for i := range 5 {
			took, n, answer := ask(q.config)
			if i == 0 || took < best {
				best, bytes, answered = took, n, answer
			}
			if q.config.Tail < 0 && q.config.Since.IsZero() && q.config.Until.IsZero() {
				break
			}
		}
		rows = append(rows, fmt.Sprintf("| %s | %.1f ms | %.1f kB | %.1f kB |", q.name, float64(best.Microseconds())/1000, float64(bytes)/1000, float64(answered)/1000))
	}
	r.end()
	c.finish(m.t)
	return rows
}

func dirSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}
