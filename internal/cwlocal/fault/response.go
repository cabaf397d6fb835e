package fault

import (
	"fmt"
	"net/http"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

const webPage = "<html><head><title>%d</title></head><body><h1>%d</h1><p>cwlocal: a proxy's page</p></body></html>\n"

// Response returns the response to a request that the fault applies to. It panics for the
// kinds that send none, or that carry the request out.
func (f *Fault) Response(r *protocol.Request) protocol.Response {
	switch f.Kind {
	case HTMLOK:
		return page(http.StatusOK)
	case HTMLBad:
		return page(http.StatusBadRequest)
	}
	e := f.error(r)
	if e == nil {
		panic("cwlocal: a fault of kind " + string(f.Kind) + " has no response")
	}
	return r.ErrorResponse(e)
}

func page(status int) protocol.Response {
	return protocol.Response{Status: status, ContentType: "text/html", Body: fmt.Appendf(nil, webPage, status, status)}
}

// error returns the error of the kinds that respond with one, and nil for the others.
func (f *Fault) error(r *protocol.Request) *protocol.Error {
	switch f.Kind {
	case Throttle:
		return protocol.ErrThrottled
	case ExpiredToken:
		return protocol.ErrExpiredToken
	case UnrecognizedClient:
		return protocol.ErrUnknownKey
	case GzipMisread:
		return protocol.ErrNotJSON
	case Denied:
		return denied(r)
	case InternalError:
		return &protocol.Error{Status: http.StatusInternalServerError, Code: "InternalFailure",
			Message: "The request processing has failed because of an unknown error, exception or failure."}
	case Unavailable:
		return &protocol.Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException",
			Message: "The service cannot complete the request."}
	case GzipUnsupported:
		return &protocol.Error{Status: http.StatusUnsupportedMediaType, Code: "UnsupportedMediaTypeException",
			Message: "Content-Encoding is not supported: gzip"}
	case GzipCrash:
		return &protocol.Error{Status: http.StatusInternalServerError, Code: "InternalFailure",
			Message: "'utf-8' codec can't decode byte 0x8b in position 1: invalid start byte"}
	case ErrorCode:
		return protocol.Refuse(f.Code, "%s", f.Text)
	case Poison:
		return protocol.Invalid("A log event is not acceptable.")
	case SmallEvents:
		if f.Text != "" {
			return protocol.Invalid("%s", f.Text)
		}
		return protocol.Invalid("Log event too large: %d bytes exceeds limit of %d", largest(r.Input.Events), f.Limit)
	}
	return nil
}

func denied(r *protocol.Request) *protocol.Error {
	group, stream := r.Input.Strings["logGroupName"], r.Input.Strings["logStreamName"]
	action := "logs:" + r.Operation
	resource := protocol.GroupARN(r.Auth.Region, group) + ":log-stream:" + stream
	if r.STS {
		action, resource = "sts:"+r.Operation, r.Input.Strings["RoleArn"]
	}
	return protocol.Refuse("AccessDeniedException", "User: %s is not authorized to perform: %s "+
		"on resource: %s because no identity-based policy allows the %s action",
		protocol.UserARN(r.Auth.KeyID), action, resource, action)
}
