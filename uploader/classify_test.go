package uploader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	api := func(code, message string, status int) error {
		return fmt.Errorf("operation error: %w", &codeErr{fakeErr{code: code, message: message, status: status}})
	}
	for _, c := range []struct {
		err  error
		gzip bool
		want verdict
	}{
		{nil, true, accepted},
		{api("DataAlreadyAcceptedException", "", 400), true, accepted},
		{api("ThrottlingException", "Rate exceeded", 400), true, throttled},
		{api("Whatever", "", 429), true, throttled},
		{api("ServiceUnavailableException", "", 503), true, failing},
		{api("Whatever", "", 500), true, failing},
		{&fakeErr{status: 502}, true, failing},
		{&fakeErr{status: 200}, true, failing}, // a page of a proxy
		{&fakeErr{status: 302}, true, failing},
		{&fakeErr{status: 408}, true, failing},
		{errors.New("connection reset by peer"), true, failing},
		{context.DeadlineExceeded, true, failing},
		{context.Canceled, true, failing}, // not by us
		{errStopped, true, cancelled},
		{api("ResourceNotFoundException", "", 400), true, missing},
		{&fakeErr{status: 404}, false, misnamed},
		{api("ExpiredTokenException", "", 400), true, noAccess},
		{api("UnrecognizedClientException", "", 400), true, noAccess},
		{api("InvalidSignatureException", "", 403), true, noAccess},
		{&credentialsError{errors.New("no EC2 IMDS role found")}, true, noAccess},
		{fmt.Errorf("x: %w", &credentialsError{context.DeadlineExceeded}), true, noAccess},
		{api("AccessDeniedException", "", 400), true, denied},
		{&fakeErr{status: 403}, true, denied},
		{api("InvalidParameterException", "Log event too large: 300000 bytes", 400), true, refused},
		{api("InvalidParameterException", "1 validation error detected: Value 'a:b' at 'logStreamName' failed to satisfy constraint", 400), true, misnamed},
		{api("InvalidParameterException", "The specified log group name is not valid.", 400), true, misnamed},
		{&fakeErr{status: 413}, true, refused},
		{api("SerializationException", "", 400), true, ungzip},
		{api("SerializationException", "", 400), false, misnamed},
		{&fakeErr{status: 415}, true, ungzip},
		{&fakeErr{status: 400}, true, ungzip},
		{&fakeErr{status: 400}, false, misnamed},
		{api("BrandNewException", "", 400), true, ungzip},
		{api("BrandNewException", "", 400), false, misnamed},
	} {
		if got := classify(c.err, c.gzip); got != c.want {
			t.Errorf("classify(%v, %v) = %d, want %d", c.err, c.gzip, got, c.want)
		}
	}
}

// The service answers a wrong signature with all that was signed.
func TestBriefHidesSecrets(t *testing.T) {
	long := "InvalidSignatureException: The request signature we calculated does not match the signature you provided.\n\n" +
		"The Canonical String for this request should have been\n'POST\n/\nx-amz-security-token:TOKENTOKEN\n'"
	for _, s := range []string{
		long, "a X-Amz-Security-Token: TOKENTOKEN b", "Authorization: AWS4-HMAC-SHA256 Credential=TOKENTOKEN", "Signature=TOKENTOKEN",
	} {
		if got := brief(errors.New(s)); strings.Contains(got, "TOKEN") || strings.Contains(got, "\n") {
			t.Errorf("%q", got)
		}
	}
	if got := brief(errors.New(strings.Repeat("ü ", 10_000))); len(got) > 310 {
		t.Errorf("%d bytes", len(got))
	}
}
