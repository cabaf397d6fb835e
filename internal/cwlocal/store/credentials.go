package store

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

const (
	// maxSessionDuration is the MaxSessionDuration of a role that was created without one.
	maxSessionDuration = time.Hour
	// maxSessions is how many sessions are kept. The one that expires first is dropped first.
	maxSessions = 10000
)

// A Role is a role that AssumeRole issues keys for.
type Role struct {
	// ExternalID is the external ID that the role's trust policy requires; empty allows
	// any.
	ExternalID string
}

// A Session is an assumed role, without its secrets.
type Session struct {
	AccessKeyID string    `json:"accessKeyId"`
	Role        string    `json:"role"` // Role is the role's ARN.
	Name        string    `json:"name"`
	ExternalID  string    `json:"externalId,omitempty"`
	By          string    `json:"by"`     // By is the protocol.Key.Principal that assumed the role.
	Region      string    `json:"region"` // Region is the region of STS's endpoint.
	Expires     time.Time `json:"expires"`
}

type session struct {
	Session
	secret, token string
}

// Credentials are the access keys of the account: fixed keys, and the keys that AssumeRole
// issued. All methods may be called concurrently.
type Credentials struct {
	keys  map[string]string // keys maps the IDs of the fixed keys to their secrets.
	roles map[string]Role   // roles is keyed by ARN; nil allows all.
	now   func() time.Time

	mu       sync.Mutex
	sessions map[string]*session // sessions is keyed by access key ID.
}

// NewCredentials makes Credentials with fixed keys, which are secrets by access key ID, and
// with roles by ARN. If there are no fixed keys, every key is accepted. If roles is nil,
// AssumeRole issues keys for every role.
func NewCredentials(keys map[string]string, roles map[string]Role, now func() time.Time) *Credentials {
	return &Credentials{keys: keys, roles: roles, now: now, sessions: map[string]*session{}}
}

// Sessions lists the sessions in no order. Expired ones may be missing.
func (c *Credentials) Sessions() []Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []Session{}
	for _, s := range c.sessions {
		list = append(list, s.Session)
	}
	return list
}

// FindKey is a protocol.FindKey.
func (c *Credentials) FindKey(keyID, token string) (key protocol.Key, refused *protocol.Error) {
	c.mu.Lock()
	s := c.sessions[keyID]
	c.mu.Unlock()
	switch {
	case s != nil && s.token != token:
		return key, protocol.ErrUnknownKey
	case s != nil && !c.now().Before(s.Expires):
		return key, protocol.ErrExpiredToken
	case s != nil:
		return protocol.Key{Principal: s.Role, Secret: s.secret, Verify: true}, nil
	case len(c.keys) == 0:
		return protocol.Key{Principal: keyID}, nil
	}
	secret, ok := c.keys[keyID]
	if !ok {
		return key, protocol.ErrUnknownKey
	}
	return protocol.Key{Principal: keyID, Secret: secret, Verify: true}, nil
}

var (
	roleARNForm     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]+$`)
	sessionNameForm = regexp.MustCompile(`^[\w+=,.@-]*$`)
	externalIDForm  = regexp.MustCompile(`^[\w+=,.@:/-]*$`)
)

// AssumeRole issues keys for a role.
func (c *Credentials) AssumeRole(r *protocol.Request) (*protocol.AssumedRole, *protocol.Error) {
	s, duration, err := parseAssumeRole(r)
	if err != nil {
		return nil, err
	}
	role, known := c.roles[s.Role]
	if c.roles != nil && (!known || role.ExternalID != "" && role.ExternalID != s.ExternalID) {
		return nil, &protocol.Error{Status: 403, Code: "AccessDenied", Message: fmt.Sprintf(
			"User: %s is not authorized to perform: sts:AssumeRole on resource: %s", s.By, s.Role)}
	}
	if duration > maxSessionDuration {
		return nil, invalidSTS("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	s.AccessKeyID = "ASIA" + rand.Text()[:16]
	s.secret = rand.Text() + rand.Text()[:14]
	s.token = rand.Text() + rand.Text()
	s.Expires = c.now().Add(duration).UTC().Truncate(time.Second)

	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= maxSessions {
		c.dropSession()
	}
	c.sessions[s.AccessKeyID] = s
	return &protocol.AssumedRole{RoleARN: s.Role, SessionName: s.Name,
		KeyID: s.AccessKeyID, Secret: s.secret, SessionToken: s.token, Expires: s.Expires}, nil
}

// CallerIdentity returns whose keys signed the request.
func (c *Credentials) CallerIdentity(r *protocol.Request) *protocol.CallerIdentity {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[r.Auth.KeyID]; s != nil {
		return &protocol.CallerIdentity{ARN: protocol.SessionARN(s.Role, s.Name)}
	}
	return &protocol.CallerIdentity{ARN: protocol.UserARN(r.Auth.KeyID)}
}

// parseAssumeRole checks the members of a request, and makes a session of them that has no
// keys yet.
func parseAssumeRole(r *protocol.Request) (s *session, duration time.Duration, err *protocol.Error) {
	var v violations
	arn := v.required(&r.Input, "RoleArn", 2048, nil)
	name := v.required(&r.Input, "RoleSessionName", 64, sessionNameForm)
	external := v.optional(&r.Input, "ExternalId", 1224, externalIDForm)
	for member, value := range map[string]string{"RoleSessionName": name, "ExternalId": external} {
		if len(value) == 1 {
			v.add(quoted(value), member, "have length greater than or equal to 2")
		}
	}
	duration = maxSessionDuration
	if text, ok := r.Input.Strings["DurationSeconds"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 900 || n > 43200 {
			v.add(quoted(text), "DurationSeconds", "have value between 900 and 43200")
		}
		duration = time.Duration(n) * time.Second
	}
	if err := v.err(); err != nil {
		return nil, 0, invalidSTS("%s", err.Message)
	}
	if !roleARNForm.MatchString(arn) {
		return nil, 0, invalidSTS("%s is invalid", arn)
	}
	return &session{Session: Session{Role: arn, Name: name, ExternalID: external,
		By: r.Auth.Principal, Region: r.Auth.Region}}, duration, nil
}

func invalidSTS(format string, args ...any) *protocol.Error {
	return protocol.Refuse("ValidationError", format, args...)
}

// dropSession drops the session that expires first. c.mu is held.
func (c *Credentials) dropSession() {
	var first *session
	for _, s := range c.sessions {
		if first == nil || s.Expires.Before(first.Expires) {
			first = s
		}
	}
	delete(c.sessions, first.AccessKeyID)
}
