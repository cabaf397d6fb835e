//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEnvironmentNamesTheStream: the container's environment sets the group and the stream.
func TestEnvironmentNamesTheStream(t *testing.T) {
	group := newName(t)
	env := []string{"-e", "LOGSPOUT_GROUP=" + group + "/{{.Env.APP}}", "-e", "LOGSPOUT_STREAM={{.Name}}.{{.ShortID}}", "-e", "APP=shop"}
	lines := []string{"-lines", "20"}

	c := start(t, spec{docker: env, args: lines})
	c.finish(t)
	to(group+"/shop", c.name+"."+c.id[:12]).has(t, printed(c.name, "stdout", 20))

	// Each log option takes precedence over its variable.
	c = start(t, spec{docker: env, opts: []string{"group=" + group + "/option"}, args: lines})
	c.finish(t)
	to(group+"/option", c.name+"."+c.id[:12]).has(t, printed(c.name, "stdout", 20))

	// A container with an invalid template in its environment starts.
	c = start(t, spec{docker: []string{"-e", "LOGSPOUT_GROUP={{.Nmae}}", "-e", "LOGSPOUT_STREAM={{"}, args: lines})
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 20))
}

// TestIgnoredContainerSendsNothing: no line of a container with LOGSPOUT=ignore arrives,
// although those of a later container do.
func TestIgnoredContainerSendsNothing(t *testing.T) {
	ignored := start(t, spec{docker: []string{"-e", "LOGSPOUT=ignore"}, args: []string{"-lines", "5000"}})
	ignored.finish(t)
	other := start(t, spec{args: []string{"-lines", "20"}})
	other.finish(t)
	to(hostName(t), other.name).has(t, printed(other.name, "stdout", 20))
	to(hostName(t), ignored.name).empty(t)
}

// TestContainerEnvOff: with CONTAINER_ENV=off, the plugin ignores the container's environment.
func TestContainerEnvOff(t *testing.T) {
	tested.with(t, []string{"CONTAINER_ENV=off"}, []string{"CONTAINER_ENV="})
	c := start(t, spec{
		docker: []string{"-e", "LOGSPOUT_GROUP=stolen", "-e", "LOGSPOUT_STREAM=stolen", "-e", "LOGSPOUT=ignore"},
		args:   []string{"-lines", "20"},
	})
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 20))
}

func TestPluginSettingsApplyToEveryContainer(t *testing.T) {
	group := newName(t)
	tested.with(t,
		[]string{"LOGSPOUT_GROUP=" + group + "/{{.LoggerHost}}", "LOGSPOUT_STREAM={{.Name}}/{{.ImageName}}", "ROUTE=cloudwatch://auto?DELAY=300ms&NOEC2", "GZIP=off"},
		[]string{"LOGSPOUT_GROUP=", "LOGSPOUT_STREAM=", "ROUTE=", "GZIP="})
	before := stand.Stats().GzipRequests
	c := start(t, spec{args: []string{"-lines", "20"}})
	c.finish(t)
	to(group+"/"+hostName(t), c.name+"/"+strings.ReplaceAll(image, ":", "_")).has(t, printed(c.name, "stdout", 20))
	if after := stand.Stats().GzipRequests; after != before {
		t.Errorf("GZIP=off: %d requests were compressed", after-before)
	}
}

// TestInvalidSettingStopsNothing: with an invalid setting, the plugin and its containers
// still start, run and stop. Their lines are delivered, or spooled until it is fixed if the
// setting says where they go.
func TestInvalidSettingStopsNothing(t *testing.T) {
	r, docker, args := newRemote(t)
	running := start(t, spec{docker: docker, args: args})
	r.connect()
	r.tell("print 100")
	var held *container
	t.Run("harmless", func(t *testing.T) {
		tested.with(t, []string{"SPOOL_FULL=sometimes", "DELAY=soon"}, []string{"SPOOL_FULL=", "DELAY="})
		c := start(t, spec{args: []string{"-lines", "20"}})
		c.finish(t)
		to(hostName(t), c.name).has(t, printed(c.name, "stdout", 20))
		r.tell("print 100")
	})
	t.Run("held", func(t *testing.T) {
		tested.with(t, []string{"ALLOW_GROUPS=("}, []string{"ALLOW_GROUPS="})
		held = start(t, spec{args: []string{"-lines", "20"}})
		held.finish(t)
		if got := to(hostName(t), held.name).messages(); len(got) > 0 {
			t.Errorf("%d lines were sent", len(got))
		}
	})
	to(hostName(t), held.name).has(t, printed(held.name, "stdout", 20))
	r.tell("print 100")
	r.end()
	running.finish(t)
	to(hostName(t), running.name).has(t, printed(running.name, "stdout", 300))
}

// TestLabelsNameTheStream: templates can use the container's labels.
func TestLabelsNameTheStream(t *testing.T) {
	group := newName(t)
	labels := []string{"--label", "team=red", "--label", "com.example.app=shop"}
	for template, want := range map[string]string{
		`{{.Lbl "com.example.app"}}.{{.Labels.team}}`:    "shop.red",
		`{{.Lbl "com.example.missing"}}`:                 "", // the default name
		`{{.Labels.missing | default "none"}}-{{.Name}}`: "none-NAME",
	} {
		t.Run(template, func(t *testing.T) {
			c := start(t, spec{docker: labels, opts: []string{"group=" + group, "stream=" + template}, args: []string{"-lines", "20"}})
			c.finish(t)
			name := strings.ReplaceAll(want, "NAME", c.name)
			if name == "" {
				name = c.name
			}
			to(group, name).has(t, printed(c.name, "stdout", 20))
		})
	}
}

// TestSourceSplitsTheOutputs: with {{.Source}}, each output has a stream.
func TestSourceSplitsTheOutputs(t *testing.T) {
	c := start(t, spec{
		opts: []string{"stream={{.Name}}/{{.Source}}"},
		args: []string{"-lines", "1000", "-to", "stdout,stderr"},
	})
	c.finish(t)
	to(hostName(t), c.name+"/stdout").has(t, printed(c.name, "stdout", 1000))
	to(hostName(t), c.name+"/stderr").has(t, printed(c.name, "stderr", 1000))
}

// TestHostIsTheHostName: {{.Host}} is the container's host name, which the container
// prints. dockerd does not pass the name to a log driver.
func TestHostIsTheHostName(t *testing.T) {
	group := newName(t)
	show := func(t *testing.T, want string, docker ...string) {
		t.Helper()
		c := start(t, spec{docker: docker, opts: []string{"group=" + group, "stream={{.Host}}-{{.Name}}"}, args: []string{"-host"}})
		c.finish(t)
		if want == "" {
			want = c.id[:12]
		}
		to(group, want+"-"+c.name).hasMessages(t, want)
	}
	t.Run("in the container's environment", func(t *testing.T) {
		show(t, "from-env", "-e", "HOSTNAME=from-env", "-h", "from-env")
	})
	t.Run("Docker's default", func(t *testing.T) { show(t, "") })
	t.Run("from the engine", func(t *testing.T) {
		socket := enginesSocket(t)
		tested.with(t, []string{"docker.source=" + socket}, []string{"docker.source=/dev/null"})
		show(t, "from-engine", "-h", "from-engine")
		show(t, "")
	})
}

// enginesSocket returns the socket of the engine under test.
func enginesSocket(t *testing.T) string {
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = local.must(t, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
	}
	socket, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		t.Skipf("the engine listens on %s, which is not a socket that can be mounted", host)
	}
	return socket
}

// TestComposeLabelsNameTheStream uses Compose if it is installed, and otherwise sets the
// same labels.
func TestComposeLabelsNameTheStream(t *testing.T) {
	project, service := newName(t), "web"
	opts := []string{
		`group={{.Lbl "com.docker.compose.project"}}/{{.Lbl "com.docker.compose.service"}}`,
		`stream={{.Lbl "com.docker.compose.project"}}-{{.Name}}`,
	}
	container := project + "-c"
	compose := composeCommand()
	if compose == nil {
		t.Log("Compose is not installed: the test sets its labels")
		c := start(t, spec{
			name: container, opts: opts, args: []string{"-lines", "20"},
			docker: []string{"--label", "com.docker.compose.project=" + project, "--label", "com.docker.compose.service=" + service},
		})
		c.finish(t)
	} else {
		file := filepath.Join(t.TempDir(), "compose.yml")
		text := fmt.Sprintf(`
version: "3"
services:
  %s:
    image: %s
    container_name: %s
    network_mode: none
    command: ["-name", %q, "-lines", "20"]
    labels: [%q]
    logging:
      driver: %q
      options: {%s}
`, service, image, container, container, label, tested.name, yamlOptions(opts))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run := func(args ...string) {
			args = append(compose, append([]string{"-p", project, "-f", file}, args...)...)
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		t.Cleanup(func() { run("down") })
		run("up", "-d")
	}
	to(project+"/"+service, project+"-"+container).has(t, printed(container, "stdout", 20))
}

func yamlOptions(opts []string) string {
	var pairs []string
	for _, o := range opts {
		name, value, _ := strings.Cut(o, "=")
		pairs = append(pairs, fmt.Sprintf("%s: '%s'", name, value))
	}
	return strings.Join(pairs, ", ")
}

// composeCommand returns the command of Compose, and nil if it is not installed.
func composeCommand() []string {
	for _, c := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(c[0], append(c[1:], "version")...).Run() == nil {
			return c
		}
	}
	return nil
}
