package oneline

import "regexp"

var (
	// secret matches the rest of a text from a secret on. AWS answers a wrong signature with
	// the whole canonical request, which contains the session token.
	secret = regexp.MustCompile(`(?is)(x-amz-security-token|authorization\s*[:=]|canonical string|string-to-sign|credential=|signature=|aws4-hmac-sha256).*`)
	// userInfo matches the user and password in a URL. net/http repeats the URL of a proxy
	// that it cannot parse.
	userInfo = regexp.MustCompile(`://[^\s"]*@`)
)

// Redact returns the text of an error without what must not be shown: the parts of a signed
// request, and the user and password in a URL. An ellipsis takes their place.
func Redact(s string) string {
	return userInfo.ReplaceAllString(secret.ReplaceAllString(s, ellipsis), "://"+ellipsis+"@")
}
