//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
)

// account is the stand-in for one driver's events. Both drivers have the same group, stream
// and endpoint, and the key that signs a request shows from which driver it is.
type account struct {
	*cwlocal.Server
	name, key, secret string
}

func newAccount(name, key string) *account {
	secret := "secret/of+" + name
	return &account{cwlocal.New(cwlocal.Options{Keys: map[string]string{key: secret}, OnAccepted: batches.accepted}), name, key, secret}
}

// parityEngine is an engine for comparing its own awslogs with the plugin.
type parityEngine struct {
	*secondEngine
	plugin   *plugin
	endpoint string
	lent     lentKeys

	theirs, ours *account // for dockerd's keys, and for the plugin's
	third        *account // for the keys from the container credentials endpoint

	failedWaits atomic.Int32
	mu          sync.Mutex
	events      map[stream]int // at the end of their case; guarded by mu
}

func newParityEngine(t *testing.T) *parityEngine {
	t.Helper()
	p := &parityEngine{
		theirs: newAccount("awslogs", "AKIDPARITYAWSLOGS"),
		ours:   newAccount("logspool", "AKIDPARITYLOGSPOOL"),
		third:  newAccount("lent", "ASIAPARITYLENT"),
	}
	// awslogs takes its keys and its region from dockerd's environment.
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": p.theirs.key, "AWS_SECRET_ACCESS_KEY": p.theirs.secret,
		"AWS_REGION": region, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	p.secondEngine = newSecondEngine(t)
	p.endpoint = "http://" + p.serve(t, "127.0.0.1:0", p.route())
	p.lent.account = p.third
	p.own.Network.Do(func() {
		if err := addAddress(credentialsHost); err != nil {
			t.Error(err)
		}
	})
	p.serve(t, credentialsHost+":80", &p.lent)
	p.start(t, storage(t))
	p.plugin = p.install(t)
	if err := p.plugin.reset(
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=http://127.0.0.1:1", // the log option has the right one
		"AWS_ACCESS_KEY_ID="+p.ours.key, "AWS_SECRET_ACCESS_KEY="+p.ours.secret, "DELAY=1h"); err != nil {
		t.Fatal(err)
	}
	return p
}

// route passes a request to the account whose key has signed it (Signature Version 4:
// Credential=KEY/date/region/…).
func (p *parityEngine) route() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, credential, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		key, _, _ := strings.Cut(credential, "/")
		for _, a := range []*account{p.theirs, p.ours, p.third} {
			if a.key == key {
				a.ServeHTTP(w, r)
				return
			}
		}
		http.Error(w, fmt.Sprintf("unknown key: %q", key), http.StatusForbidden)
	})
}

// credentialsHost is the host of the path in awslogs-credentials-endpoint (moby,
// daemon/logger/awslogs, credentialsEndpoint).
const credentialsHost = "169.254.170.2"

// addAddress adds an address to the loopback interface of the calling thread's network namespace.
func addAddress(address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	alias, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := alias.SetInet4Addr(net.ParseIP(address).To4()); err != nil {
		return err
	}
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFADDR, alias))
}

// lentKeys is the container credentials endpoint.
type lentKeys struct {
	account *account
	mu      sync.Mutex
	asked   map[string]int // number of requests by path; guarded by mu
}

func (l *lentKeys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	if l.asked == nil {
		l.asked = map[string]int{}
	}
	l.asked[r.URL.RequestURI()]++
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"Token":"token","Expiration":"2099-01-01T00:00:00Z"}`, l.account.key, l.account.secret)
}

// count returns how many requests a path had.
func (l *lentKeys) count(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[path]
}

// makeGroup creates a log group, as another client.
func (a *account) makeGroup(t *testing.T, region, group string) {
	t.Helper()
	c := cloudwatchlogs.New(cloudwatchlogs.Options{Region: region, BaseEndpoint: aws.String("http://account"), HTTPClient: a,
		Credentials: credentials.NewStaticCredentialsProvider(a.key, a.secret, "")})
	if _, err := c.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group}); err != nil {
		t.Fatal(err)
	}
}

// Do serves a request of an SDK client without a network.
func (a *account) Do(r *http.Request) (*http.Response, error) {
	r.Host = r.URL.Host
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result(), nil
}

// checked records how many events a stream had when its case ended.
func (p *parityEngine) checked(s stream, events int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.events == nil {
		p.events = map[stream]int{}
	}
	p.events[s] = events
}

// audit fails the test if a stream got more events after the end of its case, or if a
// request of the plugin broke a rule of the service.
func (p *parityEngine) audit(t *testing.T) {
	t.Helper()
	for s, before := range p.events {
		if now := s.events(); now != int64(before) {
			t.Errorf("%v: %d events at the end, %d at the end of its case", s, now, before)
		}
	}
	for _, a := range []*account{p.ours, p.third} {
		for _, r := range a.Refusals() {
			t.Errorf("%s: a request broke a rule: %+v", a.name, r)
		}
	}
}
