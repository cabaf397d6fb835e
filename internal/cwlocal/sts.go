package cwlocal

import (
	"bytes"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AssumeRole of STS, by the query protocol: as much of it as a client of CloudWatch Logs needs to get keys.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html

const (
	stsService = "sts"
	stsVersion = "2011-06-15"
	assumeRole = "AssumeRole"
	// maxSession is for how long a role gives keys, unless it was told otherwise.
	maxSession = time.Hour
	// maxSessions bounds the sessions that are remembered: the one that ends first goes first.
	maxSessions = 10000
)

// A Role is one that AssumeRole gives keys for.
type Role struct {
	// ExternalID is what the trust policy asks for; empty: nothing.
	ExternalID string
}

// A Session is what AssumeRole gave out, without the secrets.
type Session struct {
	AccessKeyID string    `json:"accessKeyId"`
	Role        string    `json:"role"` // ARN
	Name        string    `json:"name"`
	ExternalID  string    `json:"externalId,omitempty"`
	By          string    `json:"by"`     // who assumed the role, as in Stats
	Region      string    `json:"region"` // where STS was asked
	Expires     time.Time `json:"expires"`
}

type session struct {
	Session
	secret, token string
}

// Sessions lists what AssumeRole gave out, in no order. Those that have expired may be missing.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Session{}
	for _, given := range s.sessions {
		list = append(list, given.Session)
	}
	return list
}

var errExpiredToken = &apiError{status: 400, code: "ExpiredTokenException", message: "The security token included in the request is expired", expected: true}

// secretOf finds the key that a request was signed with, and whose it is. Check says whether the
// signature has to be compared.
func (s *Server) secretOf(a *authorization, token string) (secret string, check bool, refused *apiError) {
	s.mu.Lock()
	given := s.sessions[a.keyID]
	s.mu.Unlock()
	switch {
	case given != nil && given.token != token:
		refused = errUnknownKey
	case given != nil && !s.now().Before(given.Expires):
		refused = errExpiredToken
	case given != nil:
		a.principal = given.Role
		return given.secret, true, nil
	case len(s.opts.Keys) == 0:
		a.principal = a.keyID
		return "", false, nil
	default:
		var ok bool
		if secret, ok = s.opts.Keys[a.keyID]; ok {
			a.principal = a.keyID
			return secret, true, nil
		}
		refused = errUnknownKey
	}
	return "", true, refused
}

// isSTS tells STS's protocol from awsJson.
func isSTS(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/x-www-form-urlencoded" && r.Method == http.MethodPost && r.URL.Path == "/"
}

func invalidSTS(format string, args ...any) *apiError {
	return refuse("ValidationError", format, args...)
}

var stsMembers = []string{"Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"}

// decodeSTS reads a request of the query protocol.
func (c *call) decodeSTS(raw []byte) *apiError {
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return refuse("MalformedQueryString", "The query string is malformed: %v", err)
	}
	if form.Get("Action") != assumeRole || form.Get("Version") != stsVersion {
		return refuse("InvalidAction", "Could not find operation %s for version %s; cwlocal knows AssumeRole of %s", form.Get("Action"), form.Get("Version"), stsVersion)
	}
	c.op = assumeRole
	c.operation = operation{run: (*Server).assumeRole}
	c.in.strings = map[string]string{}
	for name, values := range form {
		if !slices.Contains(stsMembers, name) || len(values) != 1 {
			return refuse("InvalidParameterCombination", "cwlocal does not know the parameter %s of AssumeRole, or it is there twice", name)
		}
		c.in.strings[name] = values[0]
	}
	return nil
}

var (
	roleARNForm     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]+$`)
	sessionNameForm = regexp.MustCompile(`^[\w+=,.@-]*$`)
	externalIDForm  = regexp.MustCompile(`^[\w+=,.@:/-]*$`)
)

// assumeRole gives out keys for a role.
func (s *Server) assumeRole(c *call) (any, *apiError) {
	var v violations
	arn := v.required(&c.in, "RoleArn", 2048, nil)
	name := v.required(&c.in, "RoleSessionName", 64, sessionNameForm)
	external := v.optional(&c.in, "ExternalId", 1224, externalIDForm)
	for member, value := range map[string]string{"RoleSessionName": name, "ExternalId": external} {
		if len(value) == 1 {
			v.add(quoted(value), member, "have length greater than or equal to 2")
		}
	}
	life := maxSession
	if text, ok := c.in.strings["DurationSeconds"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 900 || n > 43200 {
			v.add(quoted(text), "DurationSeconds", "have value between 900 and 43200")
		}
		life = time.Duration(n) * time.Second
	}
	if err := v.err(); err != nil {
		return nil, invalidSTS("%s", err.message)
	}
	if !roleARNForm.MatchString(arn) {
		return nil, invalidSTS("%s is invalid", arn)
	}
	role, known := s.opts.Roles[arn]
	if s.opts.Roles != nil && (!known || role.ExternalID != "" && role.ExternalID != external) {
		return nil, &apiError{status: http.StatusForbidden, code: "AccessDenied", message: fmt.Sprintf(
			"User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.auth.principal, arn)}
	}
	if life > maxSession {
		return nil, invalidSTS("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}

	given := &session{Session{AccessKeyID: "ASIA" + rand.Text()[:16], Role: arn, Name: name, ExternalID: external,
		By: c.auth.principal, Region: c.auth.region, Expires: s.now().Add(life).UTC().Truncate(time.Second)},
		rand.Text() + rand.Text()[:14], rand.Text() + rand.Text()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= maxSessions {
		s.forgetSession()
	}
	s.sessions[given.AccessKeyID] = given
	return given.answer(c.id), nil
}

func (s *Server) forgetSession() {
	var first *session
	for _, given := range s.sessions {
		if first == nil || given.Expires.Before(first.Expires) {
			first = given
		}
	}
	delete(s.sessions, first.AccessKeyID)
}

func (given *session) answer(requestID string) answer {
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
	account := strings.Split(given.Role, ":")[4]
	role := given.Role[strings.LastIndex(given.Role, "/")+1:]
	return xmlAnswer(http.StatusOK, struct {
		XMLName     xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		Credentials keys     `xml:"AssumeRoleResult>Credentials"`
		User        user     `xml:"AssumeRoleResult>AssumedRoleUser"`
		RequestID   string   `xml:"ResponseMetadata>RequestId"`
	}{
		Credentials: keys{given.AccessKeyID, given.secret, given.token, given.Expires.Format(time.RFC3339)},
		User:        user{"arn:aws:sts::" + account + ":assumed-role/" + role + "/" + given.Name, "AROAEXAMPLEEXAMPLE:" + given.Name},
		RequestID:   requestID,
	})
}

// stsCodes are STS's words for what the front of CloudWatch Logs calls otherwise, with HTTP 403.
var stsCodes = map[string]string{
	errUnknownKey.code:                    "InvalidClientTokenId",
	errExpiredToken.code:                  "ExpiredToken",
	errWrongSignature.code:                "SignatureDoesNotMatch",
	"AccessDeniedException":               "AccessDenied",
	"MissingAuthenticationTokenException": "MissingAuthenticationToken",
	"IncompleteSignatureException":        "IncompleteSignature",
}

func stsErrorAnswer(e *apiError, requestID string) answer {
	status, code := e.status, e.code
	if c, ok := stsCodes[code]; ok {
		status, code = http.StatusForbidden, c
	}
	if code == errThrottled.code {
		code = "Throttling"
	}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	return xmlAnswer(status, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Type      string   `xml:"Error>Type"`
		Code      string   `xml:"Error>Code"`
		Message   string   `xml:"Error>Message"`
		RequestID string   `xml:"RequestId"`
	}{Type: kind, Code: code, Message: e.message, RequestID: requestID})
}

func xmlAnswer(status int, v any) answer {
	var b bytes.Buffer
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		panic(err) // every type encoded here is our own
	}
	return answer{status, "text/xml", b.Bytes()}
}
