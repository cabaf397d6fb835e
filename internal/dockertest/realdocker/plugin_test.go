package realdocker

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/daemon/logger"

	"github.com/logspool/logspool/internal/cwlocal"
)

// TestPlugin drives the whole plugin with dockerd's own adapter and copier: what goes in as output of a
// container comes out of the service as its lines.
func TestPlugin(t *testing.T) {
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
	defer service.Close()
	var log bytes.Buffer
	plugin := exec.Command(binary)
	plugin.Env = []string{
		"PLUGIN_SOCKET=" + filepath.Join(dir, "plugin"), "STATE_DIR=" + filepath.Join(dir, "state"), "HOME=" + dir,
		"AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "NOEC2=1",
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + service.URL(), "DELAY=100ms", "LOGSPOUT_GROUP=g",
	}
	plugin.Stdout, plugin.Stderr = &log, &log
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		plugin.Process.Signal(syscall.SIGTERM)
		if err := plugin.Wait(); err != nil || t.Failed() {
			t.Errorf("the plugin ended: %v\n%s", err, log.String())
		}
	}()
	listening := false
	for begun := time.Now(); !listening && time.Since(begun) < time.Minute; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("unix", filepath.Join(dir, "plugin"))
		if listening = err == nil; listening {
			conn.Close()
		}
	}
	if !listening {
		t.Fatal("the plugin does not listen")
	}
	fifos := filepath.Join(dir, "fifos")
	if err := os.Mkdir(fifos, 0o700); err != nil {
		t.Fatal(err)
	}
	proxy, err := NewProxy(filepath.Join(dir, "s"), filepath.Join(dir, "plugin"), fifos)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	d, err := NewDriver(filepath.Join(dir, "s"), fifos)
	if err != nil {
		t.Fatal(err)
	}
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
