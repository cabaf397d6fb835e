package awsenv

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"go.uber.org/goleak"
)

// TestMain makes sure that no test queries a real metadata service, reads a real shared file
// or uses real keys.
func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	config.DefaultSharedCredentialsFiles = nil
	config.DefaultSharedConfigFiles = nil
	os.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", refusingURL())
	goleak.VerifyTestMain(m)
}

// refusingURL returns a URL on loopback that refuses connections.
func refusingURL() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// fakeMetadata is an instance metadata service, version 2 only. A PUT with a lifetime of 1 to
// 21,600 seconds returns a token, which every other request needs (EC2 User Guide, "Use the
// Instance Metadata Service"). It answers requests of version 1 with 401, like an instance
// that requires tokens.
type fakeMetadata struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	paths  []string                                          // asked for with a good token
	tokens map[string]bool                                   // handed out
	fault  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	pages  map[string]string
	naked  int // requests without a token
}

const (
	identityPath = "/latest/dynamic/instance-identity/document"
	instancePath = "/latest/meta-data/instance-id"
	rolesPath    = "/latest/meta-data/iam/security-credentials/"
)

// startMetadata starts the metadata service of an instance in eu-central-1 with a role, and
// makes the SDK use it.
func startMetadata(t *testing.T) *fakeMetadata {
	m := &fakeMetadata{t: t, tokens: map[string]bool{}, pages: map[string]string{
		identityPath: `{"region":"eu-central-1","instanceId":"i-0123456789abcdef0"}`,
		instancePath: "i-0123456789abcdef0",
		rolesPath:    "logs-writer",
		rolesPath + "logs-writer": fmt.Sprintf(
			`{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ROLEKEY","SecretAccessKey":"s","Token":"t","Expiration":%q}`,
			time.Now().Add(6*time.Hour).UTC().Format(time.RFC3339)),
	}}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	m.url = s.URL
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	return m
}

func (m *fakeMetadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	fault := m.fault
	m.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.URL.Path == "/latest/api/token" {
		ttl := r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds")
		var n int
		if _, err := fmt.Sscan(ttl, &n); r.Method != http.MethodPut || err != nil || n < 1 || n > 21600 {
			m.t.Errorf("bad request for a token: %s, lifetime %q", r.Method, ttl)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		token := fmt.Sprintf("token-%d", len(m.tokens))
		m.tokens[token] = true
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ttl)
		fmt.Fprint(w, token)
		return
	}
	if !m.tokens[r.Header.Get("X-Aws-Ec2-Metadata-Token")] {
		m.naked++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m.paths = append(m.paths, r.URL.Path)
	page, ok := m.pages[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, page)
}

// setFault makes f answer requests. With nil, the fake answers them itself again.
func (m *fakeMetadata) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// asked returns the number of requests for path with a valid token.
func (m *fakeMetadata) asked(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, p := range m.paths {
		if p == path {
			n++
		}
	}
	return n
}

// withoutToken returns the number of requests of version 1.
func (m *fakeMetadata) withoutToken() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.naked
}

// forbidMetadata fails the test if anything queries the metadata service.
func forbidMetadata(t *testing.T) {
	m := startMetadata(t)
	m.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		t.Errorf("the metadata service was asked: %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusForbidden)
		return true
	})
}

// files writes a directory of AWS files, which replaces ~/.aws during the test. (The SDK reads HOME
// once, when the process starts.)
func files(t *testing.T, byName map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	credentials, conf := config.DefaultSharedCredentialsFiles, config.DefaultSharedConfigFiles
	t.Cleanup(func() { config.DefaultSharedCredentialsFiles, config.DefaultSharedConfigFiles = credentials, conf })
	config.DefaultSharedCredentialsFiles = []string{dir + "/credentials"}
	config.DefaultSharedConfigFiles = []string{dir + "/config"}
	for name, text := range byName {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
