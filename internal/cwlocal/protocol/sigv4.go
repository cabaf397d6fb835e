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

// The checks of AWS Signature Version 4 come in the order in which AWS makes them, with its
// messages.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

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

// An Authorization is what the headers of a request say about its signature.
type Authorization struct {
	KeyID     string
	Region    string
	Principal string // Principal is Key.Principal, and empty unless the signature was accepted.

	scope     string   // scope has the form date/region/SERVICE/aws4_request.
	time      string   // time is the value of X-Amz-Date.
	signed    []string // signed has the names of the signed headers.
	signature string
}

// parseAuthorization checks the form of the signature, not its value. service is the one
// that the signature must be for. If parseAuthorization refuses the request, the fields
// that it had read by then are set.
func parseAuthorization(req *http.Request, service string, now time.Time) (a Authorization, refused *Error) {
	header := req.Header.Get("Authorization")
	if !strings.HasPrefix(header, "AWS4-") {
		return a, Refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	algorithm, rest, _ := strings.Cut(header, " ")
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	a.time = req.Header.Get("X-Amz-Date")
	a.signed = strings.Split(fields["SignedHeaders"], ";")
	a.signature = fields["Signature"]

	refused = checkPresent(fields, a.time, algorithm)
	if refused == nil {
		refused = checkDate(a.time, now)
	}
	if refused == nil {
		refused = a.checkSignedHeaders(req)
	}
	if refused == nil && algorithm != sigAlgorithm {
		refused = incompleteSignature("Unsupported AWS 'algorithm': '%s' (only AWS4-HMAC-SHA256 for now). ", algorithm)
	}
	if refused == nil {
		refused = a.parseCredential(fields["Credential"], service)
	}
	switch {
	case refused != nil:
	case a.KeyID == "":
		refused = ErrUnknownKey
	case !signatureForm.MatchString(a.signature):
		refused = ErrWrongSignature
	}
	return a, refused
}

func incompleteSignature(format string, args ...any) *Error {
	return Refuse("IncompleteSignatureException", format, args...)
}

func invalidSignature(format string, args ...any) *Error {
	return Refuse("InvalidSignatureException", format, args...)
}

// checkPresent checks that the header Authorization has all its fields, and that the date
// is not empty.
func checkPresent(fields map[string]string, date, algorithm string) *Error {
	missing := ""
	for _, k := range []string{"Credential", "Signature", "SignedHeaders"} {
		if fields[k] == "" {
			missing += "Authorization header requires '" + k + "' parameter. "
		}
	}
	if date == "" {
		missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
	}
	if missing != "" {
		return incompleteSignature("%sAuthorization=%s", missing, algorithm)
	}
	return nil
}

// checkDate checks that the request was signed within sigTolerance of the present.
func checkDate(date string, now time.Time) *Error {
	at, err := time.Parse(sigTimeForm, date)
	if err != nil {
		return incompleteSignature("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", date)
	}
	now = now.UTC().Truncate(time.Second)
	if oldest := now.Add(-sigTolerance); at.Before(oldest) {
		return invalidSignature("Signature expired: %s is now earlier than %s (%s - 15 min.)",
			date, oldest.Format(sigTimeForm), now.Format(sigTimeForm))
	}
	if newest := now.Add(sigTolerance); at.After(newest) {
		return invalidSignature("Signature not yet current: %s is still later than %s (%s + 15 min.)",
			date, newest.Format(sigTimeForm), now.Format(sigTimeForm))
	}
	return nil
}

// checkSignedHeaders checks that the signature covers the headers that it must cover.
func (a *Authorization) checkSignedHeaders(req *http.Request) *Error {
	if !slices.Contains(a.signed, "host") {
		return invalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if !slices.Contains(a.signed, "x-amz-date") {
		return invalidSignature("'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if len(req.Header.Values("X-Amz-Security-Token")) > 0 && !slices.Contains(a.signed, "x-amz-security-token") {
		return invalidSignature("'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization.")
	}
	return nil
}

// parseCredential reads the access key's ID and the scope. It checks the scope.
func (a *Authorization) parseCredential(credential, service string) *Error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 {
		return incompleteSignature("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)
	}
	a.KeyID, a.Region = parts[0], parts[2]
	a.scope = strings.Join(parts[1:], "/")
	wrong := ""
	if !regionForm.MatchString(a.Region) {
		wrong += "Credential should be scoped to a valid region, not '" + a.Region + "'. "
	}
	if parts[3] != service {
		wrong += "Credential should be scoped to correct service: '" + service + "'. "
	}
	if parts[4] != sigTerminator {
		wrong += "Credential should be scoped with a valid terminator: 'aws4_request', not '" + parts[4] + "'. "
	}
	if date := a.time[:8]; parts[1] != date {
		wrong += "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
			parts[1] + "' != '" + date + "', from '" + a.time + "'."
	}
	if wrong != "" {
		return invalidSignature("%s", strings.TrimSuffix(wrong, " "))
	}
	return nil
}

// A Key is an access key.
type Key struct {
	// Principal is the ARN of the role that the key was issued for, or else the key's ID.
	Principal string
	Secret    string
	// Verify says that the signature is verified with Secret.
	Verify bool
}

// A FindKey looks up an access key. The session token is empty if the request has none.
type FindKey func(keyID, sessionToken string) (Key, *Error)

// authenticate verifies the signature with the key that find returns, and sets Principal.
// The signature covers the body as it was sent, because clients compress a body before they
// sign it. A payload hash in the headers must be right even if the key is unknown or its
// signatures are not verified.
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

func (a *Authorization) verify(req *http.Request, payload, secret string) *Error {
	canonical := sha256.Sum256([]byte(a.canonicalRequest(req, payload)))
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

func (a *Authorization) canonicalRequest(req *http.Request, payload string) string {
	var b strings.Builder
	b.WriteString(req.Method + "\n" + req.URL.EscapedPath() + "\n")
	// url.Values.Encode sorts by key, but writes a space as a plus.
	b.WriteString(strings.ReplaceAll(queryOf(req.URL).Encode(), "+", "%20") + "\n")
	for _, name := range a.signed {
		b.WriteString(name + ":" + canonicalHeader(req, name) + "\n")
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

// canonicalHeader returns a header's value with each run of spaces replaced by one.
// net/http keeps Host, and may keep Content-Length, outside of the header map.
func canonicalHeader(req *http.Request, name string) string {
	switch name {
	case "host":
		return req.Host
	case "content-length":
		return strconv.FormatInt(req.ContentLength, 10)
	}
	values := req.Header.Values(name)
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
