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

// AssumeRole is the only operation of STS that the stand-in knows.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const AssumeRole = "AssumeRole"

const stsVersion = "2011-06-15"

var assumeRoleMembers = []string{"Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"}

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
	if form.Get("Action") != AssumeRole || form.Get("Version") != stsVersion {
		return Refuse("InvalidAction", "Could not find operation %s for version %s; cwlocal knows AssumeRole of %s",
			form.Get("Action"), form.Get("Version"), stsVersion)
	}
	r.Operation = AssumeRole
	r.Input.Strings = map[string]string{}
	for name, values := range form {
		if !slices.Contains(assumeRoleMembers, name) || len(values) != 1 {
			return Refuse("InvalidParameterCombination",
				"The parameter %s of AssumeRole is unknown to cwlocal or occurs twice", name)
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
	account := strings.Split(a.RoleARN, ":")[4]
	role := a.RoleARN[strings.LastIndex(a.RoleARN, "/")+1:]
	return xmlResponse(http.StatusOK, struct {
		XMLName     xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		Credentials keys     `xml:"AssumeRoleResult>Credentials"`
		User        user     `xml:"AssumeRoleResult>AssumedRoleUser"`
		RequestID   string   `xml:"ResponseMetadata>RequestId"`
	}{
		Credentials: keys{a.KeyID, a.Secret, a.SessionToken, a.Expires.Format(time.RFC3339)},
		User: user{
			Arn:           "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + a.SessionName,
			AssumedRoleID: "AROAEXAMPLEEXAMPLE:" + a.SessionName,
		},
		RequestID: requestID,
	})
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
