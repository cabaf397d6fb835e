package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/installed"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/statusserver"
)

// checker returns the checks of the world's host.
func (w *world) checker() *checker { return newChecker(*w.Options) }

func TestEngineVersions(t *testing.T) {
	for version, want := range map[string]State{
		"28.5.2": OK, "20.10.0": OK, "20.10.24+dfsg1": OK, "v27.0.0-rc.1": OK, "99999999999999999999.0": OK,
		"20.9.1": Bad, "19.03.15": Bad, "1.13.1": Bad, "library-import": Unknown, "": Unknown,
	} {
		c := &checker{Options: Options{Engine: &installed.Engine{Version: version}}}
		if r := c.checkEngine(t.Context())[0]; r.State != want {
			t.Errorf("%q: got %+v, want %s", version, r, want)
		}
	}
	c := &checker{Options: Options{EngineErr: errors.New("no answer")}}
	if r := c.checkEngine(t.Context())[0]; r.State != Unknown || r.Detail != "no answer" {
		t.Errorf("got %+v", r)
	}
}

func TestDaemonJSON(t *testing.T) {
	for _, test := range []struct {
		name, file, flags, docker string
		want                      State
		detail                    string
	}{
		{name: "no file", want: OK},
		{name: "empty object", file: `{}`, want: OK},
		{name: "log-opts of a built-in driver", file: `{"log-driver":"json-file","log-opts":{"max-size":"1m"}}`, want: OK},
		{name: "log-opts without a driver", file: `{"log-opts":{"max-size":"1m"}}`, want: OK},
		{name: "no log-opts", file: `{"log-driver":"logspool"}`, want: OK, detail: "no log-opts"},
		{name: "empty log-opts", file: `{"log-driver":"logspool:latest","log-opts":{}}`, want: OK},
		{name: "log-opts", file: `{"log-driver":"logspool","log-opts":{"group":"g"}}`, want: Bad, detail: "log-opts (group)"},
		{name: "not JSON", file: `{"log-driver":`, want: Bad, detail: "couldn't read"},
		{name: "wrong type", file: `{"log-driver":7}`, want: Unknown},
		{name: "flags", flags: "--log-driver=logspool\x00--log-opt\x00group=secret\x00", want: Bad, detail: "command line has log-opts (group)"},
		{name: "other file", flags: "--config-file=/nowhere.json\x00", file: `{"log-driver":"logspool","log-opts":{"group":"g"}}`, want: OK},
		{
			name: "missing plugin", file: `{"log-driver":"other"}`, want: Bad, detail: "other, which is not installed",
			docker: `"plugin inspect"*) echo "Error: No such plugin: other" >&2; exit 1 ;;`,
		},
		{
			name: "disabled plugin", file: `{"log-driver":"other"}`, want: Bad, detail: "other, which is disabled",
			docker: `"plugin inspect"*) echo false ;;`,
		},
		{
			name: "enabled plugin", file: `{"log-driver":"other"}`, want: OK, detail: "other",
			docker: `"plugin inspect"*) echo true ;;`,
		},
		{
			name: "engine down", file: `{"log-driver":"other"}`, want: Unknown, detail: "Cannot connect",
			docker: `"plugin inspect"*) echo "Cannot connect to the Docker daemon" >&2; exit 1 ;;`,
		},
	} {
		w := newWorld(t, cwlocal.Options{})
		w.docker(test.docker)
		if test.file != "" {
			w.write("daemon.json", test.file)
		}
		w.write("proc/100/cmdline", "/usr/bin/dockerd\x00"+test.flags)
		r := w.checker().checkDaemonJSON(t.Context())
		if len(r) != 1 || r[0].State != test.want || !strings.Contains(r[0].Detail, test.detail) {
			t.Errorf("%s: got %+v, want %s and %q", test.name, r, test.want, test.detail)
		}
		if strings.Contains(fmt.Sprint(r), "secret") {
			t.Errorf("%s: the value of an option is shown: %+v", test.name, r)
		}
	}
}

// The plugin's own process counts, and otherwise the dockerd with the engine's data root.
func TestDescriptorsOfTheRightProcess(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	detail := func() string { return w.checker().checkDescriptors(t.Context())[0].Detail }
	w.write("proc/99/comm", "dockerd\n") // another engine
	w.write("proc/99/cmdline", "dockerd\x00--data-root\x00/elsewhere\x00")
	w.limit("99", 64)
	if got := detail(); !strings.HasPrefix(got, "the limit of 1024 ") {
		t.Errorf("got %q", got)
	}
	w.write("proc/101/comm", "dockerd\n")
	w.write("proc/101/cmdline", "dockerd\x00--data-root="+w.Engine.Root+"/\x00")
	w.limit("101", 2048)
	if got := detail(); !strings.HasPrefix(got, "the limit of 2048 ") {
		t.Errorf("got %q", got)
	}
	for pid, id := range map[string]string{"200": "another", "201": pluginID} {
		w.write("proc/"+pid+"/comm", "logspool\n")
		w.write("proc/"+pid+"/mountinfo", "1 2 0:3 /plugins/"+id+"/propagated-mount /run/docker/logging rw\n")
	}
	w.limit("200", 16)
	w.limit("201", 4096)
	if got := detail(); !strings.HasPrefix(got, "the limit of 4096 ") {
		t.Errorf("got %q", got)
	}
	w.write("proc/201/limits", "Max open files  unlimited unlimited files\n")
	if got := detail(); !strings.HasPrefix(got, "the limit of 2147483647 ") {
		t.Errorf("got %q", got)
	}
}

// Containers with another log driver need none of the plugin's descriptors.
func TestDescriptorsCountOnlyOwnContainers(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	w.limit("100", 8)
	w.docker(`ps*) echo a b c d e ;;
inspect*) echo logspool json-file json-file json-file json-file ;;`)
	if r := w.checker().checkDescriptors(t.Context())[0]; r.State != OK || !strings.HasSuffix(r.Detail, "; 1 run") {
		t.Errorf("got %+v", r)
	}
	w.docker(`ps*) echo "Cannot connect" >&2; exit 1 ;;`)
	if r := w.checker().checkDescriptors(t.Context())[0]; r.State != Unknown || !strings.Contains(r.Detail, "4 containers") {
		t.Errorf("got %+v", r)
	}
}

// What the spools have already is not needed again.
func TestDiskCountsWhatTheSpoolsHave(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	w.env("SPOOL_TOTAL_SIZE", "10241m") // a MiB more than is free
	if r := w.checker().checkDisk(t.Context())[0]; r.State != Bad {
		t.Errorf("got %+v", r)
	}
	if err := os.WriteFile(filepath.Join(w.Plugin.StateDir(), "spool"), make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.checker().checkDisk(t.Context())[0]; r.State != OK {
		t.Errorf("got %+v", r)
	}
}

// Nothing is said about the files of an engine on another host.
func TestRemoteEngineHasNoLocalFiles(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	w.Engine.Root, w.Plugin.Dir = "/nowhere/docker", ""
	results := w.run()
	for _, name := range []string{"daemon.json", "aws files", "disk", "descriptors"} {
		if r := find(t, results, name); r.State != Unknown || r.Detail != "the engine is on another host" {
			t.Errorf("got %+v", r)
		}
	}
}

func TestRelativeSourceOfAWSFilesIsBad(t *testing.T) {
	for _, source := range []string{"", ".aws"} {
		w := newWorld(t, cwlocal.Options{})
		w.Plugin.Mounts["aws"] = source
		if r := find(t, w.run(), "aws files"); r.State != Bad || !strings.Contains(r.Detail, "not an absolute path") {
			t.Errorf("got %+v", r)
		}
	}
}

func TestDeliveryShowsWhatThePluginReports(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	report := &status.Report{}
	var err error
	w.Status = func(context.Context) (*status.Report, error) { return report, err }
	check := func(state State, detail string) {
		t.Helper()
		if r := find(t, w.checker().checkDelivery(t.Context()), "delivery"); r.State != state || !strings.Contains(r.Detail, detail) {
			t.Errorf("got %+v, want %s and %q", r, state, detail)
		}
	}
	check(OK, "no failure")
	report.Faults = []status.Fault{{What: "sending failed", Err: "no\nway", Remedy: "try", Attrs: map[string]string{"group": "g"}}}
	check(Bad, "sending failed (group g): no way")
	report.Faults = nil
	report.Containers = []status.Container{{Name: "web", Undelivered: status.Backlog{Bytes: 79}, Spool: status.Spool{Limit: 100}}}
	check(OK, "1 containers")
	report.Containers[0].Undelivered.Bytes = 80
	check(Bad, "the spool of the container web has 80 undelivered bytes of at most 100")
	err = errors.New("connection refused")
	check(Unknown, "connection refused")
	err = fmt.Errorf("status.sock: %w", statusserver.ErrNotRunning)
	check(Bad, "it does not answer: status.sock")
}

func TestEC2Metadata(t *testing.T) {
	for _, test := range []struct {
		name   string
		env    map[string]string
		want   State
		detail string
	}{
		{"an instance", nil, OK, "instance i-0123456789abcdef0"},
		{"NOEC2", map[string]string{"NOEC2": "1"}, OK, "not used"},
		{"disabled", map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, OK, "not used"},
		{"elsewhere", map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": refusingURL()}, OK, "does not answer"},
		{"needed elsewhere", map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": refusingURL(), "LOGSPOUT_GROUP": "{{.InstanceID}}"}, Bad, "uses .InstanceID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, cwlocal.Options{})
			metadata := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/latest/api/token":
					rw.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
					fmt.Fprint(rw, "token")
				case "/latest/meta-data/instance-id":
					fmt.Fprint(rw, "i-0123456789abcdef0")
				case "/latest/dynamic/instance-identity/document":
					fmt.Fprint(rw, `{"region":"eu-north-1"}`)
				default:
					http.NotFound(rw, r)
				}
			}))
			defer metadata.Close()
			w.env("NOEC2", "")
			w.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
			if test.env == nil {
				w.env("AWS_REGION", "")
			}
			for name, value := range test.env {
				w.env(name, value)
			}
			results := w.run()
			if r := find(t, results, "EC2 metadata"); r.State != test.want || !strings.Contains(r.Detail, test.detail) {
				t.Errorf("got %+v", r)
			}
			if r := find(t, results, "region"); test.env == nil && r.Detail != "eu-north-1, from EC2 metadata" {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// A check that hangs does not keep the others from running, and does not delay the results
// beyond its limit.
func TestCheckThatHangsIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer synctest.Wait()
		defer close(release)
		begin := time.Now()
		hangs := step{"disk", func(context.Context) []Result { <-release; return nil }}.start(t.Context(), time.Minute)
		waits := step{"region", func(ctx context.Context) []Result { <-ctx.Done(); return []Result{good("region", "late")} }}.start(t.Context(), time.Minute)
		works := step{"clock", func(context.Context) []Result { return []Result{good("clock", "fine")} }}.start(t.Context(), time.Minute)
		if r := <-works; r[0].State != OK || time.Since(begin) != 0 {
			t.Errorf("got %+v after %v", r, time.Since(begin))
		}
		if r := <-waits; r[0].State != OK || time.Since(begin) != time.Minute {
			t.Errorf("got %+v after %v", r, time.Since(begin))
		}
		if r := <-hangs; len(r) != 1 || r[0].State != Unknown || r[0].Check != "disk" || time.Since(begin) > 2*time.Minute {
			t.Errorf("got %+v after %v", r, time.Since(begin))
		}
	})
}

// Run ends soon after its context, whatever hangs.
func TestRunEndsWithItsContext(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.onRequest.Store(new(func(operation string) {
		if operation == "PutLogEvents" {
			cancel()
		}
	}))
	w.fault(cwlocal.Fault{Kind: cwlocal.Hang})
	results := Run(ctx, *w.Options)
	for _, name := range permissions {
		if r := find(t, results, name); r.State != Unknown || !strings.Contains(r.Detail, "--wait") {
			t.Errorf("got %+v", r)
		}
	}
}

// A text from outside is one printable line without secrets.
func TestResultsAreOneSafeLine(t *testing.T) {
	r := bad("x", "a\nb", "%s", "\x1b[31mred\r\nhttp://me:pw@host Authorization: Basic abc")
	if want := `\x1b[31mred http://…@host …`; r.Detail != want || r.Remedy != "a b" {
		t.Errorf("got %q and %q, want %q", r.Detail, r.Remedy, want)
	}
	if n := len(good("x", "%s", strings.Repeat("é", 10_000)).Detail); n > maxText+len("…") {
		t.Errorf("%d bytes", n)
	}
}
