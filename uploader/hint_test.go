package uploader

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/target"
)

// TestErrorTextKeepsBeginningAndEnd: a long error keeps whole characters, and has no escaped
// quotation marks.
func TestErrorTextKeepsBeginningAndEnd(t *testing.T) {
	chain := "operation error CloudWatch Logs: PutLogEvents, get identity: " + strings.Repeat("failed to refresh cached credentials, ", 40) +
		`open "/root/.aws/config": permission denied`
	got := ErrorText(errors.New(chain))
	if !strings.HasPrefix(got, "operation error CloudWatch Logs: PutLogEvents") || !strings.HasSuffix(got, "open '/root/.aws/config': permission denied") ||
		len(got) > 603 {
		t.Error(got)
	}
	for i := range 8 {
		if got := ErrorText(errors.New(strings.Repeat("x", i) + strings.Repeat("日本", 500))); !utf8.ValidString(got) || strings.Contains(got, "\ufffd") {
			t.Errorf("%d: %q", i, got)
		}
	}
	nested := fmt.Errorf("outer %q", fmt.Sprintf("inner %q", `a "quote"`))
	if got := ErrorText(nested); strings.ContainsAny(got, "\"\\") {
		t.Error(got)
	}
}

// of is an error of one operation of the SDK.
func of(operation string, err error) error {
	return &smithy.OperationError{ServiceID: "CloudWatch Logs", OperationName: operation, Err: err}
}

// TestHintSaysWhatToDo: failures that need another remedy have another hint.
func TestHintSaysWhatToDo(t *testing.T) {
	dns := func(e net.DNSError) error {
		return fmt.Errorf("operation error: %w", &net.OpError{Op: "dial", Net: "tcp", Err: &e})
	}
	noHost := dns(net.DNSError{Err: "no such host", Name: "logs.eu-centrall-1.amazonaws.com", IsNotFound: true})
	deniedTo := func(action, because string) error {
		return apiErrWith("AccessDeniedException", "User: arn:aws:iam::1:user/u is not authorized to perform: "+action+" on resource: arn:aws:logs:r:1:log-group:g because "+because)
	}
	const noPolicy = "no identity-based policy allows the action"
	none := &credentialsError{errors.New("no EC2 IMDS role found")}
	seen := map[string]string{}
	for _, k := range []struct {
		err    error
		access target.Access
		hint   string
	}{
		{noHost, target.Access{Region: "eu-centrall-1"}, "check the spelling of the region 'eu-centrall-1'"},
		{noHost, target.Access{Region: "eu-central-1", Endpoint: "https://logs.example"}, "the host name 'logs.eu-centrall-1.amazonaws.com' cannot be resolved: check the endpoint"},
		{dns(net.DNSError{Err: "server misbehaving", IsTemporary: true}), target.Access{}, "the host's DNS servers do not answer"},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, target.Access{}, "there is no connection to CloudWatch: check firewall, route and VPC endpoint"},
		{context.DeadlineExceeded, target.Access{}, "CloudWatch does not answer"},
		{&fakeErr{status: 502}, target.Access{}, "AWS Health Dashboard"},
		{&fakeErr{status: 302}, target.Access{}, "whether the network wants a login"},
		{&fakeErr{status: 407}, target.Access{}, "the proxy wants a user and a password"},
		{&credentialsError{&net.OpError{Op: "proxyconnect", Err: errors.New("refused")}}, target.Access{}, "the proxy does not accept connections: check that it runs"},

		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, target.Access{}, "the certificate is for another host"},
		{x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}, target.Access{}, "check the host's clock, and the endpoint's or proxy's certificate"},

		{apiErrWith("InvalidSignatureException", "Signature expired: 20260102T030405Z is now earlier than 20260102T031405Z (20260102T031905Z - 5 min.)"), target.Access{}, "the host's clock is 15m0s behind AWS's: set it"},
		{&credentialsError{apiErrWith("SignatureDoesNotMatch", "Signature not yet current: 20260102T030405Z is still later than 20260102T020905Z (20260102T020405Z + 5 min.)")}, target.Access{RoleARN: "r"}, "the host's clock is 1h0m0s ahead of AWS's: set it"},
		{apiErr("RequestTimeTooSkewed"), target.Access{}, "the host's clock is wrong: set it"},

		{none, target.Access{}, "the plugin has no AWS credentials: give the instance a role"},
		{none, target.Access{RoleARN: "r"}, "check the role and the external ID"},
		{apiErr("ExpiredTokenException"), target.Access{}, "the AWS credentials have expired"},
		{apiErr("UnrecognizedClientException"), target.Access{Region: "cn-north-1"}, "belongs to the partition of the region 'cn-north-1'"},
		{apiErr("InvalidSignatureException"), target.Access{}, "the secret access key does not belong to the access key ID"},
		{apiErr("OptInRequired"), target.Access{Region: "af-south-1"}, "enable the region 'af-south-1'"},

		{of("PutLogEvents", deniedTo("logs:PutLogEvents", noPolicy)), target.Access{}, "allow logs:PutLogEvents for this log group"},
		{of("CreateLogGroup", deniedTo("logs:CreateLogGroup", noPolicy)), target.Access{}, "allow logs:CreateLogGroup for this log group, or create the group"},
		{of("CreateLogStream", apiErr("AccessDeniedException")), target.Access{}, "allow logs:CreateLogStream for this log group, or create the stream"},
		{of("CreateLogGroup", deniedTo("logs:TagResource", noPolicy)), target.Access{}, "allow logs:TagResource for this log group"},
		{deniedTo("logs:PutLogEvents", "of an explicit deny"), target.Access{}, "remove the statement of the policy that denies logs:PutLogEvents"},

		{of("CreateLogGroup", &keyError{apiErrWith("InvalidParameterException", "The specified KMS key does not exist")}), target.Access{}, "check that the key is enabled"},
		{apiErrWith("ResourceNotFoundException", "The specified log group does not exist."), target.Access{}, "the log group does not exist: create it"},
		{apiErrWith("ResourceNotFoundException", "The specified log stream does not exist."), target.Access{}, "the log stream does not exist: create it"},
		{of("PutLogEvents", apiErr("ThrottlingException")), target.Access{}, "raise the quota of PutLogEvents requests"},
		{of("CreateLogStream", apiErr("ThrottlingException")), target.Access{}, "raise the quota of CreateLogStream requests"},
		{apiErr("LimitExceededException"), target.Access{}, "the account has as many log groups as its quota allows"},
		{apiErr("OperationAbortedException"), target.Access{}, "another call is changing the log group; the plugin tries again"},
		{apiErr("ValidationException"), target.Access{}, "check the names of group and stream"},
	} {
		got := hintFor(classify(k.err, false), k.err, k.access)
		if !strings.Contains(got, k.hint) {
			t.Errorf("%v: hint %q, want %q", k.err, got, k.hint)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%v and %s have one hint: %q", k.err, other, got)
		}
		seen[got] = k.err.Error()
	}
	// The key of an existing group can fail later, and a group may be named after keys.
	for message, want := range map[string]bool{
		"User: u is not authorized to perform: kms:GenerateDataKey on this resource":                          true,
		"User: u is not authorized to perform: logs:PutLogEvents on resource: arn:aws:logs:r:1:log-group:kms": false,
	} {
		err := apiErrWith("AccessDeniedException", message)
		if got := strings.Contains(hintFor(denied, err, target.Access{}), "check that the key is enabled"); got != want {
			t.Errorf("%s: about a key: %v", message, got)
		}
	}
}

// try sends a request to an endpoint through the SDK, and returns its error and the hint.
func try(t *testing.T, endpoint string, proxy string) (err error, hint string) {
	t.Helper()
	s := newSDK(func(ctx context.Context, a target.Access) (aws.Config, error) {
		cfg, err := staticConfig(ctx, a)
		if proxy != "" {
			u, err := url.Parse(proxy)
			if err != nil {
				t.Fatal(err)
			}
			cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) { tr.Proxy = http.ProxyURL(u) })
		}
		return cfg, err
	}, "1")
	defer s.close()
	a := target.Access{Region: "eu-central-1", Endpoint: endpoint}
	c, err := s.connect(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}")})
	if err == nil {
		t.Fatal("the request succeeded")
	}
	if v := classify(err, false); v != unavailable {
		t.Errorf("%v: verdict %v", err, v)
	}
	return err, hintFor(classify(err, false), err, a)
}

// TestErrorNamesTheProxy: without the user and password, which are in its URL.
func TestErrorNamesTheProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := l.Addr().String()
	l.Close()
	status := http.StatusForbidden
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
	defer refusing.Close()
	up := strings.TrimPrefix(refusing.URL, "http://")
	for _, k := range []struct {
		endpoint, proxy string
		status          int
		kind, err, hint string
	}{
		{"https://logs.example", down, 0, "proxy", "the proxy http://" + down + " cannot be reached", "the proxy http://" + down + " does not accept connections: check that it runs, and check HTTPS_PROXY"},
		{"http://logs.example", down, 0, "proxy", "the proxy http://" + down + " cannot be reached", "check HTTP_PROXY"},
		{"https://logs.example", up, 403, "proxy", "the proxy http://" + up + " answered 403 Forbidden", "the proxy http://" + up + " refuses to connect to AWS"},
		{"https://logs.example", up, 407, "proxy", "answered 407", "the proxy wants a user and a password"},
		{"http://logs.example", up, 407, "HTTP status 407", "407", "the proxy wants a user and a password"},
	} {
		status = k.status
		err, hint := try(t, k.endpoint, "http://user:pa55@"+k.proxy)
		if text := ErrorText(err); !strings.Contains(text, k.err) || !strings.Contains(hint, k.hint) || kind(err) != k.kind || strings.Contains(text+hint, "pa55") {
			t.Errorf("%s through %s: kind %q, error %q, hint %q", k.endpoint, k.proxy, kind(err), text, hint)
		}
		if (k.status == 0) != unreachable(err) {
			t.Errorf("%v: unreachable %v", err, unreachable(err))
		}
	}
}

// TestErrorsOfTLSHaveTheirHint: a proxy that inspects TLS, and an endpoint without TLS.
func TestErrorsOfTLSHaveTheirHint(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for endpoint, want := range map[string]string{
		secure.URL: "set AWS_CA_BUNDLE to that file",
		strings.Replace(plain.URL, "http:", "https:", 1): "check whether the endpoint is http:// or https://",
	} {
		if err, hint := try(t, endpoint, ""); !strings.Contains(hint, want) || kind(err) != "TLS" {
			t.Errorf("%s: kind %q, %v, hint %q", endpoint, kind(err), err, hint)
		}
	}
}

// TestWrongClockHasItsHint: the first answer to a signature says how wrong the host's clock is,
// and every answer has CloudWatch's time.
func TestWrongClockHasItsHint(t *testing.T) {
	const off = -20 * time.Minute
	s, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Now: func() time.Time { return time.Now().Add(off) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := newSDK(staticConfig, "1")
	defer k.close()
	a := target.Access{Region: "eu-central-1", Endpoint: s.URL()}
	c, err := k.connect(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if ahead := c.ClockAhead(); ahead != 0 {
		t.Errorf("%v ahead before the first answer", ahead)
	}
	_, err = c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}")})
	hint := hintFor(classify(err, false), err, a)
	if classify(err, false) != unauthenticated || !strings.Contains(hint, "the host's clock is 20m0s ahead of AWS's") && !strings.Contains(hint, "the host's clock is 19m59s ahead of AWS's") {
		t.Errorf("%v: hint %q", err, hint)
	}
	if ahead := c.ClockAhead(); ahead < -off || ahead > -off+time.Minute {
		t.Errorf("%v ahead, want 20m", ahead)
	}
}

// TestErrorTextHidesSecrets: CloudWatch answers a wrong signature with everything that was
// signed.
func TestErrorTextHidesSecrets(t *testing.T) {
	long := "InvalidSignatureException: The request signature we calculated does not match the signature you provided.\n\n" +
		"The Canonical String for this request should have been\n'POST\n/\nx-amz-security-token:TOKENTOKEN\n'"
	for _, s := range []string{
		long, "a X-Amz-Security-Token: TOKENTOKEN b", "Authorization: AWS4-HMAC-SHA256 Credential=TOKENTOKEN", "Signature=TOKENTOKEN",
	} {
		if got := ErrorText(errors.New(s)); strings.Contains(got, "TOKEN") || strings.Contains(got, "\n") {
			t.Errorf("%q", got)
		}
	}
	if got := ErrorText(errors.New(strings.Repeat("ü ", 10_000))); len(got) > 603 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestErrorTextHidesUserInfo(t *testing.T) {
	err := fmt.Errorf("invalid proxy address %q: parse", "http://user:pa/ss%zz@127.0.0.1:1")
	if b := ErrorText(err); strings.Contains(b, "pa/ss") || !strings.Contains(b, "127.0.0.1:1") {
		t.Error(b)
	}
}

// TestInvalidSettingsHaveTheirHint: if the SDK cannot use an endpoint or a configuration,
// the hint names the setting, not the credentials. None of these requests leaves the host.
func TestInvalidSettingsHaveTheirHint(t *testing.T) {
	for _, endpoint := range []string{"ftp://logs.example", "127.0.0.1:4586", "http://", "nonsense"} {
		s := newSDK(staticConfig, "1")
		defer s.close()
		a := target.Access{Region: "eu-central-1", Endpoint: endpoint}
		c, err := s.connect(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}")})
		if hint := hintFor(classify(err, false), err, a); !strings.Contains(hint, "use http:// or https:// and a host") {
			t.Errorf("%s: %v: hint %q", endpoint, err, hint)
		}
	}

	broken := errors.New("couldn't read the AWS configuration: invalid AWS_RETRY_MODE value")
	u := New(Options{Config: func(context.Context, target.Access) (aws.Config, error) { return aws.Config{}, broken }})
	defer stop(t, u)
	_, err := newService(u, target.Access{Region: "eu-central-1"}, &endpoint{}).connect(t.Context())
	v := classify(err, false)
	if hint := hintFor(v, err, target.Access{}); v != unauthenticated || !errors.Is(err, broken) || !strings.Contains(hint, "correct the AWS setting or file that the error names") {
		t.Errorf("%v: verdict %v, hint %q", err, v, hint)
	}
}
