package uploader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/target"
)

// verdict is what an answer of the service means for what is done next. Every error is
// judged once, by classify.
type verdict int

const (
	accepted        verdict = iota
	unavailable             // the service, or the way to it: try again, carefully, all senders together
	throttled               // too many requests: the same, and ask for less
	unauthenticated         // credentials are missing, expired or wrong: all senders together, and read them again
	denied                  // the credentials are good, this target is not allowed: this sender alone, slowly
	notFound                // the group or the stream does not exist: make it
	invalid                 // an event of this batch will never be taken: find it
	badTarget               // the target itself is not acceptable, or an answer nobody knows: this sender alone, slowly
	badEncoding             // the service does not understand the body's encoding: send plain bodies
	cancelled               // we gave up ourselves, at the end
)

// shared reports whether the verdict is about the service as a whole rather than about one target.
func (v verdict) shared() bool { return v == unavailable || v == throttled || v == unauthenticated }

// errStopped stands for whatever a request came to after the uploader gave up.
var errStopped = errors.New("the uploader has stopped")

// credentialsError says that the request was never made because there is no configuration or
// there are no credentials to make it with.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// configurationError says that no client could be made: a setting or a file of the AWS SDK is invalid or cannot be read.
type configurationError struct{ err error }

func (e *configurationError) Error() string { return e.err.Error() }
func (e *configurationError) Unwrap() error { return e.err }

// apiError is an error that the service gave a code (smithy.APIError).
type apiError interface {
	ErrorCode() string
	ErrorMessage() string
}

// statusError is an error that came with an HTTP answer (smithy's transport/http.ResponseError).
type statusError interface{ HTTPStatusCode() int }

// The codes the service is known to answer with. Several are in no model: they come from the front
// that checks signatures and counts requests ("Common Errors" in the API reference).
var codes = map[string]verdict{
	"DataAlreadyAcceptedException": accepted, // never returned now; the events are there

	"ThrottlingException":                    throttled,
	"Throttling":                             throttled,
	"ThrottledException":                     throttled,
	"RequestThrottled":                       throttled,
	"RequestThrottledException":              throttled,
	"TooManyRequestsException":               throttled,
	"RequestLimitExceeded":                   throttled,
	"SlowDown":                               throttled,
	"ProvisionedThroughputExceededException": throttled,
	"BandwidthLimitExceeded":                 throttled,

	"ServiceUnavailableException": unavailable,
	"ServiceUnavailable":          unavailable,
	"InternalFailure":             unavailable,
	"InternalServerException":     unavailable,
	"InternalServerError":         unavailable,
	"RequestTimeout":              unavailable,
	"RequestTimeoutException":     unavailable,

	"UnrecognizedClientException":          unauthenticated,
	"InvalidClientTokenId":                 unauthenticated,
	"ExpiredToken":                         unauthenticated,
	"ExpiredTokenException":                unauthenticated,
	"RequestExpired":                       unauthenticated,
	"RequestTimeTooSkewed":                 unauthenticated,
	"InvalidSignatureException":            unauthenticated,
	"SignatureDoesNotMatch":                unauthenticated,
	"IncompleteSignature":                  unauthenticated,
	"IncompleteSignatureException":         unauthenticated,
	"MissingAuthenticationToken":           unauthenticated,
	"MissingAuthenticationTokenException":  unauthenticated,
	"OptInRequired":                        unauthenticated,
	"AuthFailure":                          unauthenticated,
	"AccessDenied":                         denied,
	"AccessDeniedException":                denied,
	"NotAuthorized":                        denied,
	"UnauthorizedOperation":                denied,
	"KMSAccessDeniedException":             denied,
	"ResourceNotFoundException":            notFound,
	"InvalidParameterException":            invalid,
	"LimitExceededException":               badTarget,
	"OperationAbortedException":            badTarget,
	"InvalidSequenceTokenException":        badTarget,
	"InvalidOperationException":            badTarget,
	"ValidationException":                  badTarget,
	"UnknownOperationException":            badTarget,
	"SerializationException":               badEncoding,
	"UnsupportedMediaType":                 badEncoding,
	"UnsupportedMediaTypeException":        badEncoding,
	"InvalidContentEncodingException":      badEncoding,
	"UnsupportedContentEncodingException":  badEncoding,
	"UnparseableRequestException":          badEncoding,
	"ResourceAlreadyExistsException":       accepted, // only creating says so, and that is what was wanted
	"RequestEntityTooLarge":                invalid,
	"RequestEntityTooLargeException":       invalid,
	"PayloadTooLargeException":             invalid,
	"InvalidParameterCombination":          badTarget,
	"InvalidParameterCombinationException": badTarget,
}

// classify judges the error of one call. gzip says whether the body was compressed: an answer to such a
// request that nobody expects is blamed on that first.
func classify(err error, gzip bool) verdict {
	if err == nil {
		return accepted
	}
	var ce *credentialsError
	if errors.As(err, &ce) {
		return unauthenticated
	}
	status := statusOf(err)
	var ae apiError
	if errors.As(err, &ae) {
		v, known := codes[ae.ErrorCode()]
		switch {
		case !known:
		case v == invalid && aboutTarget(ae.ErrorMessage()):
			return badTarget
		case v == badEncoding && !gzip:
			return badTarget
		default:
			return v
		}
	}
	switch {
	case errors.Is(err, errStopped):
		return cancelled
	case status == 0, status < 400, status >= 500, status == http.StatusRequestTimeout:
		return unavailable // no answer at all, one that is none (a proxy's page), or the service's own trouble
	case status == http.StatusTooManyRequests:
		return throttled
	case status == http.StatusRequestEntityTooLarge:
		return invalid
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return denied
	case status == http.StatusProxyAuthRequired:
		return unavailable
	case gzip:
		return badEncoding
	default:
		return badTarget
	}
}

// aboutTarget reports whether an InvalidParameterException is about the target rather than about an event: its
// message then names the member, as in "Value 'x' at 'logStreamName' failed to satisfy constraint", or
// spells it out, or it is about the group's key.
func aboutTarget(message string) bool {
	m := strings.ToLower(strings.NewReplacer(" ", "", "_", "").Replace(message))
	return strings.Contains(m, "loggroup") || strings.Contains(m, "logstream") || strings.Contains(m, "kmskey")
}

// isUnknownHost reports whether DNS does not know the host.
func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// isInvalidEndpoint reports whether the endpoint of the settings or of the shared configuration file is no URL of a host.
// Neither the SDK (service/cloudwatchlogs, endpoints.go, resolveEndpointV2Middleware) nor net/http (Transport.roundTrip)
// has a type for that.
func isInvalidEndpoint(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to resolve service endpoint") || strings.Contains(text, "unsupported protocol scheme") ||
		strings.Contains(text, "no Host in request URL")
}

func statusOf(err error) int {
	var se statusError
	if errors.As(err, &se) {
		return se.HTTPStatusCode()
	}
	return 0
}

// kind names an error for the log: the same kind is not logged again and again. It is the
// service's code, the status, or what went wrong on the way.
func kind(err error) string {
	var (
		ae   apiError
		ce   *credentialsError
		conf *configurationError
	)
	switch {
	case errors.As(err, &ae):
		return ae.ErrorCode()
	case errors.As(err, &conf):
		return "configuration"
	case errors.As(err, &ce):
		return "credentials"
	case statusOf(err) != 0:
		return fmt.Sprintf("HTTP status %d", statusOf(err))
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case isUnknownHost(err):
		return "unknown host"
	default:
		return "connection"
	}
}

// secret finds what must not be logged. A signature that does not match is answered with the whole canonical
// request, session token included.
var secret = regexp.MustCompile(`(?is)(x-amz-security-token|authorization\s*[:=]|canonical string|string-to-sign|credential=|signature=|aws4-hmac-sha256).*`)

// userInfo finds a user and password in a URL: net/http repeats a proxy's that it cannot read.
var userInfo = regexp.MustCompile(`://[^\s"]*@`)

// brief returns the error as one short line without anything secret: dockerd stops reading the plugin's output at a line
// of 64 KiB. A long one keeps its beginning, which says what was tried, and its end, where a chain of errors has the cause.
func brief(err error) string {
	const head, tail = 200, 400
	s := userInfo.ReplaceAllString(secret.ReplaceAllString(err.Error(), "…"), "://…@")
	s = quotes.ReplaceAllString(strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "\ufffd"), "'")
	if len(s) <= head+tail {
		return s
	}
	to := len(s) - tail
	for !utf8.RuneStart(s[to]) {
		to++
	}
	return oneline.Cut(s, head) + "…" + s[to:]
}

// quotes finds quotation marks that were escaped any number of times. The log escapes them, and dockerd does so again.
var quotes = regexp.MustCompile(`\\*"`)

// errorMessage returns what the service said; empty if err is none of the service's.
func errorMessage(err error) string {
	var ae apiError
	if errors.As(err, &ae) {
		return ae.ErrorMessage()
	}
	return ""
}

// remedy says what the operator can do about trouble of this kind; empty where it is not theirs to mend.
func remedy(v verdict, err error, a target.Access) string {
	var ke *keyError
	if errors.As(err, &ke) {
		return "check that the key is an enabled one in the group's region and that its policy lets logs.REGION.amazonaws.com use it, and that " +
			"logs:CreateLogGroup is allowed for this group; or create the group"
	}
	switch {
	case kind(err) == "OperationAbortedException":
		return "another call is changing the log group; the plugin tries again"
	case isUnknownHost(err) && a.Endpoint == "":
		return "the region's host is unknown: check the spelling of the region '" + a.Region + "', and the host's DNS"
	case isUnknownHost(err):
		return "the host is unknown: check the endpoint '" + a.Endpoint + "', the region '" + a.Region + "' and the host's DNS"
	case kind(err) == "configuration":
		return "correct the AWS setting or file that the error names; files are read again at each try, settings when the plugin is enabled"
	case isInvalidEndpoint(err):
		return "the endpoint is not a URL: use http:// or https:// and a host in AWS_ENDPOINT_URL_CLOUDWATCH_LOGS or AWS_ENDPOINT_URL"
	}
	switch v {
	case unauthenticated:
		if a.RoleARN != "" {
			return "check the role and the external ID, that the role's trust policy lets the plugin's credentials assume it, and the host's clock; " +
				"the credentials are read again at each try"
		}
		return "check the AWS credentials the plugin is given, and the host's clock; they are read again at each try"
	case denied:
		return "allow logs:PutLogEvents, and logs:CreateLogStream and logs:CreateLogGroup where they are missing, for this group"
	case notFound:
		return "create the log group and stream, or allow the driver to (create-group, create-stream)"
	case badTarget:
		return "check the names of group and stream, the group's KMS key, the region and the endpoint"
	default:
		return ""
	}
}
