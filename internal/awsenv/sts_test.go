package awsenv

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeSTS is an STS with AssumeRole and AssumeRoleWithWebIdentity of the query protocol, and
// with the constraints of the STS API reference. It returns the keys STS-ROLE-1, STS-ROLE-2
// and so on.
type fakeSTS struct {
	t *testing.T

	mu        sync.Mutex
	asked     []stsRequest
	given     map[string]int                                // keys handed out, by role
	externals map[string]string                             // external IDs that roles' trust policies ask for
	fault     func(w http.ResponseWriter, role string) bool // true: it has answered
	caller    string                                        // the ARN of every caller
}

type stsRequest struct {
	action, role, external, session, duration string
	region, key, sessionToken                 string // who signed it, and for which region; empty: nobody
	identity                                  string
}

var (
	sessionNameForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	roleForm        = regexp.MustCompile(`^arn:aws:iam::[0-9]{12}:role/`)
)

// startSTS starts the fake, and makes the SDK use it.
func startSTS(t *testing.T) *fakeSTS {
	s := &fakeSTS{t: t, given: map[string]int{}, externals: map[string]string{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	return s
}

func (s *fakeSTS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.t.Error(err)
	}
	arn := r.Form.Get("RoleArn")
	got := stsRequest{action: r.Form.Get("Action"), role: arn[strings.LastIndex(arn, "/")+1:], external: r.Form.Get("ExternalId"),
		session: r.Form.Get("RoleSessionName"), duration: r.Form.Get("DurationSeconds"),
		sessionToken: r.Header.Get("X-Amz-Security-Token"), identity: r.Form.Get("WebIdentityToken")}
	if _, after, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		scope := strings.Split(after, "/")
		got.key, got.region = scope[0], scope[2]
	}
	if got.action == "GetCallerIdentity" {
		s.callerIdentity(w, got)
		return
	}
	if !roleForm.MatchString(arn) || !sessionNameForm.MatchString(got.session) || r.Form.Get("Version") != "2011-06-15" {
		s.t.Errorf("STS would refuse this: %+v", got)
	}
	s.mu.Lock()
	s.asked = append(s.asked, got)
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, got.role) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if want, ok := s.externals[got.role]; ok && want != got.external {
		stsError(w, http.StatusForbidden, "AccessDenied", "User: arn:aws:iam::123456789012:user/u is not authorized to perform: sts:AssumeRole on resource: "+arn)
		return
	}
	s.given[got.role]++
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials>
		<AccessKeyId>STS-%[2]s-%[3]d</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
		<Expiration>%[4]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		got.action, got.role, s.given[got.role], time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func (s *fakeSTS) callerIdentity(w http.ResponseWriter, got stsRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, got)
	if s.fault != nil && s.fault(w, "") {
		return
	}
	fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
		<Arn>%s</Arn><UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, s.caller)
}

func stsError(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>r</RequestId></ErrorResponse>`, code, message)
}

func (s *fakeSTS) setFault(f func(w http.ResponseWriter, role string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *fakeSTS) requests() []stsRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// summary returns, for each request, what the tests of the chain check.
func (s *fakeSTS) summary() []string {
	var list []string
	for _, r := range s.requests() {
		line := r.action + " " + r.role
		if r.identity != "" {
			line += " " + r.identity
		}
		if r.key != "" {
			line += " " + r.region + " " + r.key
		}
		list = append(list, line)
	}
	return list
}
