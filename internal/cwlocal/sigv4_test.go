package cwlocal

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func TestSignatureIsVerifiedOverTheBytesAsSent(t *testing.T) {
	keys := Options{Keys: map[string]string{testKey: testSecret, "OTHER": "other"}}
	body := batch(at(0, "x"))
	replaceBody := func(with []byte) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(with)), int64(len(with))
		}
	}
	c := newStreamClient(t, keys)
	for _, tc := range []struct {
		name string
		send func() result
		code string
	}{
		{"plain", func() result { return c.do("PutLogEvents", body) }, ""},
		{"gzip before signing", func() result { return c.serve(c.request("PutLogEvents", gzipped(t, body), gzipHeader)) }, ""},
		{"gzip after signing", func() result {
			r := c.request("PutLogEvents", []byte(body), gzipHeader)
			replaceBody(gzipped(t, body))(r)
			return c.serve(r)
		}, "InvalidSignatureException"},
		{"another body", func() result {
			r := c.request("PutLogEvents", []byte(body))
			replaceBody([]byte(strings.Replace(body, "x", "y", 1)))(r)
			return c.serve(r)
		}, "InvalidSignatureException"},
		{"another target", func() result {
			r := c.request("PutLogEvents", []byte(body))
			r.Header.Set("X-Amz-Target", "Logs_20140328.DescribeLogGroups")
			return c.serve(r)
		}, "InvalidSignatureException"},
		{"another host", func() result {
			r := c.request("PutLogEvents", []byte(body))
			r.Host = "elsewhere"
			return c.serve(r)
		}, "InvalidSignatureException"},
		{"a query", func() result {
			return c.do("PutLogEvents", body, func(r *http.Request) { r.URL.RawQuery = "b=2&a=1%20x&a=0" })
		}, ""},
		{"a query added", func() result {
			r := c.request("PutLogEvents", []byte(body))
			r.URL.RawQuery = "a=1"
			return c.serve(r)
		}, "InvalidSignatureException"},
		{"spaces in a header", func() result {
			return c.do("PutLogEvents", body, func(r *http.Request) { r.Header.Set("x-amzn-logs-format", " a   b ") })
		}, ""},
		{"session token", func() result {
			d := *c
			d.token = "token"
			return d.do("PutLogEvents", body)
		}, ""},
		{"session token changed", func() result {
			d := *c
			d.token = "token"
			r := d.request("PutLogEvents", []byte(body))
			r.Header.Set("X-Amz-Security-Token", "other")
			return d.serve(r)
		}, "InvalidSignatureException"},
		{"wrong secret", func() result {
			d := *c
			d.secret = "wrong"
			return d.do("PutLogEvents", body)
		}, "InvalidSignatureException"},
		{"another key's secret", func() result {
			d := *c
			d.keyID = "OTHER"
			return d.do("PutLogEvents", body)
		}, "InvalidSignatureException"},
		{"unknown key", func() result {
			d := *c
			d.keyID = "UNKNOWN"
			return d.do("PutLogEvents", body)
		}, "UnrecognizedClientException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := tc.send()
			if want := map[bool]int{true: 200, false: 400}[tc.code == ""]; res.code != tc.code || res.status != want {
				t.Errorf("got %d %s %s, want %d %s", res.status, res.code, res.message, want, tc.code)
			}
		})
	}
}

func TestSignatureFormIsCheckedWithoutKeys(t *testing.T) {
	const (
		missing    = "MissingAuthenticationTokenException"
		incomplete = "IncompleteSignatureException"
		wrong      = "InvalidSignatureException"
		good       = "AWS4-HMAC-SHA256 Credential=K/20261102/us-east-1/logs/aws4_request, SignedHeaders=host;x-amz-date, Signature="
	)
	sig := strings.Repeat("0", 64)
	with := func(old, new string) string { return strings.Replace(good+sig, old, new, 1) }
	for _, tc := range []struct{ name, auth, date, code, message string }{
		{"good", good + sig, "", "", ""},
		{"good without spaces", strings.ReplaceAll(good+sig, ", ", ","), "", "", ""},
		{"none", "", "", missing, "Missing Authentication Token"},
		{"another kind", "Bearer x", "", missing, "Missing Authentication Token"},
		{"no credential", with("Credential", "Cred"), "", incomplete, "Authorization header requires 'Credential' parameter. Authorization=AWS4-HMAC-SHA256"},
		{"nothing in it", "AWS4-HMAC-SHA256", "-", incomplete, "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256"},
		{"no date", good + sig, "-", incomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256"},
		{"date of another form", good + sig, "2026-11-02", incomplete, "Date must be in ISO-8601 'basic format'. Got '2026-11-02'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"15 min late", good + sig, "20261102T114500Z", "", ""},
		{"15 min and a second late", good + sig, "20261102T114459Z", wrong, "Signature expired: 20261102T114459Z is now earlier than 20261102T114500Z (20261102T120000Z - 15 min.)"},
		{"15 min early", good + sig, "20261102T121500Z", "", ""},
		{"15 min and a second early", good + sig, "20261102T121501Z", wrong, "Signature not yet current: 20261102T121501Z is still later than 20261102T121500Z (20261102T120000Z + 15 min.)"},
		{"host not signed", with("host;", ""), "", wrong, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"date not signed", with(";x-amz-date", ""), "", wrong, "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."},
		{"another algorithm", with("SHA256", "SHA512"), "", incomplete, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512' (only AWS4-HMAC-SHA256 for now). "},
		{"four elements", with("/aws4_request", ""), "", incomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'K/20261102/us-east-1/logs'"},
		{"no region", with("us-east-1", "aws-global"), "", wrong, "Credential should be scoped to a valid region, not 'aws-global'."},
		{"another service", with("/logs/", "/s3/"), "", wrong, "Credential should be scoped to correct service: 'logs'."},
		{"another terminator", with("aws4_request", "aws5"), "", wrong, "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'."},
		{"another day", with("20261102", "20261101"), "", wrong, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261101' != '20261102', from '20261102T120000Z'."},
		{"no key", with("=K/", "=/"), "", "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"signature too short", good + "00", "", wrong, protocol.ErrWrongSignature.Message},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, Options{})
			r := c.request("DescribeLogGroups", []byte("{}"))
			r.Header.Set("Authorization", tc.auth)
			switch tc.date {
			case "":
			case "-":
				r.Header.Del("X-Amz-Date")
			default:
				r.Header.Set("X-Amz-Date", tc.date)
			}
			res := c.serve(r)
			if res.code != tc.code || res.message != tc.message {
				t.Errorf("got %d %s: %s\nwant %s: %s", res.status, res.code, res.message, tc.code, tc.message)
			}
		})
	}

	t.Run("session token not signed", func(t *testing.T) {
		c := newClient(t, Options{})
		r := c.request("DescribeLogGroups", []byte("{}"))
		r.Header.Set("X-Amz-Security-Token", "token")
		if res := c.serve(r); res.code != wrong {
			t.Errorf("got %s", res.code)
		}
	})
	t.Run("payload hash untrue", func(t *testing.T) {
		c := newClient(t, Options{})
		r := c.request("DescribeLogGroups", []byte("{}"))
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		if res := c.serve(r); res.code != wrong {
			t.Errorf("got %s", res.code)
		}
	})
	t.Run("clock", func(t *testing.T) {
		c := newClient(t, Options{})
		c.now = func() time.Time { return testNow.Add(-time.Hour) }
		if res := c.do("DescribeLogGroups", "{}"); res.code != wrong {
			t.Errorf("an hour behind: got %s", res.code)
		}
	})
}
