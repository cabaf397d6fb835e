package check

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/installed"
)

const (
	testKey    = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	testRegion = "eu-central-1"
	pluginID   = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	userARN    = "arn:aws:iam::123456789012:user/logger"
)

// world is a host with an installed plugin, and the CloudWatch Logs and STS that it uses.
// Everything in it is good.
type world struct {
	*Options
	t       *testing.T
	cw      *cwlocal.Server
	handler http.Handler
	dir     string // dir has what fakeHost and docker read.
	aws     string // aws is the source of the mount aws.
	// onRequest is called for each request of CloudWatch Logs with its operation.
	onRequest atomic.Pointer[func(operation string)]
	// stsError is an error code that STS answers GetCallerIdentity with.
	stsError atomic.Pointer[string]
}

func newWorld(t *testing.T, o cwlocal.Options) *world {
	t.Helper()
	if o.Keys == nil {
		o.Keys = map[string]string{testKey: testSecret}
	}
	w := &world{t: t, cw: cwlocal.New(o), dir: t.TempDir(), aws: t.TempDir()}
	w.handler = http.HandlerFunc(w.serve)
	server := httptest.NewServer(w.handler)
	t.Cleanup(func() {
		w.cw.Close()
		server.Close()
		w.checkRefusals()
	})
	w.write("proc/100/comm", "dockerd\n")
	w.write("proc/100/cmdline", "/usr/bin/dockerd\x00-H\x00fd://\x00")
	w.limit("100", 1024)
	w.docker("")
	root := filepath.Join(w.dir, "docker")
	state := filepath.Join(root, "plugins", pluginID, "propagated-mount", ".state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	w.Options = &Options{
		Plugin: &installed.Plugin{
			ID: pluginID, Name: "logspool:latest", Enabled: true, Dir: filepath.Dir(filepath.Dir(state)),
			Mounts: map[string]string{"aws": w.aws, "docker": "/dev/null"},
			Env: map[string]string{
				"AWS_REGION": testRegion, "NOEC2": "1", "DELAY": "", "AWS_PROFILE": "",
				"AWS_ACCESS_KEY_ID": testKey, "AWS_SECRET_ACCESS_KEY": testSecret,
				"AWS_ENDPOINT_URL": server.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT": refusingURL(),
			},
		},
		Engine: &installed.Engine{Version: "28.5.2", Root: root},
		Group:  "check",
	}
	w.host = fakeHost(w.dir)
	return w
}

// fakeHost is the host in a directory, with a disk of 10 GiB.
func fakeHost(dir string) host {
	return host{
		proc: filepath.Join(dir, "proc"), daemonJSON: filepath.Join(dir, "daemon.json"), pause: time.Millisecond,
		statfs: func(_ string, s *unix.Statfs_t) error {
			*s = unix.Statfs_t{Frsize: 4096, Bavail: 10 << 30 / 4096, Files: 1 << 20, Ffree: 1 << 19}
			return nil
		},
	}
}

// serve serves STS's GetCallerIdentity, and passes everything else to the stand-in.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") && r.ContentLength < 100 {
		rw.Header().Set("Content-Type", "text/xml")
		if code := w.stsError.Load(); code != nil {
			rw.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(rw, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error></ErrorResponse>`, *code)
			return
		}
		fmt.Fprintf(rw, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>%s</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`, userARN)
		return
	}
	if f := w.onRequest.Load(); f != nil {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		(*f)(operation)
	}
	w.cw.ServeHTTP(rw, r)
}

// checkRefusals fails the test if a request broke a rule, except for the request without a
// signature that measures the clock.
func (w *world) checkRefusals() {
	for _, r := range w.cw.Refusals() {
		if r.Operation != "unknown" && !strings.Contains(r.Message, "KMS") && !strings.HasPrefix(r.Message, "Signature ") && !strings.Contains(r.Code, "UnrecognizedClient") {
			w.t.Errorf("refused: %+v", r)
		}
	}
}

// write writes a file of the fake host.
func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) limit(pid string, files int) {
	w.write("proc/"+pid+"/limits", fmt.Sprintf("Limit                     Soft Limit           Hard Limit           Units     \n"+
		"Max processes             unlimited            unlimited            processes \n"+
		"Max open files            1024                 %d                 files     \n", files))
}

// docker puts a docker command into the PATH. script is a shell script, which begins with
// "case $*" and has the patterns of the arguments.
func (w *world) docker(cases string) {
	w.write("bin/docker", "#!/bin/sh\ncase \"$*\" in\n"+cases+"\nps*) ;;\n*) echo \"unexpected: $*\" >&2; exit 1 ;;\nesac\n")
	w.t.Setenv("PATH", filepath.Join(w.dir, "bin")+":/usr/bin:/bin")
}

// run runs the checks. Whatever they find, they leave no log group behind.
func (w *world) run() []Result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	before := fmt.Sprint(os.Environ())
	results := Run(ctx, *w.Options)
	if after := fmt.Sprint(os.Environ()); after != before {
		w.t.Errorf("the environment is %s, was %s", after, before)
	}
	w.checkResults(results)
	return results
}

// checkResults checks what is true of all results.
func (w *world) checkResults(results []Result) {
	w.t.Helper()
	for _, r := range results {
		if (r.State == Bad) != (r.Remedy != "") {
			w.t.Errorf("a bad result, and only a bad one, has a remedy: %+v", r)
		}
		if strings.ContainsAny(r.Detail+r.Remedy, "\n\r\x1b") {
			w.t.Errorf("not one line: %+q", r)
		}
		if strings.Contains(r.Detail+r.Remedy, testSecret) {
			w.t.Errorf("a secret is shown: %+v", r)
		}
	}
}

func (w *world) groups() (names []string) {
	for _, g := range w.cw.Groups() {
		names = append(names, g.Name)
	}
	return names
}

// closedPort is a port of this host that refuses connections.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
