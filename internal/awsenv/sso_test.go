package awsenv

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// fakeSSO is an IAM Identity Center with CreateToken and GetRoleCredentials. A refresh token can be
// used once.
type fakeSSO struct {
	mu      sync.Mutex
	refresh string   // the only good one
	asked   []string // refresh tokens shown, and access tokens shown for keys
	n       int
}

func (s *fakeSSO) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/token":
		var in struct{ RefreshToken, GrantType string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.GrantType != "refresh_token" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.asked = append(s.asked, in.RefreshToken)
		if in.RefreshToken != s.refresh {
			w.Header().Set("X-Amzn-ErrorType", "InvalidGrantException")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		s.n++
		s.refresh = fmt.Sprintf("refresh-%d", s.n)
		fmt.Fprintf(w, `{"accessToken":"access-%d","refreshToken":%q,"expiresIn":3600,"tokenType":"Bearer"}`, s.n, s.refresh)
	case "/federation/credentials":
		token := r.Header.Get("X-Amz-Sso_bearer_token")
		s.asked = append(s.asked, token)
		fmt.Fprintf(w, `{"roleCredentials":{"accessKeyId":"SSO-%s","secretAccessKey":"s","sessionToken":"t","expiration":%d}}`,
			token, time.Now().Add(time.Minute).UnixMilli())
	default:
		http.NotFound(w, r)
	}
}

// startSSO makes a home directory with an SSO profile. The file of its token cannot be written, as
// in a read-only mount.
// login writes a token that expires at expires.
func startSSO(t *testing.T) (s *fakeSSO, login func(access, refresh string, expires time.Time)) {
	forbidMetadata(t)
	files(t, map[string]string{"config": "[default]\nsso_session = ours\nsso_account_id = 123456789012\nsso_role_name = logs\n" +
		"[sso-session ours]\nsso_region = eu-central-1\nsso_start_url = https://ours.awsapps.com/start\n"})
	s = &fakeSSO{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_SSO", server.URL)
	t.Setenv("AWS_ENDPOINT_URL_SSO_OIDC", server.URL)
	home := t.TempDir()
	t.Setenv("HOME", home)
	name := sha1.Sum([]byte("ours"))
	file := filepath.Join(home, ".aws", "sso", "cache", hex.EncodeToString(name[:])+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	return s, func(access, refresh string, expires time.Time) {
		b, _ := json.Marshal(map[string]string{"accessToken": access, "expiresAt": expires.UTC().Format(time.RFC3339),
			"refreshToken": refresh, "clientId": "c", "clientSecret": "s", "startUrl": "https://ours.awsapps.com/start"})
		write(t, file, string(b))
		s.mu.Lock()
		s.refresh = refresh
		s.mu.Unlock()
		before, _ := os.ReadFile(file)
		t.Cleanup(func() {
			if after, _ := os.ReadFile(file); string(after) != string(before) && strings.Contains(string(after), "access-") {
				t.Error("the operator's file was written to")
			}
		})
	}
}

// A renewed token is kept across a restart of the plugin, because its refresh token can be
// used once. A later login on the host replaces it.
func TestRenewedSSOTokenIsKept(t *testing.T) {
	s, login := startSSO(t)
	login("first", "refresh-first", time.Now().Add(-time.Minute))
	cache := filepath.Join(t.TempDir(), "sso")
	wantKey(t, New(Options{Region: "eu-central-1", CacheDir: cache}), "SSO-access-1")
	wantKey(t, New(Options{Region: "eu-central-1", CacheDir: cache}), "SSO-access-1") // as after a restart
	login("second", "refresh-second", time.Now().Add(2*time.Hour))
	wantKey(t, New(Options{Region: "eu-central-1", CacheDir: cache}), "SSO-second")
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := fmt.Sprint(s.asked); got != "[refresh-first access-1 access-1 second]" {
		t.Errorf("asked %v", got)
	}
	if info, err := os.Stat(cache); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the tokens: %v, %v", info.Mode(), err)
	}
}

func TestErrorOfExpiredSSOSessionSaysToLogIn(t *testing.T) {
	s, login := startSSO(t)
	login("first", "used", time.Now().Add(-time.Minute))
	s.refresh = "another"
	cache := t.TempDir()
	e := New(Options{Region: "eu-central-1", CacheDir: cache})
	if _, err := retrieve(t, e); err == nil || !strings.Contains(err.Error(), "run `aws sso login` for the profile on the host: ") ||
		!strings.Contains(err.Error(), "InvalidGrantException") {
		t.Errorf("got %v", err)
	}
	login("second", "refresh-second", time.Now().Add(time.Hour))
	wantKey(t, e, "SSO-second")
}

// The failure to copy is logged once, not at each try.
func TestSSOTokenIsUsedIfItCannotBeCopied(t *testing.T) {
	_, login := startSSO(t)
	login("first", "refresh-first", time.Now().Add(time.Hour))
	logger, lines := logged()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	e := New(Options{Region: "eu-central-1", CacheDir: filepath.Join(file, "sso"), Log: logger})
	for range 3 {
		wantKey(t, e, "SSO-first")
		cfg, err := e.Config(t.Context(), target.Access{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Credentials.(cache).Invalidate()
	}
	if got := lines(); len(got) != 1 || !strings.Contains(got[0], "level=ERROR") || !strings.Contains(got[0], "not a directory") {
		t.Errorf("logged %q", got)
	}
}

func TestErrorOfMissingSSOTokenSaysToLogIn(t *testing.T) {
	startSSO(t)
	_, err := retrieve(t, New(Options{Region: "eu-central-1", CacheDir: t.TempDir()}))
	if err == nil || !strings.Contains(err.Error(), "run `aws sso login`") || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}
