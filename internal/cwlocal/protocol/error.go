package protocol

import (
	"fmt"
	"net/http"
)

// An Error is an error response of the service. It does not implement error, so that a nil
// *Error cannot become an error that is not nil.
type Error struct {
	Status  int
	Code    string
	Message string
	// Extra holds further members of the response body.
	Extra map[string]string
	// Expected marks an error that a client may get without breaking a rule, such as
	// throttling.
	Expected bool

	// xmlPage says that the service's front end responds, which does not speak awsJson.
	xmlPage bool
}

// Refuse makes an error with HTTP status 400.
func Refuse(code, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes an InvalidParameterException.
func Invalid(format string, args ...any) *Error {
	return Refuse("InvalidParameterException", format, args...)
}

func serialization(format string, args ...any) *Error {
	return Refuse("SerializationException", format, args...)
}

// The errors that more than one part of the stand-in responds with.
var (
	ErrNotJSON        = serialization("Could not parse the request body as JSON")
	ErrUnknownKey     = Refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	ErrWrongSignature = Refuse("InvalidSignatureException",
		"The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	ErrExpiredToken = &Error{Status: http.StatusBadRequest, Code: "ExpiredTokenException",
		Message: "The security token included in the request is expired", Expected: true}
	ErrThrottled = &Error{Status: http.StatusBadRequest, Code: "ThrottlingException",
		Message: "Rate exceeded", Expected: true}
)
