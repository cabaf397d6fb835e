package realdocker

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/daemon/logger"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/hosttest"
)

// startPlugin builds the plugin, starts it with a stand-in for the service, and returns a
// Driver for it.
func startPlugin(t *testing.T) (*Driver, *cwlocal.Server) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "logspool")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{"AKIDEXAMPLE": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	cmd := exec.Command(binary)
	cmd.Env = []string{
		"PLUGIN_SOCKET=" + filepath.Join(dir, "plugin"), "STATE_DIR=" + filepath.Join(dir, "state"), "HOME=" + dir,
		"AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "NOEC2=1",
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + service.URL(), "AWS_ENDPOINT_URL_STS=" + service.URL(), "DELAY=100ms", "LOGSPOUT_GROUP=g",
	}
	plugin, err := hosttest.StartProgram("the plugin", cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plugin.Stop(time.Minute); err != nil || t.Failed() {
			t.Errorf("%v; the plugin's log:\n%s", err, plugin.Log.String())
		}
	})
	if err := plugin.WaitLogged("logspool is listening", time.Minute); err != nil {
		t.Fatal(err)
	}
	fifos := filepath.Join(dir, "fifos")
	if err := os.Mkdir(fifos, 0o700); err != nil {
		t.Fatal(err)
	}
	proxy, err := NewProxy(filepath.Join(dir, "s"), filepath.Join(dir, "plugin"), fifos)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	d, err := NewDriver(filepath.Join(dir, "s"), fifos)
	if err != nil {
		t.Fatal(err)
	}
	return d, service
}

// TestPlugin: output that dockerd's own adapter and copier send to the plugin arrives in
// the service, line by line.
func TestPlugin(t *testing.T) {
	d, service := startPlugin(t)
	var output strings.Builder
	var want []string
	for i := range 5000 {
		line := fmt.Sprintf("line %d %s", i, strings.Repeat("é", i%120))
		if i%500 == 0 {
			line += strings.Repeat("0123456789", 10000) // in several pieces
		}
		want = append(want, line)
		output.WriteString(line + "\n")
	}
	c, err := d.Start(logger.Info{ContainerID: strings.Repeat("ab", 32), ContainerName: "/web"},
		map[string]io.Reader{"stdout": strings.NewReader(output.String())})
	if err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := service.WaitEvents(t.Context(), "eu-central-1", "g", "web", int64(len(want))); err != nil {
		t.Fatal(err)
	}
	got := service.Sorted("eu-central-1", "g", "web")
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i, e := range got {
		if e.Message != want[i] {
			t.Fatalf("event %d is %.80q, want %.80q", i, e.Message, want[i])
		}
	}
	if refused := service.Refusals(); len(refused) > 0 {
		t.Errorf("refused: %+v", refused)
	}
}

// read returns what a watcher receives until it ends.
func read(t *testing.T, w *logger.LogWatcher) (text string) {
	t.Helper()
	defer w.ConsumerGone()
	late := time.After(time.Minute)
	for {
		select {
		case m, ok := <-w.Msg:
			if !ok {
				select {
				case err := <-w.Err:
					t.Fatal(err)
				default:
				}
				return text
			}
			text += m.Source + " " + string(m.Line)
		case err := <-w.Err:
			t.Fatal(err)
		case <-late:
			t.Fatalf("no end, after %.300q", text)
		}
	}
}

// TestReadLogs: dockerd's adapter reads back what its copier has written.
func TestReadLogs(t *testing.T) {
	d, _ := startPlugin(t)
	info := logger.Info{ContainerID: strings.Repeat("cd", 32), ContainerName: "/web"}
	out, in := io.Pipe()
	c, err := d.Start(info, map[string]io.Reader{"stdout": out})
	if err != nil {
		t.Fatal(err)
	}
	follow, err := c.Read(t.Context(), logger.ReadConfig{Tail: -1, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("0123456789", 4000)
	begun := time.Now()
	fmt.Fprintf(in, "one\n\n%s\nmiddle\n", long)
	want := "stdout one\nstdout \nstdout " + long[:16<<10] + "stdout " + long[16<<10:32<<10] + "stdout " + long[32<<10:] + "\nstdout middle\n"
	for got := ""; got != want; {
		select {
		case m := <-follow.Msg:
			got += m.Source + " " + string(m.Line)
			if !strings.HasPrefix(want, got) {
				t.Fatalf("got %.100q", got)
			}
			if m.Timestamp.Before(begun) || m.Timestamp.After(time.Now()) {
				t.Errorf("time %v", m.Timestamp)
			}
		case err := <-follow.Err:
			t.Fatal(err)
		}
	}
	fmt.Fprint(in, "the end")
	in.Close()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, follow); got != "stdout the end" {
		t.Errorf("the follow ended with %q", got)
	}
	// As for a stopped container, to which dockerd attaches the plugin for the reading.
	c, err = d.Start(info, map[string]io.Reader{"stdout": strings.NewReader("")})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		config logger.ReadConfig
		want   string
	}{
		{logger.ReadConfig{Tail: -1}, want + "stdout the end"},
		{logger.ReadConfig{Tail: 2}, "stdout middle\nstdout the end"},
		{logger.ReadConfig{Tail: 0}, ""},
		{logger.ReadConfig{Tail: -1, Since: time.Now().Add(time.Hour)}, ""},
		{logger.ReadConfig{Tail: -1, Until: begun}, ""},
	} {
		w, err := c.Read(t.Context(), test.config)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, w); got != test.want {
			t.Errorf("%+v: got %.200q", test.config, got)
		}
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	c, err = d.Start(logger.Info{ContainerID: strings.Repeat("ef", 32), Config: map[string]string{"history-size": "0"}},
		map[string]io.Reader{"stdout": strings.NewReader("")})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Read(t.Context(), logger.ReadConfig{Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err = <-w.Err:
	case <-time.After(time.Minute):
	}
	if err == nil || !strings.Contains(err.Error(), "history-size is 0") {
		t.Errorf("without a history: %v", err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}
