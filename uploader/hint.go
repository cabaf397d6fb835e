package uploader

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// hintFor says what the operator can do about an error. It is empty if the operator can do
// nothing. What failed before CloudWatch saw the request comes first, because the same
// failures also keep the plugin from getting credentials.
func hintFor(v verdict, err error, a target.Access) string {
	for _, hint := range []string{keyHint(err), proxyHint(err), nameHint(err, a), tlsHint(err), settingHint(err), clockHint(err)} {
		if hint != "" {
			return hint
		}
	}
	switch {
	case kind(err) == codeConflict:
		return "another call is changing the log group; the plugin tries again"
	case kind(err) == codeTooMany:
		return "the account has as many log groups as its quota allows: delete some, or raise the quota in Service Quotas"
	}
	switch v {
	case unavailable:
		return unavailableHint(err)
	case throttled:
		return throttledHint(err)
	case unauthenticated:
		return credentialsHint(err, a)
	case denied:
		return deniedHint(err)
	case notFound:
		return missingHint(err)
	case badTarget:
		return "check the names of group and stream, the group's KMS key, the region and the endpoint"
	default:
		return ""
	}
}

// aboutKeyUse matches an error about the use of a KMS key. Names of groups contain neither
// spaces nor colons.
var aboutKeyUse = regexp.MustCompile(`\bkms:[A-Z]|(?i)\bKMS key\b`)

func keyHint(err error) string {
	var ke *keyError
	if !errors.As(err, &ke) && !strings.HasPrefix(kind(err), "KMS") && !aboutKeyUse.MatchString(errorMessage(err)) {
		return ""
	}
	return "check that the key is enabled, that it is in the group's region, that its policy lets logs.REGION.amazonaws.com use it, " +
		"and that logs:CreateLogGroup is allowed for this group; or create the group"
}

func proxyHint(err error) string {
	var pe *proxyError
	switch {
	case errors.As(err, &pe) && pe.answer == "":
		return fmt.Sprintf("the proxy %s does not accept connections: check that it runs, and check %s; if the host needs no proxy for AWS, change NO_PROXY", pe.proxy, pe.setting)
	case errors.As(err, &pe) && strings.HasPrefix(pe.answer, "407"):
		return "the proxy wants a user and a password: put them into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT)"
	case statusOf(err) == http.StatusProxyAuthRequired:
		return "the proxy wants a user and a password: put them into HTTP_PROXY (http://USER:PASSWORD@HOST:PORT)"
	case errors.As(err, &pe):
		return fmt.Sprintf("the proxy %s refuses to connect to AWS: allow that on the proxy, or check %s and NO_PROXY", pe.proxy, pe.setting)
	case isProxy(err): // of a request for credentials, which the SDK sends itself
		return "the proxy does not accept connections: check that it runs, and check HTTPS_PROXY; if the host needs no proxy for AWS, change NO_PROXY"
	default:
		return ""
	}
}

// nameHint is about an error of DNS.
func nameHint(err error, a target.Access) string {
	var dns *net.DNSError
	switch {
	case !errors.As(err, &dns):
		return ""
	case !dns.IsNotFound:
		return "the host's DNS servers do not answer: check the servers in the host's /etc/resolv.conf, and the network between"
	case a.Endpoint == "" && strings.Contains(dns.Name, "."+a.Region+"."):
		return "the host name of the region cannot be resolved: check the spelling of the region '" + a.Region + "', and the host's DNS"
	default:
		return "the host name '" + dns.Name + "' cannot be resolved: check the endpoint, and the host's DNS"
	}
}

func tlsHint(err error) string {
	var (
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
		certificate x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "the plugin does not know who issued the certificate: if a proxy inspects TLS, put its CA certificate into a file of the plugin's AWS files, and set AWS_CA_BUNDLE to that file"
	case errors.As(err, &host):
		return "the certificate is for another host: check the endpoint, and whether DNS or a proxy leads to another host"
	case errors.As(err, &certificate) && certificate.Reason == x509.Expired:
		return "the certificate has expired or is not valid yet: check the host's clock, and the endpoint's or proxy's certificate"
	case isTLS(err):
		return "no TLS connection is possible: check whether the endpoint is http:// or https://, its certificate, and AWS_CA_BUNDLE"
	default:
		return ""
	}
}

func settingHint(err error) string {
	switch {
	case kind(err) == "configuration":
		return "correct the AWS setting or file that the error names; the plugin reads files again at each try, but settings only when it is enabled"
	case isInvalidEndpoint(err):
		return "the endpoint is not a URL: use http:// or https:// and a host in AWS_ENDPOINT_URL_CLOUDWATCH_LOGS or AWS_ENDPOINT_URL"
	default:
		return ""
	}
}

// signedTimes matches the times in errors such as "Signature expired: 20260102T030405Z is now
// earlier than 20260102T031405Z (20260102T031905Z - 5 min.)": the host's and CloudWatch's.
var signedTimes = regexp.MustCompile(`(\d{8}T\d{6}Z) is .*\((\d{8}T\d{6}Z) [-+]`)

func clockHint(err error) string {
	message := errorMessage(err)
	if kind(err) != "RequestTimeTooSkewed" && !strings.Contains(message, "Signature expired") && !strings.Contains(message, "Signature not yet current") {
		return ""
	}
	ahead := time.Duration(0)
	if m := signedTimes.FindStringSubmatch(message); m != nil {
		const form = "20060102T150405Z"
		host, err1 := time.Parse(form, m[1])
		aws, err2 := time.Parse(form, m[2])
		if err1 == nil && err2 == nil {
			ahead = host.Sub(aws)
		}
	} else if aws, ok := serverTime(err); ok {
		ahead = time.Since(aws)
	}
	return "the host's clock is " + aheadText(ahead) + ": set it, and run an NTP client such as chrony"
}

// aheadText says how wrong a clock is. Zero means that nobody knows.
func aheadText(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d > 0:
		return d.String() + " ahead of AWS's"
	case d < 0:
		return (-d).String() + " behind AWS's"
	default:
		return "wrong"
	}
}

func unavailableHint(err error) string {
	switch status := statusOf(err); {
	case status >= 500, codeOf(err) != "":
		return "the service fails; the plugin keeps trying, and sends the backlog later; if it lasts, look at the AWS Health Dashboard"
	case status != 0:
		return "something between the host and CloudWatch answers in its place: check HTTPS_PROXY, the endpoint, and whether the network wants a login"
	case unreachable(err):
		return "there is no connection to CloudWatch: check firewall, route and VPC endpoint; if the host reaches AWS through a proxy, set HTTPS_PROXY"
	default:
		return "CloudWatch does not answer: check the network, the firewall and the VPC endpoint"
	}
}

// operation is an error that says which operation failed (smithy.OperationError).
type operation interface{ Operation() string }

// operationOf returns the operation that failed, or "PutLogEvents" if the error does not say.
func operationOf(err error) string {
	var o operation
	if errors.As(err, &o) && o.Operation() != "" {
		return o.Operation()
	}
	return "PutLogEvents"
}

func throttledHint(err error) string {
	return "nothing to do about a peak: the plugin sends fewer requests and tries again; if it lasts, raise the quota of " + operationOf(err) +
		" requests in Service Quotas, or set a longer DELAY"
}

func credentialsHint(err error, a target.Access) string {
	const again = "; the plugin reads the credentials again at each try"
	code := kind(err)
	switch {
	case a.RoleARN != "":
		return "check the role and the external ID, that the role's trust policy lets the plugin's credentials assume it, and the host's clock" + again
	case code == "credentials":
		return "the plugin has no AWS credentials: give the instance a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount AWS files (aws.source)" + again
	case strings.HasPrefix(code, "ExpiredToken"), code == "RequestExpired":
		return "the AWS credentials have expired: renew them" + again
	case code == "InvalidSignatureException", code == "SignatureDoesNotMatch":
		return "the secret access key does not belong to the access key ID, or a proxy changes requests: set both keys again" + again
	case code == "OptInRequired":
		return "the account is not signed up for this service or region: enable the region '" + a.Region + "' for the account"
	default:
		return "AWS does not accept the credentials: check that the access key exists, is active, and belongs to the partition of the region '" + a.Region + "'" + again
	}
}

// deniedAction matches the action in "User: … is not authorized to perform: logs:PutLogEvents".
var deniedAction = regexp.MustCompile(`not authorized to perform:? ([a-z][a-z0-9-]*:[A-Za-z]+)`)

func deniedHint(err error) string {
	action, message := "logs:"+operationOf(err), errorMessage(err)
	if m := deniedAction.FindStringSubmatch(message); m != nil {
		action = m[1]
	}
	switch {
	case strings.Contains(message, "explicit deny"):
		return "remove the statement of the policy that denies " + action + " for this log group"
	case action == "logs:CreateLogGroup":
		return "allow logs:CreateLogGroup for this log group, or create the group"
	case action == "logs:CreateLogStream":
		return "allow logs:CreateLogStream for this log group, or create the stream"
	case strings.HasPrefix(action, "logs:PutLogEvents"):
		return "allow logs:PutLogEvents for this log group, and logs:CreateLogStream and logs:CreateLogGroup if the stream or the group does not exist"
	default:
		return "allow " + action + " for this log group"
	}
}

func missingHint(err error) string {
	const let = " does not exist: create it, or let the plugin create it (create-group, create-stream)"
	switch message := strings.ToLower(errorMessage(err)); {
	case strings.Contains(message, "log group"):
		return "the log group" + let
	case strings.Contains(message, "log stream"):
		return "the log stream" + let
	default:
		return "the log group or the log stream" + let
	}
}

// isProxy reports whether a proxy does not accept connections.
func isProxy(err error) bool {
	var oe *net.OpError
	return errors.As(err, &oe) && oe.Op == proxyConnect
}

// isTLS reports whether no TLS connection was possible.
func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
	)
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &alert) || errors.Is(err, http.ErrSchemeMismatch)
}
