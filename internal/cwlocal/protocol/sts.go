package protocol

import (
	"encoding/xml"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The operations of STS that the stand-in knows.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
const (
	AssumeRole        = "AssumeRole"
	GetCallerIdentity = "GetCallerIdentity"
)

const stsVersion = "2011-06-15"

// stsMembers has the members of each operation.
var stsMembers = map[string][]string{
	AssumeRole:        {"Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"},
	GetCallerIdentity: {"Action", "Version"},
}

// IsSTSOperation reports whether the stand-in knows an operation of STS.
func IsSTSOperation(name string) bool { return stsMembers[name] != nil }

// isSTS reports whether a request uses STS's query protocol.
func isSTS(req *http.Request) bool {
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	return err == nil && media == "application/x-www-form-urlencoded" && req.Method == http.MethodPost && req.URL.Path == "/"
}

// readQuery reads the body of a request to STS.
func (r *Request) readQuery(raw []byte) *Error {
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return Refuse("MalformedQueryString", "The query string is malformed: %v", err)
	}
	action := form.Get("Action")
	members := stsMembers[action]
	if members == nil || form.Get("Version") != stsVersion {
		return Refuse("InvalidAction", "Could not find operation %s for version %s; cwlocal knows AssumeRole and GetCallerIdentity of %s",
			action, form.Get("Version"), stsVersion)
	}
	r.Operation = action
	r.Input.Strings = map[string]string{}
	for name, values := range form {
		if !slices.Contains(members, name) || len(values) != 1 {
			return Refuse("InvalidParameterCombination",
				"The parameter %s of %s is unknown to cwlocal or occurs twice", name, action)
		}
		r.Input.Strings[name] = values[0]
	}
	return nil
}

// AssumedRole is the result of AssumeRole.
type AssumedRole struct {
	RoleARN, SessionName        string
	KeyID, Secret, SessionToken string
	Expires                     time.Time
}

func (a *AssumedRole) response(requestID string) Response {
	type keys struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	type user struct {
		Arn           string
		AssumedRoleID string `xml:"AssumedRoleId"`
	}
	return xmlResponse(http.StatusOK, struct {
		XMLName     xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		Credentials keys     `xml:"AssumeRoleResult>Credentials"`
		User        user     `xml:"AssumeRoleResult>AssumedRoleUser"`
		RequestID   string   `xml:"ResponseMetadata>RequestId"`
	}{
		Credentials: keys{a.KeyID, a.Secret, a.SessionToken, a.Expires.Format(time.RFC3339)},
		User: user{
			Arn:           SessionARN(a.RoleARN, a.SessionName),
			AssumedRoleID: assumedRoleID + a.SessionName,
		},
		RequestID: requestID,
	})
}

const assumedRoleID = "AROAEXAMPLEEXAMPLE:"

// SessionARN returns the ARN of a session of a role.
func SessionARN(role, session string) string {
	account, name := strings.Split(role, ":")[4], role[strings.LastIndex(role, "/")+1:]
	return "arn:aws:sts::" + account + ":assumed-role/" + name + "/" + session
}

// UserARN returns the ARN of the user to whom a fixed key belongs.
func UserARN(keyID string) string { return "arn:aws:iam::" + AccountID + ":user/" + keyID }

// CallerIdentity is the result of GetCallerIdentity: the ARN of a user or of a session.
type CallerIdentity struct{ ARN string }

func (c *CallerIdentity) response(requestID string) Response {
	id := "AIDAEXAMPLEEXAMPLE"
	if _, session, ok := strings.Cut(c.ARN, ":assumed-role/"); ok {
		id = assumedRoleID + session[strings.Index(session, "/")+1:]
	}
	return xmlResponse(http.StatusOK, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		ARN       string   `xml:"GetCallerIdentityResult>Arn"`
		UserID    string   `xml:"GetCallerIdentityResult>UserId"`
		Account   string   `xml:"GetCallerIdentityResult>Account"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}{ARN: c.ARN, UserID: id, Account: strings.Split(c.ARN, ":")[4], RequestID: requestID})
}

// stsCodes are STS's names for errors that CloudWatch Logs names differently. STS sends
// them with HTTP status 403.
var stsCodes = map[string]string{
	ErrUnknownKey.Code:                    "InvalidClientTokenId",
	ErrExpiredToken.Code:                  "ExpiredToken",
	ErrWrongSignature.Code:                "SignatureDoesNotMatch",
	"AccessDeniedException":               "AccessDenied",
	"MissingAuthenticationTokenException": "MissingAuthenticationToken",
	"IncompleteSignatureException":        "IncompleteSignature",
}

func stsErrorResponse(e *Error, requestID string) Response {
	status, code := e.Status, e.Code
	if c, ok := stsCodes[code]; ok {
		status, code = http.StatusForbidden, c
	}
	if code == ErrThrottled.Code {
		code = "Throttling"
	}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	return xmlResponse(status, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Type      string   `xml:"Error>Type"`
		Code      string   `xml:"Error>Code"`
		Message   string   `xml:"Error>Message"`
		RequestID string   `xml:"RequestId"`
	}{Type: kind, Code: code, Message: e.Message, RequestID: requestID})
}
