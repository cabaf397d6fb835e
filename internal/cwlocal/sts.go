package cwlocal

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// AssumeRole of STS, by the query protocol: as much of it as a client of CloudWatch Logs needs to get keys.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html

const (
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

// findKey is the protocol.FindKey of the account.
func (s *Server) findKey(keyID, token string) (key protocol.Key, refused *protocol.Error) {
	s.mu.Lock()
	given := s.sessions[keyID]
	s.mu.Unlock()
	switch {
	case given != nil && given.token != token:
		return key, protocol.ErrUnknownKey
	case given != nil && !s.now().Before(given.Expires):
		return key, protocol.ErrExpiredToken
	case given != nil:
		return protocol.Key{Principal: given.Role, Secret: given.secret, Verify: true}, nil
	case len(s.opts.Keys) == 0:
		return protocol.Key{Principal: keyID}, nil
	}
	secret, ok := s.opts.Keys[keyID]
	if !ok {
		return key, protocol.ErrUnknownKey
	}
	return protocol.Key{Principal: keyID, Secret: secret, Verify: true}, nil
}

func invalidSTS(format string, args ...any) *protocol.Error {
	return protocol.Refuse("ValidationError", format, args...)
}

var (
	roleARNForm     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]+$`)
	sessionNameForm = regexp.MustCompile(`^[\w+=,.@-]*$`)
	externalIDForm  = regexp.MustCompile(`^[\w+=,.@:/-]*$`)
)

// protocol.AssumeRole gives out keys for a role.
func (s *Server) assumeRole(c *call) (any, *protocol.Error) {
	var v violations
	arn := v.required(&c.req.Input, "RoleArn", 2048, nil)
	name := v.required(&c.req.Input, "RoleSessionName", 64, sessionNameForm)
	external := v.optional(&c.req.Input, "ExternalId", 1224, externalIDForm)
	for member, value := range map[string]string{"RoleSessionName": name, "ExternalId": external} {
		if len(value) == 1 {
			v.add(quoted(value), member, "have length greater than or equal to 2")
		}
	}
	life := maxSession
	if text, ok := c.req.Input.Strings["DurationSeconds"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 900 || n > 43200 {
			v.add(quoted(text), "DurationSeconds", "have value between 900 and 43200")
		}
		life = time.Duration(n) * time.Second
	}
	if err := v.err(); err != nil {
		return nil, invalidSTS("%s", err.Message)
	}
	if !roleARNForm.MatchString(arn) {
		return nil, invalidSTS("%s is invalid", arn)
	}
	role, known := s.opts.Roles[arn]
	if s.opts.Roles != nil && (!known || role.ExternalID != "" && role.ExternalID != external) {
		return nil, &protocol.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: fmt.Sprintf(
			"User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.req.Auth.Principal, arn)}
	}
	if life > maxSession {
		return nil, invalidSTS("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}

	given := &session{Session{AccessKeyID: "ASIA" + rand.Text()[:16], Role: arn, Name: name, ExternalID: external,
		By: c.req.Auth.Principal, Region: c.req.Auth.Region, Expires: s.now().Add(life).UTC().Truncate(time.Second)},
		rand.Text() + rand.Text()[:14], rand.Text() + rand.Text()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= maxSessions {
		s.forgetSession()
	}
	s.sessions[given.AccessKeyID] = given
	return &protocol.AssumedRole{RoleARN: arn, SessionName: name, KeyID: given.AccessKeyID, Secret: given.secret, SessionToken: given.token, Expires: given.Expires}, nil
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
