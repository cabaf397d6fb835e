package uploader

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/target"
)

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

// hintFor says what the operator can do about trouble of this kind; empty where it is not theirs to mend.
func hintFor(v verdict, err error, a target.Access) string {
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

// omittedHint says how to get the options of n that less does not have.
func omittedHint(n, less target.NewGroup) string {
	var all []string
	if len(n.Tags) > 0 && len(less.Tags) == 0 {
		all = append(all, "allow logs:TagResource, and tag this group by hand")
	}
	if n.Class != less.Class {
		all = append(all, "a class is fixed at creation: to have it, use one that the region knows, delete the group and let it be made again")
	}
	return strings.Join(all, "; ")
}

// lossHint explains a reason to the operator. It is empty if CloudWatch's error explains it.
func lossHint(r events.LossReason) string {
	switch r {
	case events.TooOld:
		return "CloudWatch takes no event that is more than 14 days old"
	case events.Expired:
		return "CloudWatch takes no event that is older than the log group's retention"
	case events.TooNew:
		return "CloudWatch takes no event that is more than 2 hours in the future: check the host's clock"
	case events.TooLarge:
		return "the beginning of the event is delivered; the rest is more than CloudWatch takes"
	default:
		return ""
	}
}
