package awsenv

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/target"
)

// retrieve returns the credentials that a client made from e's Config would sign with.
func retrieve(t *testing.T, e *Env) (aws.Credentials, error) {
	t.Helper()
	return retrieveFor(t, e, target.Access{})
}

func retrieveFor(t *testing.T, e *Env, a target.Access) (aws.Credentials, error) {
	t.Helper()
	cfg, err := e.Config(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Credentials.Retrieve(t.Context())
}

func wantKey(t *testing.T, e *Env, key string) {
	t.Helper()
	wantKeyFor(t, e, target.Access{}, key)
}

func wantKeyFor(t *testing.T, e *Env, a target.Access, key string) {
	t.Helper()
	creds, err := retrieveFor(t, e, a)
	if err != nil || creds.AccessKeyID != key {
		t.Fatalf("key %q from %q, %v; want %q", creds.AccessKeyID, creds.Source, err, key)
	}
}

func TestCredentialsFromTheEnvironment(t *testing.T) {
	forbidMetadata(t)
	files(t, map[string]string{"credentials": keys("FILEKEY")})
	t.Setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("AWS_SESSION_TOKEN", "session")
	e := New(Options{Region: "eu-central-1"})
	wantKey(t, e, "ENVKEY")
	if creds, _ := retrieve(t, e); creds.SessionToken != "session" || creds.CanExpire {
		t.Errorf("session token %q, can expire: %v", creds.SessionToken, creds.CanExpire)
	}
}

func TestCredentialsFromTheInstanceRole(t *testing.T) {
	m := startMetadata(t)
	files(t, nil)
	e := New(Options{})
	for range 3 {
		wantKey(t, e, "ROLEKEY")
	}
	if n := m.asked(rolesPath + "logs-writer"); n != 1 {
		t.Errorf("asked for the role's keys %d times, want once", n)
	}
}

// The role may be attached after the plugin started.
func TestFailureToFindCredentialsIsNotCached(t *testing.T) {
	m := startMetadata(t)
	files(t, nil)
	m.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	e := New(Options{Region: "eu-central-1"})
	if _, err := retrieve(t, e); err == nil {
		t.Fatal("found credentials")
	}
	m.setFault(nil)
	wantKey(t, e, "ROLEKEY")
}

func TestCredentialsFromAContainerEndpoint(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if got := r.Header.Get("Authorization"); got != "sesame" {
			t.Errorf("Authorization: %q", got)
		}
		fmt.Fprintf(w, `{"AccessKeyId":"TASKKEY","SecretAccessKey":"s","Token":"t","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer s.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/creds")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "sesame")
	e := New(Options{Region: "eu-central-1"})
	if _, err := e.Config(t.Context(), target.Access{}); err != nil || asked.Load() != 0 {
		t.Fatalf("Config: %v, and it asked the endpoint %d times, want 0", err, asked.Load())
	}
	for range 3 {
		wantKey(t, e, "TASKKEY")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// keys returns a shared credentials file.
func keys(id string) string {
	return "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = s\n"
}

func TestCredentialsFromSharedFiles(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		env   map[string]string // DIR stands for the directory
		want  string
	}{
		{"the usual place", map[string]string{"credentials": keys("FILEKEY")}, nil, "FILEKEY"},
		{"a profile", map[string]string{"credentials": keys("FILEKEY") + "[logs]\naws_access_key_id = OTHERKEY\naws_secret_access_key = s\n"},
			map[string]string{"AWS_PROFILE": "logs"}, "OTHERKEY"},
		{"another place", map[string]string{"mine": keys("MYKEY")}, map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "DIR/mine"}, "MYKEY"},
		{"in the config file", map[string]string{"config": keys("CONFKEY")}, nil, "CONFKEY"},
		{"another config file", map[string]string{"mine": keys("MYKEY")}, map[string]string{"AWS_CONFIG_FILE": "DIR/mine"}, "MYKEY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			forbidMetadata(t)
			dir := files(t, c.files)
			for k, v := range c.env {
				t.Setenv(k, strings.ReplaceAll(v, "DIR", dir))
			}
			wantKey(t, New(Options{Region: "eu-central-1"}), c.want)
		})
	}
}

// The running plugin uses rotated keys within a minute.
func TestRotatedFileIsReadAgain(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"credentials": keys("OLDKEY")})
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Region: "eu-central-1", NoEC2: true})
		wantKey(t, e, "OLDKEY")
		write(t, dir+"/credentials", keys("NEWKEY"))
		time.Sleep(fileKeysLife)
		wantKey(t, e, "NEWKEY")
		write(t, dir+"/credentials", "[default\n")
		time.Sleep(fileKeysLife)
		if creds, err := retrieve(t, e); err == nil {
			t.Errorf("keys %q from a damaged file", creds.AccessKeyID)
		}
		write(t, dir+"/credentials", keys("FIXEDKEY"))
		wantKey(t, e, "FIXEDKEY")
	})
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The SDK takes a file that only its owner may read for a missing one.
func TestUnreadableFileIsNamed(t *testing.T) {
	dir := files(t, map[string]string{"credentials": keys("FILEKEY")})
	if err := os.Chmod(dir+"/credentials", 0); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		// Root may read every file, so this thread drops that right. No other goroutine runs on the
		// thread, because it is not unlocked.
		runtime.LockOSThread()
		if os.Getuid() == 0 {
			unix.SetfsuidRetUid(65534)
		}
		got <- explain(errors.New("no keys"))
	}()
	if err := <-got; !strings.Contains(err.Error(), "no keys") || !strings.Contains(err.Error(), dir+"/credentials") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestCredentialsFromAWebIdentity(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"token": "a-token"})
	sts := startSTS(t)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", dir+"/token")
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/logs")
	wantKey(t, New(Options{Region: "eu-central-1"}), "STS-logs-1")
	if got, want := sts.summary(), []string{"AssumeRoleWithWebIdentity logs a-token"}; !slices.Equal(got, want) {
		t.Errorf("STS was asked %q, want %q", got, want)
	}
}

// STS needs a region, and it may be known only from EC2.
func TestRoleIsAssumedInTheInstancesRegion(t *testing.T) {
	startMetadata(t)
	files(t, map[string]string{
		"credentials": "[base]\naws_access_key_id = FILEKEY\naws_secret_access_key = s\n",
		"config":      "[default]\nrole_arn = arn:aws:iam::123456789012:role/logs\nsource_profile = base\n",
	})
	sts := startSTS(t)
	t.Setenv("AWS_REGION", "auto")
	wantKey(t, New(Options{}), "STS-logs-1")
	if got, want := sts.summary(), []string{"AssumeRole logs eu-central-1 FILEKEY"}; !slices.Equal(got, want) {
		t.Errorf("STS was asked %q, want %q", got, want)
	}
}

// Config works without any service, and returns an error about a file until the file is fixed.
func TestConfigUsesNoNetwork(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"config": "[default]\ndefaults_mode = auto\nregion = eu-west-3\n"})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://no-such-host.invalid/creds")
	t.Setenv("AWS_PROFILE", "missing")
	t.Setenv("AWS_DEFAULTS_MODE", "auto")
	e := New(Options{})
	if _, err := e.Config(t.Context(), target.Access{}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("Config: %v, want an error that names the profile", err)
	}
	write(t, dir+"/config", "[profile missing]\nregion = eu-west-1\ndefaults_mode = auto\n")
	cfg, err := e.Config(t.Context(), target.Access{})
	if err != nil || cfg.Region != "eu-west-1" {
		t.Errorf("Config: region %q, %v", cfg.Region, err)
	}
}

func TestConfigHasTheRegionOfRoute(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	for _, c := range []struct{ route, env, want string }{
		{"", "auto", ""},
		{"auto", "us-east-2", "us-east-2"},
		{"ap-south-1", "us-east-2", "ap-south-1"},
		{"ap-south-1", "", "ap-south-1"},
	} {
		t.Setenv("AWS_REGION", c.env)
		cfg, err := New(Options{Region: c.route}).Config(t.Context(), target.Access{})
		if err != nil || cfg.Region != c.want {
			t.Errorf("ROUTE %q, AWS_REGION %q: region %q, %v, want %q", c.route, c.env, cfg.Region, err, c.want)
		}
	}
}

func TestConfigUsesTheCABundle(t *testing.T) {
	forbidMetadata(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer s.Close()
	dir := files(t, map[string]string{
		"ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})),
	})
	t.Setenv("AWS_CA_BUNDLE", dir+"/ca.pem")
	cfg, err := New(Options{}).Config(t.Context(), target.Access{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := cfg.HTTPClient.Do(req)
	if err != nil {
		t.Fatalf("the bundle is not used: %v", err)
	}
	resp.Body.Close()
}

// The SDK itself sets no deadline.
func TestHangingChainTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chain{env: New(Options{Region: "eu-central-1"})}
		c.use(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			<-ctx.Done()
			return aws.Credentials{}, ctx.Err()
		}))
		began := time.Now()
		if _, err := aws.NewCredentialsCache(c).Retrieve(t.Context()); err == nil {
			t.Error("found credentials")
		}
		if took := time.Since(began); took != retrieveTimeout {
			t.Errorf("gave up after %v, want %v", took, retrieveTimeout)
		}
	})
}

func TestFilesListsWhatTheSDKReads(t *testing.T) {
	dir := files(t, map[string]string{"credentials": ""})
	if got, want := Files(), []string{dir + "/credentials", dir + "/config"}; !slices.Equal(got, want) {
		t.Errorf("Files() = %q, want %q", got, want)
	}
	if err := os.MkdirAll(dir+"/sso/cache", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/sso/cache/0123.json", "{}")
	t.Setenv("AWS_CONFIG_FILE", "/elsewhere/config")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")
	want := []string{dir + "/credentials", "/elsewhere/config", "/token", filepath.Join(dir, "sso/cache/0123.json")}
	if got := Files(); !slices.Equal(got, want) {
		t.Errorf("Files() = %q, want %q", got, want)
	}
}
