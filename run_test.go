package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
	"github.com/logspool/logspool/internal/longtest"
)

// These tests run the plugin in a process of its own, with this test's binary. dockertest replaces
// dockerd, and cwlocal replaces CloudWatch.

const testRegion = "eu-central-1"

func TestMain(m *testing.M) {
	if os.Getenv("LOGSPOOL_TEST_RUN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// rig is a host: a dockerd, a plugin, and a service.
type rig struct {
	t       *testing.T
	dir     string
	env     []string
	service *cwlocal.Server
	docker  *dockertest.Daemon
	plugin  *hosttest.Program
}

// newRig makes a host. The plugin has the settings env, KEY=value, and those it needs to reach the
// service.
func newRig(t *testing.T, env ...string) *rig { return newRigAt(t, time.Now, env...) }

// newRigAt makes a host with a service that has its own clock.
func newRigAt(t *testing.T, now func() time.Time, env ...string) *rig {
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{"AKIDEXAMPLE": "secret"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	dir := t.TempDir()
	docker, err := dockertest.NewDaemon(dockertest.Options{Socket: filepath.Join(dir, "s"), Dir: filepath.Join(dir, "fifos")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(docker.Kill)
	r := &rig{t: t, dir: dir, service: service, docker: docker}
	r.env = append([]string{
		"LOGSPOOL_TEST_RUN=1", "GORACE=atexit_sleep_ms=0",
		"PLUGIN_SOCKET=" + filepath.Join(dir, "s"), "STATE_DIR=" + filepath.Join(dir, "state"),
		"AWS_REGION=" + testRegion, "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + service.URL(), "AWS_ENDPOINT_URL_STS=" + service.URL(), "NOEC2=1", "DELAY=100ms", "HOME=" + dir,
		"PATH=" + os.Getenv("PATH"),
	}, env...)
	return r
}

// start starts the plugin and returns when it listens.
func (r *rig) start() {
	r.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = r.env
	plugin, err := hosttest.StartProgram("the plugin", cmd, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.plugin = plugin
	r.t.Cleanup(func() {
		plugin.Kill()
		if r.t.Failed() {
			r.t.Logf("the plugin's log:\n%.6000s", plugin.Log.String())
		}
	})
	if err := plugin.WaitLogged("logspool is listening", time.Minute); err != nil {
		r.t.Fatal(err)
	}
}

// stop stops the plugin as dockerd does, and checks that it exits with status 0.
func (r *rig) stop() {
	r.t.Helper()
	if err := r.plugin.Stop(time.Minute); err != nil {
		r.t.Error(err)
	}
}

// patience returns a context that makes a failing test end with its own message. A test that passes
// does not depend on it.
func patience(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), time.Minute)
}

func info(name string) dockertest.Info {
	return dockertest.Info{ContainerID: dockertest.NewID(), ContainerName: "/" + name, ContainerImageName: "image:1"}
}

func (r *rig) run(i dockertest.Info) *dockertest.Container {
	r.t.Helper()
	c, err := r.docker.Start(r.t.Context(), i)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) stopContainer(c *dockertest.Container) {
	r.t.Helper()
	if err := c.Stop(r.t.Context()); err != nil {
		r.t.Error(err)
	}
}

// wait waits until the stream has n events, and returns their messages in order.
func (r *rig) wait(group, stream string, n int) []string {
	r.t.Helper()
	ctx, cancel := patience(r.t)
	defer cancel()
	if err := r.service.WaitEvents(ctx, testRegion, group, stream, int64(n)); err != nil {
		r.t.Fatalf("%s %s: %d events are there, want %d: %v", group, stream, len(r.messages(group, stream)), n, err)
	}
	return r.messages(group, stream)
}

func (r *rig) messages(group, stream string) (messages []string) {
	for _, e := range r.service.Sorted(testRegion, group, stream) {
		messages = append(messages, e.Message)
	}
	return messages
}

// refusedNothing checks that the strict service accepted every request.
func (r *rig) refusedNothing() {
	r.t.Helper()
	for _, refusal := range r.service.Refusals() {
		r.t.Errorf("the service refused a request: %+v", refusal)
	}
}

// write writes lines of the sequence to the container.
func write(t *testing.T, c *dockertest.Container, s *dockertest.Sequence, lines, size int) {
	for range lines {
		if err := c.Write(s.Source, s.Next(size)+"\n"); err != nil {
			t.Error(err)
			return
		}
	}
}

// arrived waits for the stream's messages, and checks that they are the lines of the sequence, each
// once and in order.
func (r *rig) arrived(group, stream string, s dockertest.Sequence) {
	r.t.Helper()
	var check dockertest.Checker
	check.Written(s)
	for _, m := range r.wait(group, stream, s.N) {
		check.Arrived(m)
	}
	if err := check.Result().Err(); err != nil {
		r.t.Errorf("%s: %v", s.Container, err)
	}
}

// A stopped container also leaves no files.
func TestBothOutputsArriveUnderTheDefaultNames(t *testing.T) {
	r := newRig(t)
	r.start()
	c := r.run(info("web"))
	c.Write("stdout", "one\n")
	c.Write("stderr", "two\n\nthree \"quoted\" \xff\r\n")
	c.Write("stdout", strings.Repeat("x", 40000)+"\n"+"no newline at the end")
	r.stopContainer(c)
	host, _ := os.Hostname()
	got := r.wait(host, "web", 5)
	want := []string{"one", "two", "three \"quoted\" \ufffd\r", strings.Repeat("x", 40000), "no newline at the end"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %.200q, want %.200q", got, want)
	}
	r.refusedNothing()
	containers := filepath.Join(r.dir, "state", "containers")
	for deadline := time.Now().Add(30 * time.Second); ; {
		if left, _ := os.ReadDir(containers); len(left) == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%v is left behind", left)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.stop()
}

// Log options, the environment and labels of a container set the group and the stream, and
// {{.Source}} splits the outputs.
func TestNamesComeFromOptionsAndEnvironment(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=plugin-group")
	r.start()
	for _, tc := range []struct {
		name                  string
		info                  dockertest.Info
		group, stdout, stderr string
	}{
		{"defaults", dockertest.Info{}, "plugin-group", "defaults", "defaults"},
		{"options", dockertest.Info{
			Config:          map[string]string{"awslogs-group": "g/{{.ImageName}}", "stream": `{{.Lbl "a.b"}}-{{.Source}}`},
			ContainerLabels: map[string]string{"a.b": "label:x"}, ContainerEnv: []string{"LOGSPOUT_GROUP=loses"},
		}, "g/image_1", "label_x-stdout", "label_x-stderr"},
		{"environment", dockertest.Info{ContainerEnv: []string{"LOGSPOUT_STREAM={{.Host}}.{{.Env.A}}", "HOSTNAME=h", "A=a"}}, "plugin-group", "h.a", "h.a"},
		{"fallback", dockertest.Info{ContainerEnv: []string{`LOGSPOUT_STREAM={{.Lbl "missing"}}`}}, "plugin-group", "fallback", "fallback"},
	} {
		i := tc.info
		i.ContainerID, i.ContainerName, i.ContainerImageName = dockertest.NewID(), "/"+tc.name, "image:1"
		c := r.run(i)
		c.Write("stdout", "to stdout\n")
		c.Write("stderr", "to stderr\n")
		r.stopContainer(c)
		if tc.stdout == tc.stderr {
			if got := r.wait(tc.group, tc.stdout, 2); got[0] != "to stdout" || got[1] != "to stderr" {
				t.Errorf("%s: got %q", tc.name, got)
			}
			continue
		}
		if got := r.wait(tc.group, tc.stdout, 1); got[0] != "to stdout" {
			t.Errorf("%s: got %q", tc.name, got)
		}
		if got := r.wait(tc.group, tc.stderr, 1); got[0] != "to stderr" {
			t.Errorf("%s: got %q", tc.name, got)
		}
	}
	ignored := info("ignored")
	ignored.ContainerEnv = []string{"LOGSPOUT=ignore"}
	c := r.run(ignored)
	c.Write("stdout", strings.Repeat("not sent\n", 20000)) // more than a pipe holds: it is read
	r.stopContainer(c)
	last := r.run(info("last"))
	last.Write("stdout", "last\n")
	r.stopContainer(last)
	r.wait("plugin-group", "last", 1)
	if got := r.messages("plugin-group", "ignored"); len(got) > 0 {
		t.Errorf("%d lines of an ignored container were sent", len(got))
	}
	r.refusedNothing()
	r.stop()
}

func TestLinesOfFiveBusyContainersArriveOnceAndInOrder(t *testing.T) { testFiveContainers(t, 10_000) }

func TestLong_LinesOfFiveBusyContainersArriveOnceAndInOrder(t *testing.T) {
	longtest.Skip(t)
	testFiveContainers(t, 100_000)
}

func testFiveContainers(t *testing.T, lines int) {
	r := newRig(t, "LOGSPOUT_GROUP=load")
	r.start()
	var wg sync.WaitGroup
	sequences := make([]dockertest.Sequence, 5)
	for i := range sequences {
		s := &sequences[i]
		s.Container, s.Source = fmt.Sprintf("c%d", i), "stdout"
		c := r.run(info(s.Container))
		wg.Go(func() {
			write(t, c, s, lines, 60+i*20)
			r.stopContainer(c)
		})
	}
	wg.Wait()
	for _, s := range sequences {
		r.arrived("load", s.Container, s)
	}
	r.refusedNothing()
	r.stop()
}

// Only the batches in flight at a kill may arrive twice.
func TestKillUnderLoadLosesNothing(t *testing.T) {
	kills := 8
	r := newRig(t, "LOGSPOUT_GROUP=kill")
	r.start()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	sequences := make([]dockertest.Sequence, 5)
	for i := range sequences {
		s := &sequences[i]
		s.Container, s.Source = fmt.Sprintf("c%d", i), "stdout"
		c := r.run(info(s.Container))
		wg.Go(func() {
			for {
				select {
				case <-stop:
					r.stopContainer(c)
					return
				default:
					write(t, c, s, 100, 120)
					time.Sleep(20 * time.Millisecond) // the load, not a wait: 5,000 lines a second
				}
			}
		})
	}
	for i := range kills {
		// Wait for an event, so that each process has done something before it dies.
		if err := r.service.WaitEvents(t.Context(), testRegion, "kill", "c0", int64(100*(i+1))); err != nil {
			t.Fatal(err)
		}
		r.plugin.Kill()
		r.start()
	}
	close(stop)
	wg.Wait()
	for _, s := range sequences {
		var check dockertest.Checker
		check.Written(s)
		r.wait("kill", s.Container, s.N)
		delivered := func() bool {
			seen := map[string]bool{}
			for _, m := range r.messages("kill", s.Container) {
				seen[m] = true
			}
			return len(seen) == s.N
		}
		if err := r.service.Wait(t.Context(), delivered); err != nil {
			t.Errorf("%s: %v", s.Container, err)
		}
		for _, e := range r.service.Sorted(testRegion, "kill", s.Container) {
			check.Arrived(e.Message)
		}
		result := check.Result()
		if result.Missing+result.Damaged+result.Unknown > 0 {
			t.Errorf("%s: %v", s.Container, result.Err())
		}
		// Each kill can double the stream's batches in flight, of at most 10,000 events. Here
		// they hold the events of about 100 ms.
		if result.Doubled > kills*10_000 {
			t.Errorf("%s: %d of %d lines doubled by %d kills", s.Container, result.Doubled, s.N, kills)
		}
		t.Logf("%s: %d lines, %d doubled", s.Container, s.N, result.Doubled)
	}
	r.refusedNothing()
}

// If the default is harmless, containers start and lines are sent. The error in the log says what
// applies instead.
func TestInvalidSettingLeavesTheDefault(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=g", "DELAY=soon", "GZIP=perhaps", "SPOOL_MAX_SIZE=8g", "LOGSPOUT_STREAM={{.Nmae}}", "GROUP_TAGS=team")
	r.start()
	s := dockertest.Sequence{Container: "web", Source: "stdout"}
	c := r.run(info("web"))
	write(t, c, &s, 1000, 100)
	r.stopContainer(c)
	r.arrived("g", "web", s)
	r.stop()
	for _, want := range []string{
		`level=ERROR msg="a setting is invalid" setting=DELAY err="'soon' is not a duration: use seconds`,
		`applies="4 (the default)"`, "setting=GZIP", "setting=SPOOL_MAX_SIZE", "setting=LOGSPOUT_STREAM", "setting=GROUP_TAGS",
	} {
		if !strings.Contains(r.plugin.Log.String(), want) {
			t.Errorf("the log does not have %s", want)
		}
	}
}

// An invalid setting leaves undecided where lines go. Containers start and stop, and their
// lines are sent when the setting is fixed. The lines of a container with an own option are
// sent at once.
func TestLinesAreHeldWhileTheirDestinationIsUndecided(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=g")
	good := r.env
	r.env = append(slices.Clone(good), "ROUTE=cloudwatch://"+testRegion+"x") // AWS_REGION is valid
	r.start()
	s := dockertest.Sequence{Container: "held", Source: "stdout"}
	held := r.run(info("held"))
	write(t, held, &s, 1000, 100)
	r.stopContainer(held)
	own := info("own")
	own.Config = map[string]string{"region": testRegion}
	c := r.run(own)
	c.Write("stdout", "a line\n")
	r.stopContainer(c)
	r.wait("g", "own", 1)
	if n := len(r.messages("g", "held")); n != 0 {
		t.Errorf("%d lines were sent", n)
	}
	r.stop()
	if log := r.plugin.Log.String(); !strings.Contains(log, `setting=ROUTE`) || !strings.Contains(log, "are spooled but not sent") {
		t.Errorf("the log does not say that lines are held: %s", log)
	}
	r.env = good
	r.start()
	r.arrived("g", "held", s)
	r.stop()
}

func TestInvalidSettingIsLoggedEveryTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, nil))
		stop := reportProblems(log, []config.Problem{{Setting: "DELAY", Text: "x", Applies: "4"}, {Setting: "GZIP", Text: "y", Applies: "on"}})
		time.Sleep(time.Hour)
		stop()
		for _, setting := range []string{"DELAY", "GZIP"} {
			if n := strings.Count(out.String(), `level=ERROR msg="a setting is invalid" setting=`+setting); n != 6 {
				t.Errorf("%s was logged %d times in an hour:\n%s", setting, n, out.String())
			}
		}
	})
}

// The requests do not disturb a running container.
func TestInvalidRequestsAreAnswered(t *testing.T) {
	r := newRig(t, "LOGSPOUT_GROUP=g")
	r.start()
	ctx := t.Context()
	c := r.run(info("web"))
	c.Write("stdout", "before\n")
	for _, tc := range []struct {
		method, body string
		status       int
		want         string
	}{
		{"LogDriver.StartLogging", "", 400, "no body"},
		{"LogDriver.StopLogging", "", 200, `"Err":""`}, // an error would leak the stream in dockerd
		{"LogDriver.StartLogging", "{", 400, "JSON"},
		{"LogDriver.StartLogging", "null", 200, "File"},
		{"LogDriver.StartLogging", `{"File":"relative","Info":{}}`, 200, "absolute"},
		{"LogDriver.StartLogging", `{"File":"/a/../b","Info":{}}`, 200, "absolute"},
		{"LogDriver.StartLogging", `{"File":"/f","Info":{"ContainerID":"../../x"}}`, 200, "ID"},
		{"LogDriver.StartLogging", `{"File":"/f","Info":{"ContainerID":""}}`, 200, "ID"},
		{"LogDriver.StartLogging", `{"File":"/f","Info":{"ContainerID":"x","Config":{"strem":"y"}}}`, 200, `\"stream\"`},
		{"LogDriver.StartLogging", `{"File":"/etc/passwd","Info":{"ContainerID":"x"}}`, 200, "FIFO"},
		{"LogDriver.StartLogging", `{"File":"/nowhere/f","Info":{"ContainerID":"x"}}`, 200, "no such file"},
		{"LogDriver.StartLogging", `[1,2]`, 400, "JSON"},
		{"LogDriver.StopLogging", `{"File":"/unknown"}`, 200, `"Err":""`},
		{"LogDriver.StopLogging", `{}`, 200, `"Err":""`},
		{"LogDriver.Capabilities", `nonsense`, 200, `"ReadLogs":true`},
		{"LogDriver.ReadLogs", "", 400, "no body"},
		{"LogDriver.ReadLogs", `[1,2]`, 400, "JSON"},
		{"LogDriver.ReadLogs", `{"Info":{"ContainerID":"../../x"},"Config":{"Tail":-1}}`, 500, `"Err":`},
		{"LogDriver.ReadLogs", `{"Info":{"ContainerID":"unknown"},"Config":{"Tail":-7}}`, 200, ""},
		{"Plugin.Activate", ``, 200, "LogDriver"},
	} {
		status, answer, err := r.docker.Post(ctx, tc.method, []byte(tc.body))
		if err != nil || status != tc.status || !bytes.Contains(answer, []byte(tc.want)) {
			t.Errorf("%s %.80q: status %d, %.300q, %v; want %d and %q", tc.method, tc.body, status, answer, err, tc.status, tc.want)
		}
	}
	// The same StartLogging twice, and StopLogging twice.
	if err := r.docker.StartLogging(ctx, c.File, c.Info); err != nil {
		t.Error(err)
	}
	c.Write("stdout", "after\n")
	r.stopContainer(c)
	if err := r.docker.StopLogging(ctx, c.File); err != nil {
		t.Error(err)
	}
	if got := r.wait("g", "web", 2); got[0] != "before" || got[1] != "after" || len(got) != 2 {
		t.Errorf("got %q", got)
	}
	r.stop()
}

func TestSocketOfARunningPluginIsNotReplaced(t *testing.T) {
	r := newRig(t)
	r.start()
	err := run(context.Background(), append(r.env, "STATE_DIR="+t.TempDir()), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("run: %v", err)
	}
	r.stop()
}

// TestLong_Times logs how long dockerd waits for the plugin while CloudWatch hangs. It checks
// nothing. Run it with `LOGSPOOL_LONG=1 go test -v -run TestLong_Times .`
func TestLong_Times(t *testing.T) {
	longtest.Skip(t)
	r := newRig(t, "LOGSPOUT_GROUP=g")
	r.service.AddFault(cwlocal.Fault{Kind: cwlocal.Hang})
	begun := time.Now()
	r.start()
	t.Logf("from the start of the process until it listens: %v", time.Since(begun).Round(time.Millisecond))
	var starts, stops, waits time.Duration
	for i := range 100 {
		begun := time.Now()
		c := r.run(info(fmt.Sprintf("c%d", i)))
		starts = max(starts, time.Since(begun))
		s := dockertest.Sequence{Container: "c", Source: "stdout"}
		write(t, c, &s, 100, 100)
		begun = time.Now()
		r.stopContainer(c)
		stops = max(stops, time.Since(begun))
		waits = max(waits, c.LongestWrite())
	}
	t.Logf("slowest of 100 with the service hanging: StartLogging %v, StopLogging %v, a container's write %v",
		starts.Round(time.Microsecond), stops.Round(time.Microsecond), waits.Round(time.Microsecond))
	begun = time.Now()
	r.stop()
	t.Logf("from SIGTERM to the end, with 100 containers' lines undelivered: %v", time.Since(begun).Round(time.Millisecond))
}
