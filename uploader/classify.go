package uploader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// verdict says what the answer to a request means for what the uploader does next. This
// file is the only one that decides what an error of CloudWatch means.
type verdict int

const (
	accepted        verdict = iota
	unavailable             // a failure of CloudWatch or the network: the access's senders wait
	throttled               // too many requests: the access's senders wait, and send fewer
	unauthenticated         // bad credentials: the access's senders wait, and read them again
	denied                  // valid credentials, but a forbidden target: this sender waits longer
	notFound                // the group or the stream does not exist: create it
	invalid                 // CloudWatch will never accept an event of this batch: find it
	badTarget               // a bad target or an unknown answer: this sender waits longer
	badEncoding             // CloudWatch cannot read the body's encoding: do not compress
	cancelled               // the uploader stopped trying

	verdicts // verdicts is the number of verdicts.
)

// verdictNames are the names of the verdicts in the status and the metrics.
var verdictNames = [verdicts]string{
	accepted: "accepted", unavailable: "unavailable", throttled: "throttled", unauthenticated: "unauthenticated", denied: "denied",
	notFound: "not_found", invalid: "invalid", badTarget: "bad_target", badEncoding: "bad_encoding", cancelled: "cancelled",
}

func (v verdict) String() string { return verdictNames[v] }

// shared reports whether the verdict is about CloudWatch or the access, and not about one
// target.
func (v verdict) shared() bool { return v == unavailable || v == throttled || v == unauthenticated }

// codes are the error codes that CloudWatch is known to return, and what they mean. Several
// are in no model of the API, because the front end that checks signatures and counts
// requests returns them ("Common Errors" in the API reference). A new code is a row here and
// in classify_test.go. It needs a case in hintFor if the hint of its verdict does not help.
var codes = map[string]verdict{
	"DataAlreadyAcceptedException":   accepted, // not returned any more; the events are stored
	"ResourceAlreadyExistsException": accepted, // for create calls only; their purpose is met

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

	"UnrecognizedClientException":         unauthenticated,
	"InvalidClientTokenId":                unauthenticated,
	"ExpiredToken":                        unauthenticated,
	"ExpiredTokenException":               unauthenticated,
	"RequestExpired":                      unauthenticated,
	"RequestTimeTooSkewed":                unauthenticated,
	"InvalidSignatureException":           unauthenticated,
	"SignatureDoesNotMatch":               unauthenticated,
	"IncompleteSignature":                 unauthenticated,
	"IncompleteSignatureException":        unauthenticated,
	"MissingAuthenticationToken":          unauthenticated,
	"MissingAuthenticationTokenException": unauthenticated,
	"OptInRequired":                       unauthenticated,
	"AuthFailure":                         unauthenticated,

	"AccessDenied":             denied,
	"AccessDeniedException":    denied,
	"NotAuthorized":            denied,
	"UnauthorizedOperation":    denied,
	"KMSAccessDeniedException": denied,

	"ResourceNotFoundException": notFound,

	"InvalidParameterException":      invalid, // or badTarget, see aboutTarget
	"RequestEntityTooLarge":          invalid,
	"RequestEntityTooLargeException": invalid,
	"PayloadTooLargeException":       invalid,

	codeTooMany:                            badTarget,
	codeConflict:                           badTarget,
	"InvalidSequenceTokenException":        badTarget,
	"InvalidOperationException":            badTarget,
	"ValidationException":                  badTarget,
	"UnknownOperationException":            badTarget,
	"InvalidParameterCombination":          badTarget,
	"InvalidParameterCombinationException": badTarget,

	"SerializationException":              badEncoding, // badTarget for a plain body
	"UnsupportedMediaType":                badEncoding,
	"UnsupportedMediaTypeException":       badEncoding,
	"InvalidContentEncodingException":     badEncoding,
	"UnsupportedContentEncodingException": badEncoding,
	"UnparseableRequestException":         badEncoding,
}

const (
	codeConflict = "OperationAbortedException" // another call is changing the same group
	codeTooMany  = "LimitExceededException"    // the account has too many groups
)

// classify says what the error of a call means. gzip says that the body was compressed: an
// unknown answer is then blamed on the compression first.
func classify(err error, gzip bool) verdict {
	if err == nil {
		return accepted
	}
	if isCredentials(err) {
		return unauthenticated
	}
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
	switch status := statusOf(err); {
	case errors.Is(err, errStopped):
		return cancelled
	case status == 0, status < 400, status >= 500, status == http.StatusRequestTimeout:
		// There is no answer, a proxy's page instead of one, or a failure inside CloudWatch.
		return unavailable
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

// aboutTarget reports whether the message of an InvalidParameterException is about the
// target and not about an event. It then names the member, as in "Value 'x' at
// 'logStreamName' failed to satisfy constraint", or spells it out, or it is about the
// group's key.
func aboutTarget(message string) bool {
	m := strings.ToLower(strings.NewReplacer(" ", "", "_", "").Replace(message))
	return strings.Contains(m, "loggroup") || strings.Contains(m, "logstream") || strings.Contains(m, "kmskey")
}

var (
	// aboutEntity matches an error about the entity of a request. A service that does not
	// know entities may return any code.
	aboutEntity = regexp.MustCompile(`(?i)\bentity\b`)
	// httpEntity matches what HTTP calls an entity, which is the whole body (RFC 2616,
	// 10.4.14).
	httpEntity = regexp.MustCompile(`(?i)\b(request|unprocessable)[ -]?entity\b`)
)

// isAboutEntity reports whether the error is about the entity of a request.
func isAboutEntity(err error) bool {
	return aboutEntity.MatchString(httpEntity.ReplaceAllString(errorMessage(err), ""))
}

var (
	// eventLimit matches the limit in an error such as "Log event too large: 262145 bytes
	// exceeds limit of 262144", which includes eventOverhead. It does not match an error
	// about the whole batch ("Upload too large: …").
	eventLimit = regexp.MustCompile(`(?i)\bevent\b.{0,80}\blimit\b\D{0,20}(\d{4,8})\b`)
	// aboutSize matches an error about the size of something.
	aboutSize = regexp.MustCompile(`(?i)too (large|long|big)|\bsize\b|\blength\b|exceed`)
)

// eventLimitOf returns how long a message may be, according to an error that refuses a
// batch as invalid or too large. events is the number of events in the batch. stated says
// that the error is about a size; otherwise the limit is a guess. ok is false if the
// error says nothing about the length of an event.
func eventLimitOf(err error, events int) (limit int, stated, ok bool) {
	text := errorMessage(err)
	if m := eventLimit.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1]) // at most 8 digits
		return n - eventOverhead, true, n >= minEventLimit
	}
	if events > 1 {
		return 0, false, false
	}
	stated = statusOf(err) == http.StatusRequestEntityTooLarge || aboutSize.MatchString(text)
	return formerEventLimit - eventOverhead, stated, true
}

// aboutOptions reports whether a CreateLogGroup call that failed may succeed if it asks for
// less.
func aboutOptions(v verdict, err error) bool {
	switch kind(err) {
	case codeConflict, codeTooMany:
		return false
	}
	return v == denied || v == invalid || v == badTarget
}

// What the errors of CreateLogGroup say about its options.
var (
	aboutTags  = regexp.MustCompile(`(?i)tagresource|taglog|\btag`)
	aboutClass = regexp.MustCompile(`(?i)class`)
	aboutKey   = regexp.MustCompile(`(?i)kms`)
)

// optionsIn reports which options of CreateLogGroup an error is about. group is the group's
// name, which most of these errors repeat and which may contain anything.
func optionsIn(err error, group string) (tags, class, key bool) {
	text := strings.ReplaceAll(err.Error(), group, "")
	return aboutTags.MatchString(text), aboutClass.MatchString(text), aboutKey.MatchString(text)
}

// unreachable reports whether the request cannot have reached CloudWatch.
func unreachable(err error) bool {
	var oe *net.OpError
	return errors.As(err, &oe) && (oe.Op == "dial" || oe.Op == proxyConnect)
}

// hasAnswer reports whether the error is an answer of CloudWatch, or of something in between.
func hasAnswer(err error) bool {
	var ae apiError
	return statusOf(err) != 0 || errors.As(err, &ae)
}

// isCredentials reports whether the request was not sent, because there are no credentials.
func isCredentials(err error) bool {
	var ce *credentialsError
	return errors.As(err, &ce)
}

// isInvalidEndpoint reports whether the configured endpoint is not the URL of a host.
// Neither the SDK (service/cloudwatchlogs, endpoints.go, resolveEndpointV2Middleware) nor
// net/http (Transport.roundTrip) has a type for that error.
func isInvalidEndpoint(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to resolve service endpoint") || strings.Contains(text, "unsupported protocol scheme") ||
		strings.Contains(text, "no Host in request URL")
}

// kind names an error for the log, which repeats an error of the same kind only now and
// then. It is the error's code, its HTTP status, or what failed before there was an answer.
func kind(err error) string {
	var (
		conf *configurationError
		pe   *proxyError
		dns  *net.DNSError
	)
	switch {
	case codeOf(err) != "":
		return codeOf(err)
	case errors.As(err, &conf):
		return "configuration"
	case isCredentials(err):
		return "credentials"
	case statusOf(err) != 0:
		return fmt.Sprintf("HTTP status %d", statusOf(err))
	case errors.As(err, &pe), isProxy(err):
		return "proxy"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "unknown host"
	case errors.As(err, &dns):
		return "DNS"
	case isTLS(err):
		return "TLS"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "connection"
	}
}

// errStopped is the error of every request that ends after the uploader stopped trying.
var errStopped = errors.New("the uploader has stopped")

// credentialsError says that a request was not sent, because there is no configuration or
// there are no credentials.
type credentialsError struct{ error }

func (e *credentialsError) Unwrap() error { return e.error }

// configurationError says that no client could be made, because a setting or a file of the
// AWS SDK is invalid or cannot be read.
type configurationError struct{ error }

func (e *configurationError) Unwrap() error { return e.error }

// apiError is an error with a code from CloudWatch (smithy.APIError).
type apiError interface {
	ErrorCode() string
	ErrorMessage() string
}

// codeOf returns the error's code, or "" if it has none. The SDK calls an answer without a
// code an UnknownError.
func codeOf(err error) string {
	var ae apiError
	if errors.As(err, &ae) && ae.ErrorCode() != "UnknownError" {
		return ae.ErrorCode()
	}
	return ""
}

// errorMessage returns CloudWatch's message, or "" if the error has none.
func errorMessage(err error) string {
	var ae apiError
	if errors.As(err, &ae) {
		return ae.ErrorMessage()
	}
	return ""
}

// statusError is an error of an HTTP response (smithy's transport/http.ResponseError).
type statusError interface{ HTTPStatusCode() int }

// statusOf returns the HTTP status of the answer, or 0 if there was no answer.
func statusOf(err error) int {
	var se statusError
	if errors.As(err, &se) {
		return se.HTTPStatusCode()
	}
	return 0
}
