package uploader

import (
	"errors"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
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

// errorMessage returns what the service said; empty if err is none of the service's.
func errorMessage(err error) string {
	var ae apiError
	if errors.As(err, &ae) {
		return ae.ErrorMessage()
	}
	return ""
}

var (
	// eventLimit finds the limit in an error such as "Log event too large: 262145 bytes exceeds limit of 262144",
	// which counts eventOverhead. An error about the whole batch ("Upload too large: …") is another matter.
	eventLimit = regexp.MustCompile(`(?i)\bevent\b.{0,80}\blimit\b\D{0,20}(\d{4,8})\b`)
	// aboutSize finds whether an error is about the size of something.
	aboutSize = regexp.MustCompile(`(?i)too (large|long|big)|\bsize\b|\blength\b|exceed`)
)

// eventLimitOf returns how long a message may be, by an error that refuses a batch of so many events as invalid or too
// large. stated says that the error is about a size; else the limit is a guess. ok is false where the error says
// nothing about the length of an event.
func eventLimitOf(err error, events int) (limit int, stated, ok bool) {
	text := errorMessage(err)
	if m := eventLimit.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1]) // at most 8 digits
		return n - eventOverhead, true, n >= minEventLimit
	}
	if events > 1 {
		return 0, false, false
	}
	return formerEventLimit - eventOverhead, statusOf(err) == http.StatusRequestEntityTooLarge || aboutSize.MatchString(text), true
}

var (
	// aboutEntity finds whether an error is about the entity of a request. The error of a service that does not know
	// entities can have any code.
	aboutEntity = regexp.MustCompile(`(?i)\bentity\b`)
	// httpEntity finds what HTTP calls an entity, which is the whole body (RFC 2616, 10.4.14).
	httpEntity = regexp.MustCompile(`(?i)\b(request|unprocessable)[ -]?entity\b`)
)

// unreachable reports whether the request cannot have arrived.
func unreachable(err error) bool {
	var oe *net.OpError
	return errors.As(err, &oe) && oe.Op == "dial"
}

// aboutOptions reports whether the call might do better if it asked for less.
func aboutOptions(v verdict, err error) bool {
	switch kind(err) {
	case "OperationAbortedException", "LimitExceededException": // another call is in flight, or there are too many groups
		return false
	}
	return v == denied || v == invalid || v == badTarget
}

// What an error says that is about an option of CreateLogGroup.
var (
	aboutTags  = regexp.MustCompile(`(?i)tagresource|taglog|\btag`)
	aboutClass = regexp.MustCompile(`(?i)class`)
	aboutKey   = regexp.MustCompile(`(?i)kms`)
)
