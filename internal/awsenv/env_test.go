package awsenv

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// logged returns a logger, and a function that returns the lines that were logged.
func logged() (*slog.Logger, func() []string) {
	var mu sync.Mutex
	var b bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	})
	return slog.New(slog.NewTextHandler(w, nil)), func() []string {
		mu.Lock()
		defer mu.Unlock()
		if b.Len() == 0 {
			return nil
		}
		return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// retryAtOnce removes the pause after a failed look-up.
func retryAtOnce(e *Env) *Env {
	for _, l := range []*lookup{e.region, e.instance.id} {
		l.backoff.min, l.backoff.max = 0, 0
	}
	return e
}

// withoutInstanceWait makes names wait for one look-up of the instance ID only.
func withoutInstanceWait(e *Env) *Env {
	e.instance.deadline = func() time.Time { return time.Time{} }
	return e
}

func wantInstance(t *testing.T, e *Env, want string) {
	t.Helper()
	if got, err := e.InstanceID(t.Context()); got != want || err != nil {
		t.Errorf("InstanceID() = %q, %v; want %q", got, err, want)
	}
}

func TestRegionComesFromTheFirstSourceThatHasOne(t *testing.T) {
	config := map[string]string{"config": "[default]\nregion = eu-west-3\n[profile other]\nregion = sa-east-1\n"}
	for _, c := range []struct {
		name  string
		route string
		env   map[string]string
		files map[string]string
		want  string
		ec2   bool // the metadata service is asked
	}{
		{name: "route first", route: "ap-south-1", env: map[string]string{"AWS_REGION": "us-west-2"}, files: config, want: "ap-south-1"},
		{name: "AWS_REGION", route: "auto", env: map[string]string{"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-1"}, files: config, want: "us-west-2"},
		{name: "AWS_REGION=auto is no region", env: map[string]string{"AWS_REGION": "auto", "AWS_DEFAULT_REGION": "us-west-1"}, files: config, want: "us-west-1"},
		{name: "both auto", env: map[string]string{"AWS_REGION": "AUTO", "AWS_DEFAULT_REGION": "auto"}, files: config, want: "eu-west-3"},
		{name: "empty is unset", env: map[string]string{"AWS_REGION": "", "AWS_PROFILE": ""}, files: config, want: "eu-west-3"},
		{name: "the profile's", env: map[string]string{"AWS_PROFILE": "other"}, files: config, want: "sa-east-1"},
		{name: "EC2 last", route: "Auto", want: "eu-central-1", ec2: true},
		{name: "EC2 where the file says auto", files: map[string]string{"config": "[default]\nregion = auto\n"}, want: "eu-central-1", ec2: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := startMetadata(t)
			files(t, c.files)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			e := New(Options{Region: c.route})
			for range 3 {
				got, err := e.Region(t.Context())
				if got != c.want || err != nil {
					t.Fatalf("Region() = %q, %v, want %q", got, err, c.want)
				}
			}
			if want := map[bool]int{true: 1}[c.ec2]; m.asked(identityPath) != want {
				t.Errorf("the metadata service was asked for the region %d times, want %d", m.asked(identityPath), want)
			}
			if n := m.withoutToken(); n != 0 {
				t.Errorf("%d requests of IMDSv1", n)
			}
		})
	}
}

func TestInstanceIDComesFromMetadata(t *testing.T) {
	m := startMetadata(t)
	log, lines := logged()
	e := New(Options{Log: log, Region: "eu-central-1"})
	for range 3 {
		wantInstance(t, e, "i-0123456789abcdef0")
	}
	if n := m.asked(instancePath); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if len(lines()) != 0 {
		t.Errorf("logged %q", lines())
	}
}

func TestMetadataIsNotAskedWhenOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		env   string
		wants string
	}{
		{"NOEC2", Options{NoEC2: true}, "", "NOEC2 is set"},
		{"AWS_EC2_METADATA_DISABLED", Options{}, "true", "AWS_EC2_METADATA_DISABLED is set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			forbidMetadata(t)
			files(t, nil)
			t.Setenv("AWS_EC2_METADATA_DISABLED", c.env)
			log, lines := logged()
			c.o.Log = log
			e := retryAtOnce(New(c.o))
			for range 3 {
				if got, err := e.Region(t.Context()); err == nil || !strings.Contains(err.Error(), c.wants) {
					t.Errorf("Region() = %q, %v; want an error that says %q", got, err, c.wants)
				}
				wantInstance(t, e, "")
			}
			cfg, err := e.Config(t.Context(), target.Access{})
			if err != nil {
				t.Fatal(err)
			}
			if creds, err := cfg.Credentials.Retrieve(t.Context()); err == nil {
				t.Errorf("found credentials: %v", creds.Source)
			}
			if len(lines()) != 0 {
				t.Errorf("logged %q", lines())
			}
		})
	}
}

// A metadata service that fails takes at most a second and one log line, and is tried again.
func TestFailingMetadataCostsOneTryAndOneLine(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(code)
			return true
		}
	}
	for _, c := range []struct {
		name  string
		fault func(w http.ResponseWriter, r *http.Request) bool
	}{
		{"hangs", hang},
		{"hangs after the token", func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodGet && hang(w, r)
		}},
		{"trickles", func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			return hang(w, r)
		}},
		{"403", status(403)},
		{"404", status(404)},
		{"500", status(500)},
		{"redirects", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/login", http.StatusFound)
			return true
		}},
		{"a captive portal", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			fmt.Fprint(w, "<html>Welcome to our hotel</html>")
			return true
		}},
		{"no region in it", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				fmt.Fprint(w, `{}`)
			}
			return r.Method == http.MethodGet
		}},
		{"a region that is none", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				fmt.Fprint(w, `{"region":"eu-central-1.evil.example/"}`)
			}
			return r.Method == http.MethodGet
		}},
		{"closes", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := startMetadata(t)
			files(t, nil)
			m.setFault(c.fault)
			log, lines := logged()
			e := withoutInstanceWait(New(Options{Log: log}))
			e.region.backoff.min, e.instance.id.backoff.min = time.Hour, time.Hour
			e.region.backoff.max, e.instance.id.backoff.max = time.Hour, time.Hour

			// The look-up has a time limit, although the caller's context has none.
			before := time.Now()
			region, noRegion := e.Region(t.Context())
			if noRegion == nil {
				t.Fatalf("Region() = %q", region)
			}
			wantInstance(t, e, "")
			if took := time.Since(before); took > 10*tryTimeout {
				t.Errorf("two look-ups took %v, and a try may take %v", took, tryTimeout)
			}

			// The missing instance ID is logged once, however often it is requested.
			for range 5 {
				e.Region(t.Context())
				e.InstanceID(t.Context())
			}
			got := lines()
			if len(got) != 1 {
				t.Fatalf("logged %q, want one line", got)
			}
			for _, word := range []string{"AWS_REGION", "ROUTE", "region", "NOEC2"} {
				if !strings.Contains(noRegion.Error(), word) {
					t.Errorf("the error does not say %s: %v", word, noRegion)
				}
			}
			if !strings.Contains(got[0], "NOEC2") {
				t.Errorf("the line does not say NOEC2: %s", got[0])
			}
			if n := m.withoutToken(); n != 0 {
				t.Errorf("%d requests of IMDSv1", n)
			}

			// The service starts late.
			m.setFault(nil)
			e.region.backoff.succeeded()
			e.instance.id.backoff.succeeded()
			if got, err := e.Region(t.Context()); got != "eu-central-1" || err != nil {
				t.Errorf("Region() = %q, %v after the service came", got, err)
			}
			wantInstance(t, e, "i-0123456789abcdef0")
		})
	}
}

func TestRefusingMetadataService(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", refusingURL())
	files(t, nil)
	e := withoutInstanceWait(New(Options{}))
	if got, err := e.Region(t.Context()); err == nil {
		t.Errorf("Region() = %q", got)
	}
	wantInstance(t, e, "")
}

// On a host that is not EC2, a look-up is one failing request, not the SDK's three with pauses. It
// follows no redirect.
func TestOneTryIsOneRequest(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("followed a redirect: %s %s", r.Method, r.URL)
	}))
	defer elsewhere.Close()
	for _, status := range []int{http.StatusInternalServerError, http.StatusFound, http.StatusTemporaryRedirect} {
		m := startMetadata(t)
		files(t, nil)
		var requests atomic.Int32
		m.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			requests.Add(1)
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
			return true
		})
		if got, err := New(Options{}).Region(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("Region() = %q, %v; want an error that says %d", got, err, status)
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%d requests answered %d, want 1", n, status)
		}
	}
}

// If the caller's context ends, that is neither logged nor remembered.
func TestCancelledLookupIsNotAFailure(t *testing.T) {
	m := startMetadata(t)
	files(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	m.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	log, lines := logged()
	e := New(Options{Log: log})
	if _, err := e.Region(ctx); err == nil {
		t.Error("Region() succeeded")
	}
	m.setFault(nil)
	if got, err := e.Region(t.Context()); got != "eu-central-1" || err != nil {
		t.Errorf("Region() = %q, %v for the next caller", got, err)
	}
	if len(lines()) != 0 {
		t.Errorf("logged %q", lines())
	}
}

func TestConcurrentCallersShareALookup(t *testing.T) {
	m := startMetadata(t)
	files(t, nil)
	e := New(Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := e.Region(t.Context()); got != "eu-central-1" || err != nil {
				t.Errorf("Region() = %q, %v", got, err)
			}
			wantInstance(t, e, "i-0123456789abcdef0")
		})
	}
	wg.Wait()
	if a, b := m.asked(identityPath), m.asked(instancePath); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times, want once each", a, b)
	}
}

func TestErrorNamesTheInvalidRegion(t *testing.T) {
	forbidMetadata(t)
	t.Setenv("AWS_REGION", "Frankfurt am Main")
	if got, err := New(Options{}).Region(t.Context()); err == nil || !strings.Contains(err.Error(), `"Frankfurt am Main"`) {
		t.Errorf("Region() = %q, %v, want an error that names the value", got, err)
	}
}

// Some parts of the SDK only check whether a variable exists.
func TestNewUnsetsEmptyVariables(t *testing.T) {
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_REGION", "auto")
	t.Setenv("AWS_ACCESS_KEY_ID", "auto") // not a region
	t.Setenv("NOEC2", "")                 // not the SDK's
	New(Options{})
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") && value == "" || name == "AWS_REGION" {
			t.Errorf("%s is still there", name)
		}
	}
	if _, ok := os.LookupEnv("NOEC2"); !ok || os.Getenv("AWS_ACCESS_KEY_ID") != "auto" {
		t.Error("a variable that means something is gone")
	}
}

// ROUTE's region is for containers that name none. With auto, a container gets the host's region.
func TestAutoRegionIgnoresRoute(t *testing.T) {
	startMetadata(t)
	files(t, map[string]string{"config": "[profile other]\nregion = sa-east-1\n"})
	for _, c := range []struct{ env, profile, want string }{
		{"us-west-2", "", "us-west-2"},
		{"", "other", "sa-east-1"},
		{"", "", "eu-central-1"},
		{"auto", "", "eu-central-1"},
	} {
		t.Setenv("AWS_REGION", c.env)
		t.Setenv("AWS_PROFILE", c.profile)
		e := New(Options{Region: "ap-south-1"})
		if got, err := e.AutoRegion(t.Context()); got != c.want || err != nil {
			t.Errorf("%q, %q: AutoRegion() = %q, %v, want %q", c.env, c.profile, got, err, c.want)
		}
		if got, err := e.Region(t.Context()); got != "ap-south-1" || err != nil {
			t.Errorf("%q, %q: Region() = %q, %v", c.env, c.profile, got, err)
		}
	}
	e := New(Options{Region: "ap-south-1", NoEC2: true})
	for range 2 {
		if got, err := e.AutoRegion(t.Context()); err == nil || strings.Contains(err.Error(), "ROUTE") || !strings.Contains(err.Error(), "set AWS_REGION, or name one in the log option region: ") {
			t.Errorf("without one: %q, %v", got, err)
		}
	}
}
