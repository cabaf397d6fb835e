package uploader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/internal/target"
)

// TestLogTextKeepsBeginningAndEnd: a long error keeps whole characters, and has no escaped
// quotation marks.
func TestLogTextKeepsBeginningAndEnd(t *testing.T) {
	chain := "operation error CloudWatch Logs: PutLogEvents, get identity: " + strings.Repeat("failed to refresh cached credentials, ", 40) +
		`open "/root/.aws/config": permission denied`
	got := logText(errors.New(chain))
	if !strings.HasPrefix(got, "operation error CloudWatch Logs: PutLogEvents") || !strings.HasSuffix(got, "open '/root/.aws/config': permission denied") ||
		len(got) > 603 {
		t.Error(got)
	}
	for i := range 8 {
		if got := logText(errors.New(strings.Repeat("x", i) + strings.Repeat("日本", 500))); !utf8.ValidString(got) || strings.Contains(got, "\ufffd") {
			t.Errorf("%d: %q", i, got)
		}
	}
	nested := fmt.Errorf("outer %q", fmt.Sprintf("inner %q", `a "quote"`))
	if got := logText(nested); strings.ContainsAny(got, "\"\\") {
		t.Error(got)
	}
}

func TestHintSaysWhatToDo(t *testing.T) {
	noHost := fmt.Errorf("operation error: %w", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "logs.eu-centrall-1.amazonaws.com", IsNotFound: true}})
	for _, k := range []struct {
		err    error
		access target.Access
		hint   string
	}{
		{noHost, target.Access{Region: "eu-centrall-1"}, "check the spelling of the region 'eu-centrall-1'"},
		{noHost, target.Access{Region: "eu-central-1", Endpoint: "https://logs.example"}, "check the endpoint 'https://logs.example'"},
		{apiErr("OperationAbortedException"), target.Access{}, "another call is changing the log group; the plugin tries again"},
	} {
		if got := hintFor(classify(k.err, false), k.err, k.access); !strings.Contains(got, k.hint) {
			t.Errorf("%v: hint %q, want %q", k.err, got, k.hint)
		}
	}
}

// TestLogTextHidesSecrets: CloudWatch answers a wrong signature with everything that was
// signed.
func TestLogTextHidesSecrets(t *testing.T) {
	long := "InvalidSignatureException: The request signature we calculated does not match the signature you provided.\n\n" +
		"The Canonical String for this request should have been\n'POST\n/\nx-amz-security-token:TOKENTOKEN\n'"
	for _, s := range []string{
		long, "a X-Amz-Security-Token: TOKENTOKEN b", "Authorization: AWS4-HMAC-SHA256 Credential=TOKENTOKEN", "Signature=TOKENTOKEN",
	} {
		if got := logText(errors.New(s)); strings.Contains(got, "TOKEN") || strings.Contains(got, "\n") {
			t.Errorf("%q", got)
		}
	}
	if got := logText(errors.New(strings.Repeat("ü ", 10_000))); len(got) > 603 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestLogTextHidesUserInfo(t *testing.T) {
	err := fmt.Errorf("invalid proxy address %q: parse", "http://user:pa/ss%zz@127.0.0.1:1")
	if b := logText(err); strings.Contains(b, "pa/ss") || !strings.Contains(b, "127.0.0.1:1") {
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
		t.Errorf("%v: verdict %d, hint %q", err, v, hint)
	}
}
