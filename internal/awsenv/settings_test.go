package awsenv

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// The tests in this file are about credentials and settings as users write them, for example copied
// with a newline.

func TestWhiteSpaceAroundSettingsIsIgnored(t *testing.T) {
	for _, space := range []string{"\n", "\r\n", " ", "\t"} {
		t.Run(fmt.Sprintf("%q", space), func(t *testing.T) {
			forbidMetadata(t)
			files(t, nil)
			t.Setenv("AWS_ACCESS_KEY_ID", "ENVKEY"+space)
			t.Setenv("AWS_SECRET_ACCESS_KEY", space+"verysecret")
			t.Setenv("AWS_SESSION_TOKEN", "session"+space)
			t.Setenv("AWS_DEFAULT_REGION", space+"us-west-1")
			t.Setenv("AWS_PROFILE", space)
			t.Setenv("NO_PROXY", "localhost"+space)
			logger, lines := logged()
			e := New(Options{Log: logger})
			creds, err := retrieve(t, e)
			if err != nil || creds.AccessKeyID != "ENVKEY" || creds.SecretAccessKey != "verysecret" || creds.SessionToken != "session" {
				t.Errorf("keys %q %q %q, %v", creds.AccessKeyID, creds.SecretAccessKey, creds.SessionToken, err)
			}
			if region, err := e.Region(t.Context()); region != "us-west-1" || err != nil {
				t.Errorf("region %q, %v", region, err)
			}
			got := lines()
			if len(got) != 1 {
				t.Fatalf("logged %q, want one line", got)
			}
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "NO_PROXY"} {
				if !strings.Contains(got[0], name) {
					t.Errorf("the line does not name %s: %s", name, got[0])
				}
			}
			if strings.Contains(got[0], "secret\"") || strings.Contains(got[0], "verysecret") || strings.Contains(got[0], "PROFILE") {
				t.Errorf("the line says too much: %s", got[0])
			}
		})
	}
}

func TestWhiteSpaceAroundKeysInFilesIsIgnored(t *testing.T) {
	forbidMetadata(t)
	files(t, map[string]string{"credentials": "[default]\r\naws_access_key_id = FILEKEY \r\naws_secret_access_key = s\t\r\naws_session_token = t\r\n"})
	creds, err := retrieve(t, New(Options{Region: "eu-central-1"}))
	if err != nil || creds.AccessKeyID != "FILEKEY" || creds.SecretAccessKey != "s" || creds.SessionToken != "t" {
		t.Errorf("keys %q %q %q, %v", creds.AccessKeyID, creds.SecretAccessKey, creds.SessionToken, err)
	}
}

func TestWhiteSpaceAroundKeysFromAnEndpointIsIgnored(t *testing.T) {
	withKeys(t)
	agent := startAgent(t)
	agent.serve(taskPath, "TASKKEY\n")
	e := New(Options{Region: "eu-central-1"})
	agent.replaceFor(e)
	wantKeyFor(t, e, target.Access{CredentialsEndpoint: taskPath}, "TASKKEY")
}

// A line break inside a key cannot be removed safely. The error names the key, and hides its value.
func TestErrorNamesTheInvalidKey(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	for name, what := range map[string]string{
		"AWS_ACCESS_KEY_ID": "access key ID", "AWS_SECRET_ACCESS_KEY": "secret access key", "AWS_SESSION_TOKEN": "session token",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
			t.Setenv(name, "first\r\nsecond")
			_, err := retrieve(t, New(Options{Region: "eu-central-1"}))
			if err == nil || !strings.Contains(err.Error(), "the "+what+" from ") || strings.Contains(err.Error(), "second") {
				t.Errorf("got %v, want one line about the %s", err, what)
			}
		})
	}
}

func TestNewlineAfterAuthorizationTokenIsIgnored(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"token": "sesame\r\n"})
	agent := startAgent(t)
	agent.serve(taskPath, "TASKKEY")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.url+taskPath)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "sesame\n")
	wantKey(t, New(Options{Region: "eu-central-1"}), "TASKKEY")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", dir+"/token")
	wantKey(t, New(Options{Region: "eu-central-1"}), "TASKKEY")
	wantKeyFor(t, New(Options{Region: "eu-central-1"}), target.Access{CredentialsEndpoint: taskPath}, "TASKKEY")
	agent.want(t, taskPath+" sesame", taskPath+" sesame", taskPath+" sesame")
}

func TestNewlineAfterWebIdentityTokenIsIgnored(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"token": "a-token\n"})
	sts := startSTS(t)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", dir+"/token")
	t.Setenv("AWS_ROLE_ARN", roleARN("logs"))
	wantKey(t, New(Options{Region: "eu-central-1"}), "STS-logs-1")
	if got := sts.requests(); len(got) != 1 || got[0].identity != "a-token" {
		t.Errorf("STS was asked %+v", got)
	}
}

// AWS_CA_BUNDLE counts both for the SDK's chain and for a container's path.
func TestContainerEndpointOverTLSUsesTheCABundle(t *testing.T) {
	forbidMetadata(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"AccessKeyId":"TASKKEY","SecretAccessKey":"s","Token":"t","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer s.Close()
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that the client refuses
	dir := files(t, map[string]string{
		"ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})),
	})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/own")
	t.Setenv("AWS_CA_BUNDLE", dir+"/ca.pem")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	wantKey(t, New(Options{Region: "eu-central-1"}), "TASKKEY")
	wantKeyFor(t, New(Options{Region: "eu-central-1"}), target.Access{CredentialsEndpoint: "/a"}, "TASKKEY")

	os.Unsetenv("AWS_CA_BUNDLE")
	for _, a := range []target.Access{{}, {CredentialsEndpoint: "/a"}} {
		if _, err := retrieveFor(t, New(Options{Region: "eu-central-1"}), a); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%+v without the bundle: %v", a, err)
		}
	}
}

func TestCredentialProcessIsRefusedInOneLine(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"config": "[default]\ncredential_process = /.aws/helper --with args\n"})
	t.Setenv("PATH", dir)
	_, err := retrieve(t, New(Options{Region: "eu-central-1"}))
	if err == nil || !strings.HasPrefix(err.Error(), "credential_process is not supported, because the plugin has no shell to run it; use a role, or") ||
		!strings.HasSuffix(err.Error(), `executable file not found in $PATH`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// A name that contains the instance ID waits for it, at most for instanceWait.
func TestInstanceIDIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // the metadata service comes
		want  string
		took  time.Duration // at most
	}{
		{"comes late", 10 * time.Second, "i-1", 10*time.Second + backoffMax + instancePoll},
		{"comes at the end", instanceWait - backoffMax - instancePoll, "i-1", instanceWait},
		{"never comes", time.Hour, "", instanceWait + instancePoll},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, lines := logged()
				e := New(Options{Log: logger})
				began := time.Now()
				e.instance.id.fetch = func(context.Context) (string, error) {
					if time.Since(began) < c.after {
						return "", fmt.Errorf("connection refused")
					}
					return "i-1", nil
				}
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() { wantInstance(t, e, c.want) })
				}
				wg.Wait()
				if took := time.Since(began); took > c.took {
					t.Errorf("took %v, want %v at most", took, c.took)
				}
				got := lines()
				if len(got) != 2 || !strings.Contains(got[0], "level=ERROR") || !strings.Contains(got[0], "NOEC2") || !strings.Contains(got[0], "connection refused") {
					t.Errorf("logged %q", got)
				}
				// A container that starts after the wait does not wait again.
				began = time.Now()
				if wantInstance(t, e, c.want); time.Since(began) != 0 {
					t.Errorf("waited another %v", time.Since(began))
				}
			})
		})
	}
}

func TestInstanceIDIsNotWaitedForAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		e.instance.id.fetch = func(context.Context) (string, error) { return "", fmt.Errorf("no route to host") }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if id, err := e.InstanceID(ctx); id != "" || err == nil {
			t.Errorf("InstanceID() = %q, %v", id, err)
		}
	})
}

func TestDNSLookupsAreReported(t *testing.T) {
	forbidMetadata(t)
	files(t, nil)
	t.Setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("AWS_ENDPOINT_URL_STS", "http://no-such-host.invalid")
	var mu sync.Mutex
	var got []error
	e := New(Options{Region: "eu-central-1", Resolved: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, err)
	}})
	cfg, err := e.Config(t.Context(), target.Access{RoleARN: roleARN("logs")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Credentials.Retrieve(t.Context()); err == nil {
		t.Fatal("no error")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) == 0 {
		t.Fatal("nothing was reported")
	}
	if _, ok := got[0].(*net.DNSError); !ok {
		t.Errorf("reported %v", got[0])
	}
}
