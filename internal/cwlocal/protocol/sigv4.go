package protocol

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The checks of AWS Signature Version 4, in the order in which the services make them, with their
// messages. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const (
	sigAlgorithm  = "AWS4-HMAC-SHA256"
	sigTerminator = "aws4_request"
	sigTimeForm   = "20060102T150405Z"
	sigTolerance  = 15 * time.Minute
)

var (
	regionForm    = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	signatureForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Authorization is what the headers of a request say about who signed it, and for which region.
type Authorization struct {
	KeyID     string
	Region    string
	Principal string // Key.Principal; empty unless the signature was accepted

	scope     string // date/region/SERVICE/aws4_request
	time      string // X-Amz-Date
	signed    []string
	signature string
}

// parseAuthorization checks the form of the signature, not its value.
func parseAuthorization(r *http.Request, service string, now time.Time) (Authorization, *Error) {
	var a Authorization
	header := r.Header.Get("Authorization")
	if !strings.HasPrefix(header, "AWS4-") {
		return a, Refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	algorithm, rest, _ := strings.Cut(header, " ")
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	a.time = r.Header.Get("X-Amz-Date")
	missing := ""
	for _, k := range []string{"Credential", "Signature", "SignedHeaders"} {
		if fields[k] == "" {
			missing += "Authorization header requires '" + k + "' parameter. "
		}
	}
	if a.time == "" {
		missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
	}
	if missing != "" {
		return a, Refuse("IncompleteSignatureException", "%sAuthorization=%s", missing, algorithm)
	}

	at, err := time.Parse(sigTimeForm, a.time)
	if err != nil {
		return a, Refuse("IncompleteSignatureException", "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", a.time)
	}
	now = now.UTC().Truncate(time.Second)
	if oldest := now.Add(-sigTolerance); at.Before(oldest) {
		return a, Refuse("InvalidSignatureException", "Signature expired: %s is now earlier than %s (%s - 15 min.)", a.time, oldest.Format(sigTimeForm), now.Format(sigTimeForm))
	}
	if newest := now.Add(sigTolerance); at.After(newest) {
		return a, Refuse("InvalidSignatureException", "Signature not yet current: %s is still later than %s (%s + 15 min.)", a.time, newest.Format(sigTimeForm), now.Format(sigTimeForm))
	}

	a.signed = strings.Split(fields["SignedHeaders"], ";")
	if !slices.Contains(a.signed, "host") {
		return a, Refuse("InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if !slices.Contains(a.signed, "x-amz-date") {
		return a, Refuse("InvalidSignatureException", "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if len(r.Header.Values("X-Amz-Security-Token")) > 0 && !slices.Contains(a.signed, "x-amz-security-token") {
		return a, Refuse("InvalidSignatureException", "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if algorithm != sigAlgorithm {
		return a, Refuse("IncompleteSignatureException", "Unsupported AWS 'algorithm': '%s' (only AWS4-HMAC-SHA256 for now). ", algorithm)
	}

	cred := strings.Split(fields["Credential"], "/")
	if len(cred) != 5 {
		return a, Refuse("IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", fields["Credential"])
	}
	a.KeyID, a.Region = cred[0], cred[2]
	a.scope = strings.Join(cred[1:], "/")
	wrong := ""
	if !regionForm.MatchString(a.Region) {
		wrong += "Credential should be scoped to a valid region, not '" + a.Region + "'. "
	}
	if cred[3] != service {
		wrong += "Credential should be scoped to correct service: '" + service + "'. "
	}
	if cred[4] != sigTerminator {
		wrong += "Credential should be scoped with a valid terminator: 'aws4_request', not '" + cred[4] + "'. "
	}
	if cred[1] != a.time[:8] {
		wrong += "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" + cred[1] + "' != '" + a.time[:8] + "', from '" + a.time + "'."
	}
	if wrong != "" {
		return a, Refuse("InvalidSignatureException", "%s", strings.TrimSuffix(wrong, " "))
	}
	a.signature = fields["Signature"]
	if a.KeyID == "" {
		return a, ErrUnknownKey
	}
	if !signatureForm.MatchString(a.signature) {
		return a, ErrWrongSignature
	}
	return a, nil
}

// A Key is an access key, as a FindKey knows it.
type Key struct {
	Principal string // the ARN of the role that the key was given out for, or else the key's ID
	Secret    string
	Verify    bool // the signature must be the one that Secret makes
}

// A FindKey looks up an access key. The session token is empty if the request has none.
type FindKey func(keyID, sessionToken string) (Key, *Error)

// authenticate finds out who signed the request, and computes the signature over the body as it was
// sent: compression comes before signing. If the client states a payload hash, that must be true
// whether or not the key is known.
func (a *Authorization) authenticate(req *http.Request, raw []byte, find FindKey) *Error {
	key, refused := find(a.KeyID, req.Header.Get("X-Amz-Security-Token"))
	stated := req.Header.Get("X-Amz-Content-Sha256")
	if key.Verify && refused == nil || stated != "" {
		sum := sha256.Sum256(raw)
		payload := hex.EncodeToString(sum[:])
		switch {
		case stated != "" && stated != payload:
			refused = ErrWrongSignature
		case refused == nil && key.Verify:
			refused = a.verify(req, payload, key.Secret)
		}
	}
	if refused == nil {
		a.Principal = key.Principal
	}
	return refused
}

func (a *Authorization) verify(r *http.Request, payload, secret string) *Error {
	canonical := sha256.Sum256([]byte(a.canonicalRequest(r, payload)))
	toSign := strings.Join([]string{sigAlgorithm, a.time, a.scope, hex.EncodeToString(canonical[:])}, "\n")
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(a.scope, "/") {
		key = hmacSHA256(key, part)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(hmacSHA256(key, toSign))), []byte(a.signature)) {
		return ErrWrongSignature
	}
	return nil
}

func (a *Authorization) canonicalRequest(r *http.Request, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n")
	// url.Values.Encode sorts by key, but writes a space as a plus.
	b.WriteString(strings.ReplaceAll(queryOf(r.URL).Encode(), "+", "%20") + "\n")
	for _, name := range a.signed {
		b.WriteString(name + ":" + canonicalHeader(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(a.signed, ";") + "\n" + payload)
	return b.String()
}

func queryOf(u *url.URL) url.Values {
	q := u.Query()
	for _, values := range q {
		slices.Sort(values)
	}
	return q
}

// canonicalHeader is a header's value with its spaces squeezed. net/http takes Host and
// Content-Length out of the header or may have.
func canonicalHeader(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := r.Header.Values(name)
	squeezed := make([]string, len(values))
	for i, v := range values {
		squeezed[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(squeezed, ",")
}

func hmacSHA256(key []byte, message string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(message))
	return m.Sum(nil)
}
