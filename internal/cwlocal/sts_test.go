package cwlocal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	testRole  = "arn:aws:iam::123456789012:role/path/logs"
	otherRole = "arn:aws:iam::210987654321:role/other"
)

// Stats tell the keys of the roles from the fixed keys.
func TestSDKCanAssumeRoles(t *testing.T) {
	ctx := context.Background()
	s, err := Start("127.0.0.1:0", Options{Keys: map[string]string{testKey: testSecret},
		Roles: map[string]Role{testRole: {ExternalID: "our/id:1"}, otherRole: {}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	assume := func(by aws.CredentialsProvider, role, external string) aws.CredentialsProvider {
		client := sts.New(sts.Options{Region: testRegion, BaseEndpoint: aws.String(s.URL()), Credentials: by, Retryer: aws.NopRetryer{}, HTTPClient: newHTTPClient(t)})
		return aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "logspool-host"
			if external != "" {
				o.ExternalID = aws.String(external)
			}
		}))
	}
	base := credentials.NewStaticCredentialsProvider(testKey, testSecret, "")
	refused := func(by aws.CredentialsProvider, role, external, code string) {
		t.Helper()
		_, err := assume(by, role, external).Retrieve(ctx)
		var e smithy.APIError
		if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(err.Error(), "RequestID: ") {
			t.Errorf("%s %q: %v, want %s", role, external, err, code)
		}
	}
	refused(base, testRole, "", "AccessDenied")
	refused(base, testRole, "their-id", "AccessDenied")
	refused(base, testRole+"2", "our/id:1", "AccessDenied")
	refused(credentials.NewStaticCredentialsProvider("STRANGER", "s", ""), otherRole, "", "InvalidClientTokenId")
	refused(credentials.NewStaticCredentialsProvider(testKey, "wrong", ""), otherRole, "", "SignatureDoesNotMatch")
	if len(s.Sessions()) != 0 {
		t.Errorf("keys were issued: %+v", s.Sessions())
	}

	logs := assume(base, testRole, "our/id:1")
	chained := assume(logs, otherRole, "")
	for i, by := range []aws.CredentialsProvider{base, logs, chained} {
		c := cloudwatchlogs.New(cloudwatchlogs.Options{Region: testRegion, BaseEndpoint: aws.String(s.URL()), Credentials: by, Retryer: aws.NopRetryer{}, HTTPClient: newHTTPClient(t)})
		for range i + 1 {
			if _, err := c.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{}); err != nil {
				t.Error(err)
			}
		}
	}
	st := s.Stats()
	want := map[string]map[string]int64{
		testKey:   {"AssumeRole": 4, "DescribeLogGroups": 1},
		testRole:  {"AssumeRole": 1, "DescribeLogGroups": 2},
		otherRole: {"DescribeLogGroups": 3},
	}
	if diff := cmp.Diff(want, st.By); diff != "" {
		t.Error(diff)
	}
	if st.Tokens != 6 {
		t.Errorf("%d requests with a session token, want 6", st.Tokens)
	}
	var got []string
	for _, given := range s.Sessions() {
		got = append(got, fmt.Sprint(given.Role, " ", given.Name, " ", given.ExternalID, " ", given.By, " ", given.Region))
		if left := time.Until(given.Expires); left < 14*time.Minute || left > 15*time.Minute {
			t.Errorf("the keys expire in %v, want 15m", left)
		}
	}
	sessions := []string{testRole + " logspool-host our/id:1 " + testKey + " " + testRegion, otherRole + " logspool-host  " + testRole + " " + testRegion}
	if diff := cmp.Diff(sessions, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
}

// assume sends a request of the query protocol, signed for STS.
func (c *client) assume(query string) (status int, body string) {
	c.t.Helper()
	r := httptest.NewRequest("POST", "/", strings.NewReader(query))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(query))
	cred := aws.Credentials{AccessKeyID: c.keyID, SecretAccessKey: c.secret, SessionToken: c.token}
	if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, hex.EncodeToString(sum[:]), "sts", c.region, c.now()); err != nil {
		c.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	c.s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func assumeQuery(edit ...string) string {
	q := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {testRole}, "RoleSessionName": {"me"}, "DurationSeconds": {"3600"}}
	for i := 0; i < len(edit); i += 2 {
		q[edit[i]] = []string{edit[i+1]}
	}
	return q.Encode()
}

func TestAssumeRoleChecksItsMembers(t *testing.T) {
	c := newClient(t, Options{})
	for _, tc := range []struct {
		name, query string
		status      int
		code        string
	}{
		{"any role", assumeQuery(), 200, "<AccessKeyId>ASIA"},
		{"any external ID", assumeQuery("ExternalId", "a=b,c.d@e:f/g-h"), 200, "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/logs/me</Arn>"},
		{"no role", strings.Replace(assumeQuery(), "RoleArn=", "X=", 1), 400, "InvalidParameterCombination"},
		{"empty role", assumeQuery("RoleArn", ""), 400, "ValidationError"},
		{"a user", assumeQuery("RoleArn", "arn:aws:iam::123456789012:user/u"), 400, "is invalid"},
		{"session with a space", assumeQuery("RoleSessionName", "my host"), 400, "&#39;RoleSessionName&#39; failed to satisfy"},
		{"session of one", assumeQuery("RoleSessionName", "a"), 400, "greater than or equal to 2"},
		{"session of 65", assumeQuery("RoleSessionName", strings.Repeat("a", 65)), 400, "less than or equal to 64"},
		{"external ID with a space", assumeQuery("ExternalId", "a b"), 400, "&#39;ExternalId&#39; failed"},
		{"external ID empty", assumeQuery("ExternalId", ""), 400, "&#39;ExternalId&#39; failed"},
		{"too short", assumeQuery("DurationSeconds", "899"), 400, "between 900 and 43200"},
		{"too long for the role", assumeQuery("DurationSeconds", "3601"), 400, "exceeds the MaxSessionDuration"},
		{"no number", assumeQuery("DurationSeconds", "1h"), 400, "ValidationError"},
		{"another action", assumeQuery("Action", "GetSessionToken"), 400, "InvalidAction"},
		{"another version", assumeQuery("Version", "2010-01-01"), 400, "InvalidAction"},
		{"unknown parameter", assumeQuery("Sing", "la"), 400, "InvalidParameterCombination"},
		{"twice", assumeQuery() + "&RoleArn=" + url.QueryEscape(testRole), 400, "InvalidParameterCombination"},
		{"not a query", "%zz", 400, "MalformedQueryString"},
	} {
		before := len(c.s.Refusals())
		status, body := c.assume(tc.query)
		if status != tc.status || !strings.Contains(body, tc.code) {
			t.Errorf("%s: got %d %s, want %d %s", tc.name, status, body, tc.status, tc.code)
		}
		if refused := len(c.s.Refusals()) > before; refused != (tc.status != 200) {
			t.Errorf("%s: refusals %v", tc.name, c.s.Refusals()[before:])
		}
	}
	// A signature for one service is not valid for the other.
	r := c.request("DescribeLogGroups", []byte(assumeQuery()), func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") })
	w := httptest.NewRecorder()
	c.s.ServeHTTP(w, r)
	if w.Code != 403 && !strings.Contains(w.Body.String(), "correct service: &#39;sts&#39;") {
		t.Errorf("signed for logs: %d %s", w.Code, w.Body)
	}
}

// They are verified even if every other key is accepted.
func TestKeysOfARoleAreVerifiedAndExpire(t *testing.T) {
	now := testNow
	c := newClient(t, Options{Now: func() time.Time { return now }})
	status, body := c.assume(assumeQuery())
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	var given struct {
		KeyID  string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		Secret string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		Token  string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	}
	if err := xml.Unmarshal([]byte(body), &given); err != nil {
		t.Fatal(err)
	}
	session := *c
	session.keyID, session.secret, session.token = given.KeyID, given.Secret, given.Token
	session.ok("DescribeLogGroups", "{}")
	wrong := session
	wrong.token = "another"
	wrong.refused("DescribeLogGroups", "{}", "UnrecognizedClientException", "The security token included in the request is invalid.")
	wrong.token = ""
	wrong.refused("DescribeLogGroups", "{}", "UnrecognizedClientException", "The security token included in the request is invalid.")
	wrong = session
	wrong.secret = "guessed"
	if res := wrong.do("DescribeLogGroups", "{}"); res.code != "InvalidSignatureException" {
		t.Errorf("with another secret: %d %s", res.status, res.body)
	}
	now = now.Add(time.Hour - time.Second)
	session.ok("DescribeLogGroups", "{}")
	now = now.Add(time.Second)
	session.refused("DescribeLogGroups", "{}", "ExpiredTokenException", "The security token included in the request is expired")
	if status, body := session.assume(assumeQuery()); status != 403 || !strings.Contains(body, "<Code>ExpiredToken</Code>") {
		t.Errorf("assuming another role: %d %s", status, body)
	}
	if by := c.s.Stats().By[testRole]; by["DescribeLogGroups"] != 2 {
		t.Errorf("by the role: %v", by)
	}
}

// TestCallerIsTheUserOrTheSession asks with fixed keys and with the keys of a role.
func TestCallerIsTheUserOrTheSession(t *testing.T) {
	s, err := Start("127.0.0.1:0", Options{Keys: map[string]string{testKey: testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	client := func(by aws.CredentialsProvider) *sts.Client {
		return sts.New(sts.Options{Region: testRegion, BaseEndpoint: aws.String(s.URL()), Credentials: by, Retryer: aws.NopRetryer{}, HTTPClient: newHTTPClient(t)})
	}
	base := credentials.NewStaticCredentialsProvider(testKey, testSecret, "")
	role := stscreds.NewAssumeRoleProvider(client(base), testRole, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "me" })
	for _, tc := range []struct {
		by      aws.CredentialsProvider
		arn, id string
	}{
		{base, "arn:aws:iam::123456789012:user/" + testKey, "AIDAEXAMPLEEXAMPLE"},
		{aws.NewCredentialsCache(role), "arn:aws:sts::123456789012:assumed-role/logs/me", "AROAEXAMPLEEXAMPLE:me"},
	} {
		out, err := client(tc.by).GetCallerIdentity(t.Context(), nil)
		if err != nil || aws.ToString(out.Arn) != tc.arn || aws.ToString(out.UserId) != tc.id || aws.ToString(out.Account) != AccountID {
			t.Errorf("%+v, %v; want %s", out, err, tc.arn)
		}
	}
	if _, err := client(credentials.NewStaticCredentialsProvider(testKey, "wrong", "")).GetCallerIdentity(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("with a wrong secret: %v", err)
	}

	c := newClient(t, Options{})
	const query = "Action=GetCallerIdentity&Version=2011-06-15"
	for q, want := range map[string]string{
		query: "<Account>" + AccountID + "</Account>", query + "&RoleArn=x": "InvalidParameterCombination",
		query + "&Version=2011-06-15": "InvalidParameterCombination", "Action=GetCallerIdentity&Version=1": "InvalidAction",
	} {
		if _, body := c.assume(q); !strings.Contains(body, want) {
			t.Errorf("%s: %s", q, body)
		}
	}
	// Only a fault that names the operation applies to it.
	c.s.AddFault(Fault{Kind: Throttle})
	if status, body := c.assume(query); status != 200 {
		t.Errorf("a fault of everything else: %d %s", status, body)
	}
	c.s.AddFault(Fault{Kind: Throttle, Operation: "GetCallerIdentity"})
	if status, body := c.assume(query); status != 400 || !strings.Contains(body, "Throttling") {
		t.Errorf("a fault of its own: %d %s", status, body)
	}
}

func TestFaultsApplyToSTS(t *testing.T) {
	c := newClient(t, Options{})
	for _, tc := range []struct {
		kind   FaultKind
		status int
		code   string
	}{
		{Throttle, 400, "<Type>Sender</Type><Code>Throttling</Code>"},
		{Unavailable, 503, "<Type>Receiver</Type><Code>ServiceUnavailableException</Code>"},
		{Denied, 403, "<Code>AccessDenied</Code><Message>User: arn:aws:iam::123456789012:user/AKIDEXAMPLE is not authorized to perform: sts:AssumeRole on resource: " + testRole},
		{ExpiredToken, 403, "<Code>ExpiredToken</Code>"},
	} {
		id := c.s.AddFault(Fault{Kind: tc.kind, Operation: "AssumeRole"})
		if status, body := c.assume(assumeQuery()); status != tc.status || !strings.Contains(body, tc.code) {
			t.Errorf("%s: got %d %s", tc.kind, status, body)
		}
		c.ok("DescribeLogGroups", "{}")
		c.s.ClearFault(id)
	}
}

func TestNumberOfSendersInStatsIsLimited(t *testing.T) {
	c := newClient(t, Options{})
	const maxPrincipals = 1000
	for i := range maxPrincipals + 10 {
		c.keyID = fmt.Sprint("KEY", i)
		c.ok("DescribeLogGroups", "{}")
	}
	by := c.s.Stats().By
	if len(by) != maxPrincipals+1 || by[""]["DescribeLogGroups"] != 10 {
		t.Errorf("%d senders, and %v for the others", len(by), by[""])
	}
}
