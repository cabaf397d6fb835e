package awsenv

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/target"
)

func roleARN(name string) string { return "arn:aws:iam::123456789012:role/path/" + name }

// withKeys gives the default chain keys from the environment, and no metadata service.
func withKeys(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	t.Setenv("AWS_ACCESS_KEY_ID", "BASEKEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a-base-secret")
	t.Setenv("AWS_SESSION_TOKEN", "base-token")
}

// resetBackoff makes a's provider try again at once after a failure. No fetch may be in progress.
func resetBackoff(t *testing.T, e *Env, a target.Access) {
	t.Helper()
	cfg, err := e.Config(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials.(cache).source.(*renewer).backoff = retryPause{}
}

func TestRoleIsAssumed(t *testing.T) {
	withKeys(t)
	sts := startSTS(t)
	sts.externals["logs"] = "our-id"
	e := New(Options{Region: "eu-central-1"})
	a := target.Access{Region: "ap-south-1", RoleARN: roleARN("logs"), ExternalID: "our-id"}
	for i := range 3 {
		a.Endpoint = fmt.Sprint("http://service.example/", i) // no matter
		wantKeyFor(t, e, a, "STS-logs-1")
	}
	host, _ := os.Hostname()
	want := []stsRequest{{action: "AssumeRole", role: "logs", external: "our-id", session: "logspool-" + host, duration: "3600",
		region: "ap-south-1", key: "BASEKEY", sessionToken: "base-token"}}
	if diff := cmp.Diff(want, sts.requests(), cmp.AllowUnexported(stsRequest{})); diff != "" {
		t.Error(diff)
	}
	cfg, err := e.Config(t.Context(), a)
	if err != nil || cfg.Region != "ap-south-1" {
		t.Errorf("Config: region %q, %v", cfg.Region, err)
	}
	if creds, err := cfg.Credentials.Retrieve(t.Context()); err != nil || creds.SessionToken != "t" {
		t.Errorf("session token %q, %v", creds.SessionToken, err)
	}
	wantKey(t, e, "BASEKEY") // without a role
}

func TestEachSourceHasItsOwnKeys(t *testing.T) {
	withKeys(t)
	sts := startSTS(t)
	sts.externals["a"] = "x"
	e := New(Options{Region: "eu-central-1"})
	x := target.Access{Region: "eu-central-1", RoleARN: roleARN("a"), ExternalID: "x"}
	wantKeyFor(t, e, x, "STS-a-1")
	y := x
	y.ExternalID = "y"
	if creds, err := retrieveFor(t, e, y); err == nil {
		t.Errorf("key %q for another external ID", creds.AccessKeyID)
	}
	wantKeyFor(t, e, target.Access{Region: "eu-central-1", RoleARN: roleARN("b")}, "STS-b-1")
	elsewhere := x
	elsewhere.Region = "us-east-1"
	wantKeyFor(t, e, elsewhere, "STS-a-2")
	wantKeyFor(t, e, x, "STS-a-1")
	wantKeyFor(t, e, target.Access{ExternalID: "x"}, "BASEKEY") // without a role, the external ID does not matter
}

func TestRoleWithoutRegionIsAssumedInTheHostsRegion(t *testing.T) {
	withKeys(t)
	sts := startSTS(t)
	t.Setenv("AWS_REGION", "us-west-2")
	wantKeyFor(t, New(Options{Region: "eu-west-1"}), target.Access{RoleARN: roleARN("a")}, "STS-a-1")
	wantKeyFor(t, New(Options{}), target.Access{RoleARN: roleARN("a"), Region: "auto"}, "STS-a-2")
	t.Setenv("AWS_REGION", "")
	if _, err := retrieveFor(t, New(Options{NoEC2: true}), target.Access{RoleARN: roleARN("a")}); err == nil || !strings.Contains(err.Error(), "no region for STS") {
		t.Errorf("without a region: %v", err)
	}
	want := []string{"AssumeRole a eu-west-1 BASEKEY", "AssumeRole a us-west-2 BASEKEY"}
	if diff := cmp.Diff(want, sts.summary()); diff != "" {
		t.Error(diff)
	}
}

func TestErrorNamesTheRefusedRoleAndHidesSecrets(t *testing.T) {
	withKeys(t)
	sts := startSTS(t)
	sts.externals["logs"] = "our-id"
	a := target.Access{Region: "eu-central-1", RoleARN: roleARN("logs"), ExternalID: "their-id"}
	e := New(Options{Region: "eu-central-1"})
	_, err := retrieveFor(t, e, a)
	if err == nil {
		t.Fatal("the role was assumed")
	}
	for _, word := range []string{"couldn't assume the role \"" + a.RoleARN + `"`, "AccessDenied", "is not authorized to perform: sts:AssumeRole"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %s: %v", word, err)
		}
	}
	for _, word := range []string{"\n", "their-id", "our-id", "a-base-secret", "base-token"} {
		if strings.Contains(err.Error(), word) {
			t.Errorf("the error says %q: %v", word, err)
		}
	}
	// The operator fixes the trust policy.
	sts.mu.Lock()
	sts.externals["logs"] = "their-id"
	sts.mu.Unlock()
	resetBackoff(t, e, a)
	wantKeyFor(t, e, a, "STS-logs-1")
}

func TestErrorSaysThatKeysForTheRoleAreMissing(t *testing.T) {
	m := startMetadata(t)
	files(t, nil)
	m.setFault(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true })
	sts := startSTS(t)
	e := New(Options{})
	a := target.Access{Region: "eu-central-1", RoleARN: roleARN("logs")}
	if _, err := retrieveFor(t, e, a); err == nil || !strings.Contains(err.Error(), "no credentials to assume it with: ") {
		t.Errorf("got %v", err)
	}
	m.setFault(nil)
	resetBackoff(t, e, a)
	wantKeyFor(t, e, a, "STS-logs-1")
	if got := sts.requests(); len(got) != 1 || got[0].key != "ROLEKEY" {
		t.Errorf("STS was asked %+v", got)
	}
}

// If STS does not answer for one role, or throttles it, other roles and containers without a role
// are not delayed.
func TestHangingRoleDoesNotDelayOthers(t *testing.T) {
	withKeys(t)
	sts := startSTS(t)
	release := make(chan struct{})
	asked := make(chan struct{}, 10)
	sts.setFault(func(w http.ResponseWriter, role string) bool {
		switch role {
		case "hanging":
			asked <- struct{}{}
			<-release
		case "throttled":
			stsError(w, http.StatusBadRequest, "Throttling", "Rate exceeded")
			return true
		}
		return false
	})
	e := New(Options{Region: "eu-central-1"})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(release)
	hanging, throttled := target.Access{RoleARN: roleARN("hanging")}, target.Access{RoleARN: roleARN("throttled")}
	cfg, err := e.Config(t.Context(), hanging)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 {
		wg.Go(func() { cfg.Credentials.Retrieve(ctx) })
	}
	<-asked
	wantKeyFor(t, e, target.Access{RoleARN: roleARN("other")}, "STS-other-1")
	wantKey(t, e, "BASEKEY")
	if _, err := retrieveFor(t, e, throttled); err == nil || !strings.Contains(err.Error(), "Rate exceeded") {
		t.Errorf("throttled: %v", err)
	}
	n := len(sts.requests())
	for range 10 { // at once: it rests
		if _, err := retrieveFor(t, e, throttled); err == nil || !strings.Contains(err.Error(), "Rate exceeded") {
			t.Errorf("throttled: %v", err)
		}
	}
	if got := len(sts.requests()); got != n {
		t.Errorf("STS was asked %d times more while it throttles", got-n)
	}
	wantKeyFor(t, e, target.Access{RoleARN: roleARN("third")}, "STS-third-1")
	if len(asked) != 0 {
		t.Errorf("STS was asked %d times more for those who wait already", len(asked))
	}
}

// When STS refuses the keys that assume the role, their file is read again at once.
func TestRoleIsAssumedWithRotatedKeys(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"credentials": keys("OLDKEY")})
	sts := startSTS(t)
	e := New(Options{Region: "eu-central-1"})
	a := target.Access{RoleARN: roleARN("logs")}
	wantKeyFor(t, e, a, "STS-logs-1")
	cfg, err := e.Config(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for i, code := range []string{"InvalidClientTokenId", "ExpiredToken", "SignatureDoesNotMatch"} {
		key := fmt.Sprint("NEWKEY", i)
		write(t, dir+"/credentials", keys(key))
		sts.setFault(func(w http.ResponseWriter, role string) bool {
			stsError(w, http.StatusForbidden, code, "The security token included in the request is invalid")
			return true
		})
		cfg.Credentials.(interface{ Invalidate() }).Invalidate()
		if _, err := retrieveFor(t, e, a); err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("with refused keys: %v", err)
		}
		sts.setFault(nil)
		resetBackoff(t, e, a)
		wantKeyFor(t, e, a, fmt.Sprint("STS-logs-", i+2))
		if got := sts.requests(); got[len(got)-1].key != key {
			t.Errorf("assumed with %s, want %s", got[len(got)-1].key, key)
		}
	}
}

// CloudWatch refuses a role's keys after its sessions were revoked. New keys are fetched for this
// role only.
func TestInvalidateAffectsOneRole(t *testing.T) {
	withKeys(t)
	startSTS(t)
	e := New(Options{Region: "eu-central-1"})
	a, b := target.Access{RoleARN: roleARN("a")}, target.Access{RoleARN: roleARN("b")}
	wantKeyFor(t, e, a, "STS-a-1")
	wantKeyFor(t, e, b, "STS-b-1")
	cfg, err := e.Config(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials.(interface{ Invalidate() }).Invalidate()
	wantKeyFor(t, e, a, "STS-a-2")
	wantKeyFor(t, e, b, "STS-b-1")
}

func TestSessionNameIsValidForSTS(t *testing.T) {
	for host, want := range map[string]string{
		"web-1.example.com":      "logspool-web-1.example.com",
		"büro 7":                 "logspool-b-ro-7",
		"":                       "logspool-",
		strings.Repeat("h", 300): "logspool-" + strings.Repeat("h", 55),
	} {
		if got := sessionName(host); got != want || !sessionNameForm.MatchString(got) {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestNumberOfProvidersIsBounded(t *testing.T) {
	var p providers
	made := map[string]int{}
	get := func(path string) {
		p.get(source{path: path}, func() aws.CredentialsProvider {
			made[path]++
			return aws.AnonymousCredentials{}
		})
	}
	for i := range 10 * maxProviders {
		get(fmt.Sprint("/task-", i))
		get("/busy")
	}
	if len(p.byFrom) != maxProviders {
		t.Errorf("%d providers are kept, want %d", len(p.byFrom), maxProviders)
	}
	if made["/busy"] != 1 {
		t.Errorf("one that is always in use was made %d times", made["/busy"])
	}
	get("/task-0")
	if made["/task-0"] != 2 {
		t.Errorf("one that was forgotten was made %d times, want twice", made["/task-0"])
	}
}
