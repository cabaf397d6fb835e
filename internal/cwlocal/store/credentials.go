package store

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync"
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

// Credentials are the access keys of the account: the fixed ones, and those that AssumeRole gave out.
// All methods may be called at once.
type Credentials struct {
	keys  map[string]string
	roles map[string]Role
	now   func() time.Time

	mu       sync.Mutex
	sessions map[string]*session // by access key ID
}

// NewCredentials makes Credentials of secret access keys by access key ID, and of roles by ARN. Without
// keys, any key will do. If roles is nil, AssumeRole gives out keys for any role.
func NewCredentials(keys map[string]string, roles map[string]Role, now func() time.Time) *Credentials {
	return &Credentials{keys: keys, roles: roles, now: now, sessions: map[string]*session{}}
}

// Sessions lists what AssumeRole gave out, in no order. Those that have expired may be missing.
func (c *Credentials) Sessions() []Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []Session{}
	for _, given := range c.sessions {
		list = append(list, given.Session)
	}
	return list
}

// FindKey is a protocol.FindKey.
func (c *Credentials) FindKey(keyID, token string) (key protocol.Key, refused *protocol.Error) {
	c.mu.Lock()
	given := c.sessions[keyID]
	c.mu.Unlock()
	switch {
	case given != nil && given.token != token:
		return key, protocol.ErrUnknownKey
	case given != nil && !c.now().Before(given.Expires):
		return key, protocol.ErrExpiredToken
	case given != nil:
		return protocol.Key{Principal: given.Role, Secret: given.secret, Verify: true}, nil
	case len(c.keys) == 0:
		return protocol.Key{Principal: keyID}, nil
	}
	secret, ok := c.keys[keyID]
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

// AssumeRole gives out keys for a role.
func (c *Credentials) AssumeRole(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	arn := v.required(&r.Input, "RoleArn", 2048, nil)
	name := v.required(&r.Input, "RoleSessionName", 64, sessionNameForm)
	external := v.optional(&r.Input, "ExternalId", 1224, externalIDForm)
	for member, value := range map[string]string{"RoleSessionName": name, "ExternalId": external} {
		if len(value) == 1 {
			v.add(quoted(value), member, "have length greater than or equal to 2")
		}
	}
	life := maxSession
	if text, ok := r.Input.Strings["DurationSeconds"]; ok {
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
	role, known := c.roles[arn]
	if c.roles != nil && (!known || role.ExternalID != "" && role.ExternalID != external) {
		return nil, &protocol.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: fmt.Sprintf(
			"User: %s is not authorized to perform: sts:AssumeRole on resource: %s", r.Auth.Principal, arn)}
	}
	if life > maxSession {
		return nil, invalidSTS("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}

	given := &session{Session{AccessKeyID: "ASIA" + rand.Text()[:16], Role: arn, Name: name, ExternalID: external,
		By: r.Auth.Principal, Region: r.Auth.Region, Expires: c.now().Add(life).UTC().Truncate(time.Second)},
		rand.Text() + rand.Text()[:14], rand.Text() + rand.Text()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= maxSessions {
		c.forgetSession()
	}
	c.sessions[given.AccessKeyID] = given
	return &protocol.AssumedRole{RoleARN: arn, SessionName: name, KeyID: given.AccessKeyID, Secret: given.secret, SessionToken: given.token, Expires: given.Expires}, nil
}

func (c *Credentials) forgetSession() {
	var first *session
	for _, given := range c.sessions {
		if first == nil || given.Expires.Before(first.Expires) {
			first = given
		}
	}
	delete(c.sessions, first.AccessKeyID)
}
