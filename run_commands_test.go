package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/cli"
	"github.com/logspool/logspool/internal/dockertest"
)

// tree returns the time of change and the contents of every file below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all[path] = info.ModTime().String()
		}
		b, _ := os.ReadFile(path)
		all[path] += string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func runCommand(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = cli.Run("test", args, &out, &err)
	return status, out.String(), err.String()
}

// The commands work while the plugin runs and after it has stopped. They change no files.
func TestUndeliveredLinesAreListedAndExported(t *testing.T) {
	r := newRig(t, "AWS_REGION=") // so nothing can be sent
	state := filepath.Join(r.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil { // the plugin listens before it makes the directory
		t.Fatal(err)
	}
	r.start()
	if status, out, errs := runCommand(t, "spool", "ls", "-u", state); status != 0 || strings.Count(out, "\n") != 1 || errs != "" {
		t.Errorf("without containers: %d, %q, %q", status, out, errs)
	}
	at := time.Now().UTC().Add(-time.Minute).Truncate(time.Second).Add(6)
	i := info("web")
	c := r.run(i)
	long := strings.Repeat("x", 40000)
	for _, w := range []struct{ source, text string }{{"stdout", "one\n"}, {"stderr", "two <&>\n"}, {"stdout", long + "\n"}} {
		if err := c.WriteAt(at, w.source, w.text); err != nil {
			t.Fatal(err)
		}
	}
	r.stopContainer(c)

	check := func(when string) {
		t.Helper()
		status, out, errs := runCommand(t, "spool", "ls", "--undelivered", "--json", state)
		var listed struct {
			Name, State string
			Undelivered struct {
				Lines  int
				Oldest time.Time
			}
		}
		if err := json.Unmarshal([]byte(out), &listed); err != nil || status != 1 || errs != "" || listed.Name != "web" || listed.Undelivered.Lines != 5 || !listed.Undelivered.Oldest.Equal(at) {
			t.Errorf("%s: %d, %q, %q, %v", when, status, out, errs, err)
		}
		status, out, errs = runCommand(t, "spool", "ls", state)
		if status != 0 || errs != "" || !strings.Contains(out, "web ("+i.ContainerID[:12]+")") || !strings.Contains(out, "5 lines, ") {
			t.Errorf("%s: %d, %q, %q", when, status, out, errs)
		}
		for _, args := range [][]string{{"cat", "web"}, {"verify", "web"}, {"verify"}} {
			if status, out, errs := runCommand(t, slices.Concat([]string{"spool", "--state-dir", state}, args)...); status != 0 || out == "" {
				t.Errorf("%s: %s: %d, %q, %q", when, args, status, out, errs)
			}
		}
		status, out, errs = runCommand(t, "spool", "export", "--state-dir", state, "web")
		stamp := at.Format(time.RFC3339Nano) + " "
		if diff := cmp.Diff(stamp+"stdout one\n"+stamp+"stderr two <&>\n"+stamp+"stdout "+long+"\n", out); diff != "" || status != 0 || errs != "" {
			t.Errorf("%s: %d, %q: %s", when, status, errs, diff)
		}
		status, out, errs = runCommand(t, "spool", "export", "--json", "--state-dir", state, i.ContainerID[:12])
		type exported struct {
			Time          time.Time `json:"time"`
			Source        string    `json:"source"`
			ContainerID   string    `json:"container_id"`
			ContainerName string    `json:"container_name,omitempty"`
			Log           string    `json:"log"`
		}
		var first exported
		err := json.NewDecoder(strings.NewReader(out)).Decode(&first)
		wantFirst := exported{Time: at, Source: "stdout", ContainerID: i.ContainerID, ContainerName: "web", Log: "one"}
		if diff := cmp.Diff(wantFirst, first); diff != "" || err != nil || status != 0 || errs != "" || strings.Count(out, "\n") != 3 {
			t.Errorf("%s: %d, %q, %v: %s", when, status, errs, err, diff)
		}
	}
	check("while the plugin runs")
	r.stop()
	before := tree(t, state)
	check("after it has stopped")
	if diff := cmp.Diff(before, tree(t, state)); diff != "" {
		t.Errorf("files have changed: %s", diff)
	}

	r.env = append(r.env, "AWS_REGION="+testRegion)
	r.start()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	r.wait(host, "web", 3)
	r.stop()
	if status, out, errs := runCommand(t, "spool", "ls", "-u", "-q", state); status != 0 || out != "" || errs != "" {
		t.Errorf("after all is delivered: %d, %q, %q", status, out, errs)
	}
}

// The operator drops a backlog that can never be delivered while the plugin does not run. Other
// lines are sent with the settings of the next start.
func TestDroppedBacklogIsNotSent(t *testing.T) {
	r := newRig(t, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=http://127.0.0.1:1")
	r.start()
	dropped, redirected := info("dropped"), info("redirected")
	for _, i := range []dockertest.Info{dropped, redirected} {
		c := r.run(i)
		if err := c.Write("stdout", "line of "+i.ContainerName+"\n"); err != nil {
			t.Fatal(err)
		}
		r.stopContainer(c)
	}
	state := filepath.Join(r.dir, "state")
	r.status("a report", anyReport)
	if status, out, errs := runCommand(t, "spool", "drop", "--yes", "--state-dir", state, "dropped"); status != 2 || out != "" || !strings.Contains(errs, "the plugin runs with ") {
		t.Errorf("while the plugin runs: %d, %q, %q", status, out, errs)
	}
	if status, out, errs := runCommand(t, "status", "--state-dir", state); status == 2 || !strings.Contains(out, "\nlogspool ") {
		t.Errorf("%d, %q, %q", status, out, errs)
	}
	r.stop()
	if status, out, errs := runCommand(t, "status", "--state-dir", state); status != 2 || out != "" || strings.Count(errs, "\n") != 1 {
		t.Errorf("after the plugin has stopped: %d, %q, %q", status, out, errs)
	}
	if status, out, errs := runCommand(t, "spool", "drop", "--yes", "--state-dir", state, "dropped"); status != 0 || !strings.Contains(out, "dropped 1 line ") {
		t.Fatalf("%d, %q, %q", status, out, errs)
	}
	r.env = append(r.env, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS="+r.service.URL())
	r.start()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := r.wait(host, "redirected", 1); got[0] != "line of /redirected" {
		t.Errorf("got %q", got)
	}
	r.stop()
	if got := r.messages(host, "dropped"); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if status, out, errs := runCommand(t, "spool", "ls", "-uq", state); status != 0 || out != "" || errs != "" {
		t.Errorf("%d, %q, %q", status, out, errs)
	}
}
