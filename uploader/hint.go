package uploader

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/target"
)

// hintFor says what the operator can do about an error. It is empty if the operator can do
// nothing.
func hintFor(v verdict, err error, a target.Access) string {
	var ke *keyError
	if errors.As(err, &ke) {
		return "check that the key is enabled, that it is in the group's region, that its policy lets logs.REGION.amazonaws.com use it, " +
			"and that logs:CreateLogGroup is allowed for this group; or create the group"
	}
	switch {
	case kind(err) == codeConflict:
		return "another call is changing the log group; the plugin tries again"
	case isUnknownHost(err) && a.Endpoint == "":
		return "the host name of the region cannot be resolved: check the spelling of the region '" + a.Region + "', and the host's DNS"
	case isUnknownHost(err):
		return "the host name of the endpoint cannot be resolved: check the endpoint '" + a.Endpoint + "', the region '" + a.Region + "' and the host's DNS"
	case kind(err) == "configuration":
		return "correct the AWS setting or file that the error names; the plugin reads files again at each try, but settings only when it is enabled"
	case isInvalidEndpoint(err):
		return "the endpoint is not a URL: use http:// or https:// and a host in AWS_ENDPOINT_URL_CLOUDWATCH_LOGS or AWS_ENDPOINT_URL"
	}
	switch v {
	case unauthenticated:
		if a.RoleARN != "" {
			return "check the role and the external ID, that the role's trust policy lets the plugin's credentials assume it, and the host's clock; " +
				"the plugin reads the credentials again at each try"
		}
		return "check the plugin's AWS credentials and the host's clock; the plugin reads the credentials again at each try"
	case denied:
		return "allow logs:PutLogEvents for this group, and logs:CreateLogStream and logs:CreateLogGroup if the stream or the group does not exist"
	case notFound:
		return "create the log group and stream, or let the plugin create them (create-group, create-stream)"
	case badTarget:
		return "check the names of group and stream, the group's KMS key, the region and the endpoint"
	default:
		return ""
	}
}

// omittedHint says how to get the options of n that less does not have.
func omittedHint(n, less target.NewGroup) string {
	var all []string
	if len(n.Tags) > 0 && len(less.Tags) == 0 {
		all = append(all, "allow logs:TagResource, and tag this group by hand")
	}
	if n.Class != less.Class {
		all = append(all, "a group's class is fixed at creation: choose a class that the region supports, delete the group, and the plugin creates it again")
	}
	return strings.Join(all, "; ")
}

// lossHint explains a reason to the operator. It is empty if CloudWatch's error explains
// it.
func lossHint(r events.LossReason) string {
	switch r {
	case events.TooOld, events.Expired:
		return r.Text()
	case events.TooNew:
		return r.Text() + ": check the host's clock"
	case events.TooLarge:
		return "the beginning of the event is delivered; the rest exceeds CloudWatch's limit"
	default:
		return ""
	}
}

// quotes matches quotation marks that were escaped any number of times. The log escapes
// them, and dockerd escapes them again.
var quotes = regexp.MustCompile(`\\*"`)

// logText returns the error as one short line without secrets, because dockerd stops reading
// the plugin's output at a line of 64 KiB. Of a long error it keeps the beginning, which
// says what was tried, and the end, which has the cause.
func logText(err error) string {
	const head, tail = 200, 400
	s := oneline.Redact(err.Error())
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
