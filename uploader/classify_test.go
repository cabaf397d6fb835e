package uploader

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestClassifyErrors(t *testing.T) {
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
		{api("ServiceUnavailableException", "", 503), true, unavailable},
		{api("Whatever", "", 500), true, unavailable},
		{&fakeErr{status: 502}, true, unavailable},
		{&fakeErr{status: 200}, true, unavailable}, // a proxy's page
		{&fakeErr{status: 302}, true, unavailable},
		{&fakeErr{status: 408}, true, unavailable},
		{errors.New("connection reset by peer"), true, unavailable},
		{context.DeadlineExceeded, true, unavailable},
		{context.Canceled, true, unavailable}, // the uploader did not cancel it
		{errStopped, true, cancelled},
		{api("ResourceNotFoundException", "", 400), true, notFound},
		{&fakeErr{status: 404}, false, badTarget},
		{api("ExpiredTokenException", "", 400), true, unauthenticated},
		{api("UnrecognizedClientException", "", 400), true, unauthenticated},
		{api("InvalidSignatureException", "", 403), true, unauthenticated},
		{&credentialsError{errors.New("no EC2 IMDS role found")}, true, unauthenticated},
		{fmt.Errorf("x: %w", &credentialsError{context.DeadlineExceeded}), true, unauthenticated},
		{api("AccessDeniedException", "", 400), true, denied},
		{&fakeErr{status: 403}, true, denied},
		{api("InvalidParameterException", "Log event too large: 300000 bytes", 400), true, invalid},
		{api("InvalidParameterException", "1 validation error detected: Value 'a:b' at 'logStreamName' failed to satisfy constraint", 400), true, badTarget},
		{api("InvalidParameterException", "The specified log group name is not valid.", 400), true, badTarget},
		{&fakeErr{status: 413}, true, invalid},
		{api("SerializationException", "", 400), true, badEncoding},
		{api("SerializationException", "", 400), false, badTarget},
		{&fakeErr{status: 415}, true, badEncoding},
		{&fakeErr{status: 400}, true, badEncoding},
		{&fakeErr{status: 400}, false, badTarget},
		{api("BrandNewException", "", 400), true, badEncoding},
		{api("BrandNewException", "", 400), false, badTarget},
	} {
		if got := classify(c.err, c.gzip); got != c.want {
			t.Errorf("classify(%v, %v) is verdict %v, want %v: the verdicts and the error codes are in uploader/classify.go", c.err, c.gzip, got, c.want)
		}
	}
}
