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

// An account is where one driver's events go: the two are given the same group, stream and endpoint, and are told apart by
// whose key signs.
type account struct {
	*cwlocal.Server
	name, key, secret string
}

func newAccount(name, key string) *account {
	secret := "secret/of+" + name
	return &account{cwlocal.New(cwlocal.Options{Keys: map[string]string{key: secret}, OnAccepted: batches.accepted}), name, key, secret}
}

// parityEngine is an engine whose own awslogs and whose plugin can be given the same options.
type parityEngine struct {
	*secondEngine
	plugin   *plugin
	endpoint string
	lent     lentKeys

	theirs, ours *account // of dockerd's keys, and of the plugin's
	third        *account // of the keys that the container credentials endpoint lends

	vain   atomic.Int32 // what was waited for in vain
	mu     sync.Mutex
	looked map[stream]int
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
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=http://127.0.0.1:1", // the log option says the real one
		"AWS_ACCESS_KEY_ID="+p.ours.key, "AWS_SECRET_ACCESS_KEY="+p.ours.secret, "DELAY=1h"); err != nil {
		t.Fatal(err)
	}
	return p
}

// serve serves in the engine's namespace, and returns the address.
func (p *parityEngine) serve(t *testing.T, address string, h http.Handler) string {
	t.Helper()
	var l net.Listener
	var err error
	p.own.Network.Do(func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return l.Addr().String()
}

// route hands a request to the account whose key signed it (Signature Version 4: Credential=KEY/date/region/…).
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
		http.Error(w, fmt.Sprintf("nobody's key: %q", key), http.StatusForbidden)
	})
}

// credentialsHost is where awslogs-credentials-endpoint is a path (moby, daemon/logger/awslogs, credentialsEndpoint).
const credentialsHost = "169.254.170.2"

// addAddress gives the loopback interface of the caller's namespace one more address.
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
	asked   map[string]int // by path
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

// by is how often a path was asked for.
func (l *lentKeys) by(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[path]
}

// makeGroup makes a group, as somebody else would.
func (a *account) makeGroup(t *testing.T, region, group string) {
	t.Helper()
	c := cloudwatchlogs.New(cloudwatchlogs.Options{Region: region, BaseEndpoint: aws.String("http://account"), HTTPClient: a,
		Credentials: credentials.NewStaticCredentialsProvider(a.key, a.secret, "")})
	if _, err := c.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group}); err != nil {
		t.Fatal(err)
	}
}

// Do carries out a request without a network.
func (a *account) Do(r *http.Request) (*http.Response, error) {
	r.Host = r.URL.Host
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result(), nil
}

// came notes how many events a stream had when its case looked.
func (p *parityEngine) came(s stream, events int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looked == nil {
		p.looked = map[stream]int{}
	}
	p.looked[s] = events
}

// audit says what has come since, and which of the plugin's requests broke a rule of the service.
func (p *parityEngine) audit(t *testing.T) {
	t.Helper()
	for s, before := range p.looked {
		if now := s.events(); now != int64(before) {
			t.Errorf("%v: %d events at the end, %d when its case looked", s, now, before)
		}
	}
	for _, a := range []*account{p.ours, p.third} {
		for _, r := range a.Refusals() {
			t.Errorf("%s: a request broke a rule: %+v", a.name, r)
		}
	}
}
