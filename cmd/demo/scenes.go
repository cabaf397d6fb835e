package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	// pluginName and imageName are the names of the demo's plugin and image.
	pluginName = "logspool-demo"
	imageName  = "logspool-demo"

	// pause is the time between two lines of a container. It also keeps the order of
	// lines that are written to two pipes.
	pause = 100 * time.Millisecond
)

// scene is one container: its options, what it prints, and where the events are expected.
type scene struct {
	title string
	// name is the container's name.
	name    string
	labels  map[string]string
	env     []string
	options map[string]string
	// outage is how long the service is down, from the container's start.
	outage time.Duration
	// live says that the scene shows logspool status while the container runs, and not the
	// events.
	live bool

	lines []line
	// group is the expected group, in which HOST means the host's name.
	group string
	// stream has the expected streams by source, in which HOST means the host's name.
	stream map[string]string
}

// line is one line that a container prints.
type line struct{ source, text string }

const (
	stdout = "stdout"
	stderr = "stderr"
)

func printed(texts ...string) []line {
	lines := make([]line, len(texts))
	for i, text := range texts {
		lines[i] = line{stdout, text}
	}
	return lines
}

var scenes = []scene{
	{
		title:  "No options: the group has the host's name, and the stream has the container's name",
		name:   "demo-web",
		lines:  printed("GET / 200", "GET /cart 200", "POST /order 201"),
		group:  "HOST",
		stream: map[string]string{stdout: "demo-web"},
	},
	{
		title:  "Names from labels, here the labels that Docker Compose sets",
		name:   "shop-api-1",
		labels: map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "api"},
		options: map[string]string{
			"group":  `{{.Lbl "com.docker.compose.project"}}`,
			"stream": `{{.Lbl "com.docker.compose.service"}}/{{.Name}}`,
		},
		lines:  printed("listening on :8080", `{"level":"info","msg":"order taken","id":7}`, "naïve café ☕ 日本語"),
		group:  "shop",
		stream: map[string]string{stdout: "api/shop-api-1"},
	},
	{
		title:  "Names from the container's environment, as with logspout",
		name:   "demo-worker",
		env:    []string{"STAGE=staging", "LOGSPOUT_STREAM={{.Env.STAGE}}-{{.Name}}"},
		lines:  printed("job 1 done", "job 2 done"),
		group:  "HOST",
		stream: map[string]string{stdout: "staging-demo-worker"},
	},
	{
		title:   "One stream for stdout and one for stderr",
		name:    "demo-split",
		options: map[string]string{"group": "demo/split", "stream": "{{.Name}}/{{.Source}}"},
		lines: []line{
			{stdout, "starting"}, {stderr, "warning: no configuration file, using defaults"},
			{stdout, "ready"}, {stderr, "error: connection refused"},
		},
		group:  "demo/split",
		stream: map[string]string{stdout: "demo-split/stdout", stderr: "demo-split/stderr"},
	},
	{
		title:   fmt.Sprintf("A line of %d bytes, which dockerd passes on in %d pieces, arrives as one event", longLine, longPieces),
		name:    "demo-long",
		options: map[string]string{"awslogs-group": "demo/long", "awslogs-stream": "{{.Name}}"},
		lines:   printed("before", numbered(longLine), "after"),
		group:   "demo/long",
		stream:  map[string]string{stdout: "demo-long"},
	},
	{
		title:   "CloudWatch is down: the container keeps running, docker logs works, and no line is lost",
		name:    "demo-outage",
		options: map[string]string{"group": "demo/outage"},
		outage:  3 * time.Second,
		lines:   printed("written during the outage, 1 of 3", "written during the outage, 2 of 3", "written during the outage, 3 of 3"),
		group:   "demo/outage",
		stream:  map[string]string{stdout: "demo-outage"},
	},
	{
		title:   "logspool status shows what is delivered, what waits, and what fails",
		name:    "demo-live",
		options: map[string]string{"group": "demo/live", "multiline": "java", "retention-days": "7"},
		live:    true,
		lines:   printed(ticks(50)...),
		group:   "demo/live",
		stream:  map[string]string{stdout: "demo-live"},
	},
}

// ticks returns n lines.
func ticks(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("tick %d of %d", i+1, n)
	}
	return lines
}

const (
	longLine = 100_000
	// longPieces follows from moby's daemon/logger/copier.go, defaultBufSize.
	longPieces = (longLine + 16<<10 - 1) / (16 << 10)
)

// numbered returns a text of size bytes in which each word is its own offset.
func numbered(size int) string {
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, "%07d ", b.Len())
	}
	return b.String()[:size]
}

// play is the container's process: it prints the lines, with pauses.
func (s scene) play(print func(source, text string) error) error {
	for i, l := range s.lines {
		if i > 0 {
			time.Sleep(pause)
		}
		if err := print(l.source, l.text+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// say plays a scene in a container and returns the exit status.
func say(name string) int {
	i := slices.IndexFunc(scenes, func(s scene) bool { return s.name == name })
	if i < 0 {
		return 2
	}
	err := scenes[i].play(func(source, text string) error {
		to := os.Stdout
		if source == stderr {
			to = os.Stderr
		}
		_, err := to.WriteString(text)
		return err
	})
	if err != nil {
		return 1
	}
	return 0
}

// args returns the arguments of the docker command.
func (s scene) args() []string {
	args := []string{"run", "-d", "--network", "none", "--name", s.name}
	for _, k := range slices.Sorted(maps.Keys(s.labels)) {
		args = append(args, "--label", k+"="+s.labels[k])
	}
	for _, kv := range s.env {
		args = append(args, "-e", kv)
	}
	args = append(args, "--log-driver", pluginName)
	for _, k := range slices.Sorted(maps.Keys(s.options)) {
		args = append(args, "--log-opt", k+"="+s.options[k])
	}
	return append(args, imageName, "say", s.name)
}

// command returns the docker command as a user types it, with a line for each option.
func (s scene) command() string {
	var b strings.Builder
	b.WriteString("$ docker")
	for _, arg := range s.args() {
		switch arg {
		case "--label", "-e", "--log-driver", "--log-opt", imageName:
			// The value of --log-driver is also the image's name.
			if !strings.HasSuffix(b.String(), "--log-driver") {
				b.WriteString(" \\\n       ")
			}
		}
		b.WriteString(" " + quote(arg))
	}
	return b.String()
}

// quote quotes an argument for a shell.
func quote(arg string) string {
	if strings.ContainsAny(arg, " \"'{}$\\") {
		return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return arg
}

// delivery is what one stream is expected to have.
type delivery struct {
	address
	lines []string
}

// expected returns what each stream of the scene must have on a host of this name,
// stdout's first.
func (s scene) expected(host string) []delivery {
	var all []delivery
	for _, source := range []string{stdout, stderr} {
		stream, ok := s.stream[source]
		if !ok {
			continue
		}
		d := delivery{address: address{strings.ReplaceAll(s.group, "HOST", host), stream}}
		for _, l := range s.lines {
			if l.source == source {
				d.lines = append(d.lines, l.text)
			}
		}
		all = append(all, d)
	}
	return all
}
