package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// endpointLimit bounds the check of the endpoint.
	endpointLimit = 12 * time.Second
	// stepLimit bounds each step of a connection.
	stepLimit = 4 * time.Second
)

// failure says why the endpoint cannot be used, and what to do.
type failure struct {
	err    error
	remedy string
}

// connector makes a connection to the endpoint step by step, as the SDK's transport does, to
// find the step that fails.
type connector struct {
	*remote
	transport *http.Transport
	url       *url.URL
	proxy     *url.URL // proxy is nil if there is none for this endpoint.
}

// checkEndpoint connects to the endpoint, through the proxy and with the certificates that
// the plugin uses, and compares the clocks. The first result is about the endpoint.
func (r *remote) checkEndpoint(ctx context.Context) []Result {
	const name = "endpoint"
	noClock := unknown("clock", "not checked: the endpoint does not answer")
	u, err := r.endpointURL(ctx)
	if err != nil {
		return []Result{bad(name, "use http:// or https:// and a host in AWS_ENDPOINT_URL_CLOUDWATCH_LOGS or AWS_ENDPOINT_URL", "%s", text(err)), noClock}
	}
	client, ok := r.config.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	c := &connector{remote: r, transport: client.GetTransport(), url: u}
	c.transport.DisableKeepAlives = true
	if c.proxy, err = c.findProxy(); err != nil {
		return []Result{bad(name, r.set("HTTPS_PROXY=http://HOST:PORT"), "%v", err), noClock}
	}
	details, f := c.connect(ctx)
	if f != nil {
		return []Result{bad(name, f.remedy, "%s: %s", u.Redacted(), text(f.err)), noClock}
	}
	clock, err := c.checkClock(ctx)
	if err != nil {
		return []Result{bad(name, "check that the endpoint is CloudWatch Logs, and the proxy if there is one", "%s: no answer: %s", u.Redacted(), text(err)), noClock}
	}
	return []Result{good(name, "%s%s", u.Redacted(), details), clock}
}

// findProxy returns the proxy for the endpoint, or nil. It also refuses what net/http takes
// for the name of a host (golang.org/x/net/http/httpproxy, parseProxy).
func (c *connector) findProxy() (*url.URL, error) {
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		v := os.Getenv(name)
		if _, err := url.Parse(v); err != nil && strings.Contains(v, "://") {
			return nil, fmt.Errorf("%s is not a URL", name) // the error would repeat the password
		}
	}
	proxy, err := c.transport.Proxy(&http.Request{URL: c.url})
	if err == nil && proxy != nil && proxy.Host == "" { // such as "user:password%@host": the user is taken for the scheme
		return nil, errors.New("the proxy's address is not a URL")
	}
	return proxy, err
}

// connect makes a connection and closes it. details says how it was made.
func (c *connector) connect(ctx context.Context) (details string, f *failure) {
	first := c.url
	if c.proxy != nil {
		first, details = c.proxy, ", through the proxy "+c.proxy.Redacted()
	}
	conn, f := c.dial(ctx, first)
	if f != nil {
		return "", f
	}
	defer func() { conn.Close() }()
	if c.proxy != nil && c.proxy.Scheme != "http" && c.proxy.Scheme != "https" {
		return details, nil // a SOCKS proxy: the request shows whether it works
	}
	if c.proxy != nil && c.proxy.Scheme == "https" {
		if conn, f = c.handshake(ctx, conn, c.proxy); f != nil {
			return "", f
		}
	}
	if c.url.Scheme != "https" {
		return details, nil
	}
	if c.proxy != nil {
		if f := c.openTunnel(ctx, conn); f != nil {
			return "", f
		}
	}
	conn, f = c.handshake(ctx, conn, c.url)
	return details, f
}

// dial resolves the host of u and connects to it.
func (c *connector) dial(ctx context.Context, u *url.URL) (net.Conn, *failure) {
	if net.ParseIP(u.Hostname()) == nil {
		ctx, cancel := context.WithTimeout(ctx, stepLimit)
		defer cancel()
		if _, err := net.DefaultResolver.LookupHost(ctx, u.Hostname()); err != nil {
			return nil, &failure{fmt.Errorf("couldn't resolve the host name: %w", err), c.nameRemedy()}
		}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	conn, err := (&net.Dialer{Timeout: stepLimit}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err == nil {
		return conn, nil
	}
	remedy := "allow connections to this host and port in the firewall, or set HTTPS_PROXY"
	if c.proxy != nil {
		remedy = "start the proxy, or correct HTTPS_PROXY (" + c.proxy.Redacted() + ")"
		err = fmt.Errorf("couldn't connect to the proxy: %w", err)
	}
	return nil, &failure{err, remedy}
}

// nameRemedy says what to do if a host name cannot be resolved.
func (c *connector) nameRemedy() string {
	switch {
	case c.proxy != nil:
		return "check the host name in HTTPS_PROXY (" + c.proxy.Redacted() + ") and the host's DNS (/etc/resolv.conf)"
	case c.access.Endpoint != "" || aws.ToString(c.client().Options().BaseEndpoint) != "":
		return "check the host name of the endpoint and the host's DNS (/etc/resolv.conf)"
	default:
		return "check the spelling of the region " + c.access.Region + " and the host's DNS (/etc/resolv.conf)"
	}
}

// openTunnel asks the proxy for a connection to the endpoint.
func (c *connector) openTunnel(ctx context.Context, conn net.Conn) *failure {
	port := c.url.Port()
	if port == "" {
		port = "443"
	}
	to := net.JoinHostPort(c.url.Hostname(), port)
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to}, Host: to, Header: http.Header{}}
	if user := c.proxy.User; user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	deadline := time.Now().Add(stepLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	conn.SetDeadline(deadline) // fails only for a closed connection
	defer conn.SetDeadline(time.Time{})
	err := req.Write(conn)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(bufio.NewReader(conn), req)
	}
	switch {
	case err != nil:
		return &failure{fmt.Errorf("the proxy did not answer: %w", err), "check that HTTPS_PROXY (" + c.proxy.Redacted() + ") names an HTTP proxy"}
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return &failure{fmt.Errorf("the proxy asks for a user and a password (%s)", resp.Status), "set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"}
	case resp.StatusCode != http.StatusOK:
		return &failure{fmt.Errorf("the proxy refuses the connection to %s (%s)", to, resp.Status), "allow " + to + " in the proxy"}
	}
	return nil
}

// handshake makes a TLS connection and verifies the certificate. The caller closes the
// result, also after a failure.
func (c *connector) handshake(ctx context.Context, conn net.Conn, u *url.URL) (net.Conn, *failure) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.transport.TLSClientConfig != nil {
		conf = c.transport.TLSClientConfig.Clone()
	}
	conf.ServerName = u.Hostname()
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	secured := tls.Client(conn, conf)
	err := secured.HandshakeContext(ctx)
	if err == nil {
		return secured, nil
	}
	remedy := "check what answers at this address: the TLS handshake failed"
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		remedy = "if a proxy or an endpoint of your own uses its own certificate authority, mount its certificate and name it: " + c.set("AWS_CA_BUNDLE=/.aws/ca.pem")
	case errors.As(err, &name):
		remedy = "correct the endpoint's host name, or use a certificate for it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		remedy = "renew the certificate, or correct this host's clock"
	}
	return conn, &failure{err, remedy}
}

const (
	// mostSkew is how much the clocks may differ. AWS refuses requests that were signed with
	// a time more than five minutes off (AWS General Reference, Signature Version 4), and the
	// SDK has to correct the time.
	mostSkew = 5 * time.Minute
	// noticedSkew is a difference that is worth a remark.
	noticedSkew = time.Minute
	// smallestSkew is the smallest difference that is shown. The time in an answer has whole
	// seconds.
	smallestSkew = 3 * time.Second
)

// checkClock sends a request and compares the time of the answer with this host's clock.
func (c *connector) checkClock(ctx context.Context) (Result, error) {
	const name = "clock"
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url.String(), nil)
	if err != nil {
		return Result{}, err
	}
	client := &http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	before := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return Result{}, err
	}
	resp.Body.Close()
	middle := before.Add(time.Since(before) / 2)
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return unknown(name, "the endpoint's answer has no date"), nil
	}
	c.skew = at.Sub(middle).Round(time.Second)
	direction := "behind"
	if c.skew < 0 {
		direction = "ahead of"
	}
	difference := fmt.Sprintf("this host's clock is %v %s CloudWatch's", c.skew.Abs(), direction)
	switch {
	case c.skew.Abs() > mostSkew:
		c.clockIsBad = true
		return bad(name, "set the clock, and keep it right with NTP: timedatectl set-ntp true",
			"%s: requests may be refused, and events get wrong times", difference), nil
	case c.skew.Abs() > noticedSkew:
		return good(name, "%s, which is still accepted; keep it right with NTP", difference), nil
	}
	if c.skew.Abs() < smallestSkew {
		return good(name, "this host's clock agrees with CloudWatch's"), nil
	}
	return good(name, "%s", difference), nil
}
