package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func TestNumberOfSessionsIsLimited(t *testing.T) {
	now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	c := NewCredentials(nil, nil, func() time.Time { return now })
	for i := range maxSessions {
		c.sessions[fmt.Sprint(i)] = &session{Session: Session{AccessKeyID: fmt.Sprint(i), Expires: now.Add(time.Duration(i))}}
	}
	r := &protocol.Request{STS: true, Operation: protocol.AssumeRole}
	r.Input.Strings = map[string]string{"RoleArn": "arn:aws:iam::123456789012:role/logs", "RoleSessionName": "me"}
	if _, err := c.AssumeRole(r); err != nil || len(c.sessions) != maxSessions || c.sessions["0"] != nil {
		t.Errorf("%v, %d sessions", err, len(c.sessions))
	}
}
