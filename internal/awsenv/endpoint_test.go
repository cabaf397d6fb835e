package awsenv

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/target"
)

// fakeAgent is an ECS agent that returns keys by path.
type fakeAgent struct {
	url string

	mu    sync.Mutex
	asked []string // PATH and what stood in Authorization
	hosts []string // that the client thought it talked to
	pages map[string]func(w http.ResponseWriter)
}

const taskPath = "/v2/credentials/7e1f"

func startAgent(t *testing.T) *fakeAgent {
	a := &fakeAgent{pages: map[string]func(http.ResponseWriter){}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, strings.TrimSpace(r.URL.RequestURI()+" "+r.Header.Get("Authorization")))
		a.hosts = append(a.hosts, r.Host)
		page := a.pages[r.URL.Path]
		if page == nil {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"code":"InvalidIdInRequest","message":"CredentialsV2Request: ID not found"}`)
			return
		}
		page(w)
	}))
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

// serve returns key at path. The key expires after an hour.
func (a *fakeAgent) serve(path, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages[path] = func(w http.ResponseWriter) {
		fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":"s","Token":"t","Expiration":%q}`, key,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}
}

// replaceFor makes e connect to the fake instead of the fixed address of the ECS agent.
func (a *fakeAgent) replaceFor(e *Env) {
	e.containers.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "169.254.170.2:80" {
			return nil, fmt.Errorf("dialled %s", address)
		}
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(a.url, "http://"))
	}
}

func (a *fakeAgent) want(t *testing.T, asked ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if diff := cmp.Diff(asked, a.asked); diff != "" {
		t.Errorf("the agent was asked: %s", diff)
	}
}

// As with awslogs, the path is the ECS agent's, whatever other keys the plugin has.
func TestKeysFromTheOptionCredentialsEndpoint(t *testing.T) {
	withKeys(t)
	t.Setenv("HTTP_PROXY", refusingURL())
	agent := startAgent(t)
	agent.serve(taskPath, "TASKKEY")
	agent.serve("/v1/credentials", "OLDTASKKEY")
	e := New(Options{Region: "eu-central-1"})
	agent.replaceFor(e)
	for range 3 {
		wantKeyFor(t, e, target.Access{CredentialsEndpoint: taskPath}, "TASKKEY")
	}
	wantKeyFor(t, e, target.Access{CredentialsEndpoint: "/v1/credentials?id=7e1f"}, "OLDTASKKEY")
	wantKey(t, e, "BASEKEY")
	agent.want(t, taskPath, "/v1/credentials?id=7e1f")
	if agent.hosts[0] != "169.254.170.2" {
		t.Errorf("host %s", agent.hosts[0])
	}
}

func TestRoleIsAssumedWithTaskKeys(t *testing.T) {
	withKeys(t)
	sts := startSTS(t)
	agent := startAgent(t)
	agent.serve(taskPath, "TASKKEY")
	e := New(Options{Region: "eu-central-1"})
	agent.replaceFor(e)
	task := target.Access{CredentialsEndpoint: taskPath, RoleARN: roleARN("logs")}
	wantKeyFor(t, e, task, "STS-logs-1")
	wantKeyFor(t, e, target.Access{RoleARN: roleARN("logs")}, "STS-logs-2")
	if diff := cmp.Diff([]string{"AssumeRole logs eu-central-1 TASKKEY", "AssumeRole logs eu-central-1 BASEKEY"}, sts.summary()); diff != "" {
		t.Error(diff)
	}
}

// The path is on the host of AWS_CONTAINER_CREDENTIALS_FULL_URI. Each request has the token,
// which is read from its file again each time.
func TestCredentialsEndpointUsesTheHostOfFullURI(t *testing.T) {
	withKeys(t)
	dir := files(t, map[string]string{"token": "from-a-file"})
	agent := startAgent(t)
	agent.serve("/a", "AKEY")
	agent.serve("/b", "BKEY")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.url+"/own")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "sesame")
	e := New(Options{Region: "eu-central-1"})
	wantKeyFor(t, e, target.Access{CredentialsEndpoint: "/a"}, "AKEY")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", dir+"/token")
	wantKeyFor(t, e, target.Access{CredentialsEndpoint: "/b"}, "BKEY")
	write(t, dir+"/token", "another")
	cfg, err := e.Config(t.Context(), target.Access{CredentialsEndpoint: "/b"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials.(cache).Invalidate()
	wantKeyFor(t, e, target.Access{CredentialsEndpoint: "/b"}, "BKEY")
	agent.want(t, "/a sesame", "/b from-a-file", "/b another")
}

func TestInvalidCredentialsEndpointIsRefused(t *testing.T) {
	withKeys(t)
	const notAPath = "log option credentials-endpoint (its value is not shown) is not a path on http://169.254.170.2: use one that begins with /"
	for _, c := range []struct{ full, path, want string }{
		{"", "v2/7e1f", notAPath},
		{"", "@thief.example/7e1f", notAPath},
		{"", "http://thief.example/7e1f", notAPath},
		{"", "/a\n7e1f", notAPath},
		{"", "/%zz7e1f", notAPath},
		{"http://keys.example/", "/a", `names the host "keys.example" over http; without TLS`},
		{"http://192.0.2.1:80/", "/a", `names the host "192.0.2.1" over http`},
		{"keys", "/a", "AWS_CONTAINER_CREDENTIALS_FULL_URI is not an http or https URL"},
		{"ftp://127.0.0.1/", "/a", "AWS_CONTAINER_CREDENTIALS_FULL_URI is not an http or https URL"},
	} {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", c.full)
		if _, err := New(Options{}).Config(t.Context(), target.Access{CredentialsEndpoint: c.path}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "7e1f") {
			t.Errorf("%q on %q: %v; want %q", c.path, c.full, err, c.want)
		}
	}
	for full, want := range map[string]string{
		"":                                     "http://169.254.170.2/a",
		"http://127.0.0.1:1234/x":              "http://127.0.0.1:1234/a",
		"http://localhost":                     "http://localhost/a",
		"http://[::1]:80/x?y":                  "http://[::1]:80/a",
		"http://169.254.170.23/v1/credentials": "http://169.254.170.23/a",
		"https://keys.example/x":               "https://keys.example/a",
	} {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", full)
		if got, err := containerEndpoint("/a"); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", full, got, err, want)
		}
	}
}

// Anyone on the host who knows the path of a task can fetch its keys.
func TestErrorAboutCredentialsEndpointHidesThePath(t *testing.T) {
	withKeys(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	agent := startAgent(t)
	for _, c := range []struct {
		name string
		page func(w http.ResponseWriter)
		want string
	}{
		{"unknown", nil, "CredentialsV2Request: ID not found"},
		{"redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "answered 307 Temporary Redirect"},
		{"a page of another server", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>")
		}, "answered 502 Bad Gateway"},
		{"not JSON", func(w http.ResponseWriter) { fmt.Fprint(w, "<html>\nnothing") }, "the container credentials endpoint returned no credentials"},
		{"hangs up", func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }, "169.254.170.2: EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			agent.pages[taskPath] = c.page
			e := New(Options{})
			agent.replaceFor(e)
			_, err := retrieveFor(t, e, target.Access{CredentialsEndpoint: taskPath})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "7e1f") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error tells the path, or is more than a line: %q", err)
			}
		})
	}
}
