package fault

import (
	"fmt"
	"net/http"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

const aPage = "<html><head><title>%d</title></head><body><h1>%d</h1><p>cwlocal: a proxy's page</p></body></html>\n"

// Response is the response of the kinds that respond without carrying out the request.
func (a *Active) Response(r *protocol.Request) protocol.Response {
	fail := func(status int, code, message string) protocol.Response {
		return r.ErrorResponse(&protocol.Error{Status: status, Code: code, Message: message})
	}
	switch a.Kind {
	case Throttle:
		return fail(400, protocol.ErrThrottled.Code, protocol.ErrThrottled.Message)
	case InternalError:
		return fail(500, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.")
	case Unavailable:
		return fail(503, "ServiceUnavailableException", "The service cannot complete the request.")
	case Denied:
		action, resource := "logs:"+r.Operation, protocol.GroupARN(r.Auth.Region, r.Input.Strings["logGroupName"])+":log-stream:"+r.Input.Strings["logStreamName"]
		if r.STS {
			action, resource = "sts:"+r.Operation, r.Input.Strings["RoleArn"]
		}
		return fail(400, "AccessDeniedException", fmt.Sprintf("User: arn:aws:iam::%s:user/%s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
			protocol.AccountID, r.Auth.KeyID, action, resource, action))
	case ExpiredToken:
		return fail(400, "ExpiredTokenException", "The security token included in the request is expired")
	case UnrecognizedClient:
		return fail(400, protocol.ErrUnknownKey.Code, protocol.ErrUnknownKey.Message)
	case GzipUnsupported:
		return fail(415, "UnsupportedMediaTypeException", "Content-Encoding is not supported: gzip")
	case GzipMisread:
		return fail(400, protocol.ErrNotJSON.Code, protocol.ErrNotJSON.Message)
	case GzipCrash:
		return fail(500, "InternalFailure", "'utf-8' codec can't decode byte 0x8b in position 1: invalid start byte")
	case SmallEvents:
		message := a.Text
		if message == "" {
			message = fmt.Sprintf("Log event too large: %d bytes exceeds limit of %d", longest(&r.Input), a.Limit)
		}
		return fail(400, "InvalidParameterException", message)
	case Poison:
		return fail(400, "InvalidParameterException", "A log event is not acceptable.")
	case HTMLOK, HTMLBad:
		status := http.StatusOK
		if a.Kind == HTMLBad {
			status = http.StatusBadRequest
		}
		return protocol.Response{Status: status, ContentType: "text/html", Body: fmt.Appendf(nil, aPage, status, status)}
	}
	panic("cwlocal: a fault of kind " + string(a.Kind) + " has no response")
}
