package awsenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/target"
)

const testARN = "arn:aws:iam::123456789012:user/logs"

// useKeys sets keys in the environment.
func useKeys(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
}

// TestIdentitySaysWhoAndFromWhere: STS is asked with the credentials that sign the plugin's other
// requests, and in its region.
func TestIdentitySaysWhoAndFromWhere(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"AccessKeyId":"TASKKEY","SecretAccessKey":"s","Token":"t","Expiration":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer agent.Close()
	for _, c := range []struct {
		env, files    map[string]string
		instance      bool
		key, provider string
	}{
		{env: map[string]string{"AWS_ACCESS_KEY_ID": "ENVKEY", "AWS_SECRET_ACCESS_KEY": "s"}, key: "ENVKEY", provider: "environment variables"},
		{files: map[string]string{"credentials": keys("FILEKEY")}, key: "FILEKEY", provider: "shared credentials file"},
		{instance: true, key: "ROLEKEY", provider: "EC2 instance role"},
		{env: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": agent.URL}, key: "TASKKEY", provider: "container credentials"},
		{
			files: map[string]string{"credentials": keys("FILEKEY"), "config": "[default]\nrole_arn = arn:aws:iam::123456789012:role/logs\nsource_profile = base\n[profile base]\naws_access_key_id = BASEKEY\naws_secret_access_key = s\n"},
			env:   map[string]string{"AWS_SDK_LOAD_CONFIG": "1"}, key: "STS-logs-1", provider: "assumed role",
		},
	} {
		t.Run(c.provider, func(t *testing.T) {
			if c.instance {
				startMetadata(t)
			} else {
				forbidMetadata(t)
			}
			s := startSTS(t)
			s.caller = testARN
			files(t, c.files)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			arn, provider, err := New(Options{Region: "eu-central-1"}).Identity(t.Context(), target.Access{})
			if arn != testARN || provider != c.provider || err != nil {
				t.Errorf("%q from %q, %v; want %q from %q", arn, provider, err, testARN, c.provider)
			}
			asked := s.requests()
			if n := len(asked); n == 0 || asked[n-1].key != c.key || asked[n-1].region != "eu-central-1" {
				t.Errorf("STS was asked %+v", asked)
			}
		})
	}
}

func TestIdentityOfIdentityCenterAndWebIdentityHasAName(t *testing.T) {
	for source, want := range map[string]string{
		"SSOProvider": "IAM Identity Center", "WebIdentityCredentials": "web identity", "NewProvider": "NewProvider",
	} {
		if got := ProviderName(source); got != want {
			t.Errorf("%s is %q, want %q", source, got, want)
		}
	}
}

// TestIdentityErrorsDiffer: no credentials, refused credentials, and an STS that does not say.
func TestIdentityErrorsDiffer(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	s := startSTS(t)
	if arn, provider, err := New(Options{Region: "eu-central-1", NoEC2: true}).Identity(t.Context(), target.Access{}); arn != "" || provider != "" || !errors.Is(err, ErrNoCredentials) {
		t.Errorf("without credentials: %q, %q, %v", arn, provider, err)
	}
	useKeys(t)
	if _, provider, err := New(Options{NoEC2: true}).Identity(t.Context(), target.Access{}); provider != "environment variables" || err == nil || errors.Is(err, ErrNoCredentials) || errors.Is(err, ErrRefused) {
		t.Errorf("without a region: %q, %v", provider, err)
	}
	for code, refused := range map[string]bool{
		"InvalidClientTokenId": true, "ExpiredToken": true, "SignatureDoesNotMatch": true, "InvalidAction": false, "AccessDenied": false,
	} {
		s.setFault(func(w http.ResponseWriter, _ string) bool {
			stsError(w, http.StatusForbidden, code, "no")
			return true
		})
		_, provider, err := New(Options{Region: "eu-central-1"}).Identity(t.Context(), target.Access{})
		if provider != "environment variables" || errors.Is(err, ErrRefused) != refused || errors.Is(err, ErrNoCredentials) || err == nil {
			t.Errorf("%s: %q, %v", code, provider, err)
		}
	}
	s.setFault(nil)
	for _, arn := range []string{"", "nonsense"} {
		s.caller = arn
		if got, _, err := New(Options{Region: "eu-central-1"}).Identity(t.Context(), target.Access{}); got != "" || err == nil {
			t.Errorf("STS answered %q: %q, %v", arn, got, err)
		}
	}
}

// TestIdentityWaitsNoLongerThanItsContext: an STS that hangs delays nothing.
func TestIdentityWaitsNoLongerThanItsContext(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	useKeys(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-release
	}))
	defer hanging.Close()
	defer close(release)
	t.Setenv("AWS_ENDPOINT_URL_STS", hanging.URL)
	arn, provider, err := New(Options{Region: "eu-central-1"}).Identity(ctx, target.Access{})
	if arn != "" || provider != "environment variables" || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %q, %v", arn, provider, err)
	}
}

// TestUnknownNameOfSTSIsNoOutageOfDNS: a private network may have no name for STS.
func TestUnknownNameOfSTSIsNoOutageOfDNS(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	useKeys(t)
	t.Setenv("AWS_ENDPOINT_URL_STS", "http://sts.invalid")
	var n atomic.Int32
	e := New(Options{Region: "eu-central-1", Resolved: func(error) { n.Add(1) }})
	if arn, _, err := e.Identity(t.Context(), target.Access{}); arn != "" || err == nil || n.Load() > 0 {
		t.Errorf("%q, %v, %d results of look-ups", arn, err, n.Load())
	}
}

// TestIdentityReusesItsConnection: the plugin asks once a second at first, and descriptors are
// shared with the containers. net/http may return a connection after the next request begins.
func TestIdentityReusesItsConnection(t *testing.T) {
	forbidMetadata(t)
	useKeys(t)
	files(t, nil)
	s := &fakeSTS{t: t, given: map[string]int{}, caller: testARN}
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	e := New(Options{Region: "eu-central-1"})
	const calls = 20
	for range calls {
		if _, _, err := e.Identity(t.Context(), target.Access{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n > calls/2 {
		t.Errorf("%d connections for %d calls", n, calls)
	}
}

// TestIdentityOfARoleIsAskedWithItsKeys: LOG_OPTS may name a role for all containers.
func TestIdentityOfARoleIsAskedWithItsKeys(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	useKeys(t)
	s := startSTS(t)
	s.caller = testARN
	a := target.Access{Region: "eu-west-1", RoleARN: "arn:aws:iam::123456789012:role/logs"}
	arn, provider, err := New(Options{NoEC2: true}).Identity(t.Context(), a)
	if arn != testARN || provider != "assumed role" || err != nil {
		t.Errorf("%q from %q, %v", arn, provider, err)
	}
	if got := s.summary(); len(got) != 2 || got[0] != "AssumeRole logs eu-west-1 ENVKEY" || !strings.HasSuffix(got[1], " eu-west-1 STS-logs-1") {
		t.Errorf("STS was asked %q", got)
	}
}

func TestRegionFromNamesTheSource(t *testing.T) {
	config := map[string]string{"config": "[default]\nregion = eu-west-3\n"}
	for _, c := range []struct {
		route, from string
		env         map[string]string
		files       map[string]string
		want        string
	}{
		{route: "eu-west-1", from: "ROUTE", env: map[string]string{"AWS_REGION": "us-west-2"}, want: "eu-west-1 ROUTE"},
		{env: map[string]string{"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-1"}, want: "us-west-2 AWS_REGION"},
		{env: map[string]string{"AWS_REGION": "auto", "AWS_DEFAULT_REGION": "us-west-1"}, want: "us-west-1 AWS_DEFAULT_REGION"},
		{files: config, want: "eu-west-3 shared configuration file"},
		{want: "eu-central-1 EC2 metadata"},
	} {
		t.Run(c.want, func(t *testing.T) {
			startMetadata(t)
			files(t, c.files)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			e := New(Options{Region: c.route, RegionFrom: c.from})
			if from := e.RegionFrom(); from != c.from {
				t.Errorf("before the look-up from %q", from)
			}
			region, err := e.Region(t.Context())
			if got := region + " " + e.RegionFrom(); got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	if got := strings.TrimSpace(New(Options{NoEC2: true}).RegionFrom()); got != "" {
		t.Errorf("an unknown region is from %q", got)
	}
}
