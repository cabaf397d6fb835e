package awsenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
)

// keepSSOToken points the SDK at a copy of an IAM Identity Center token, in CacheDir. The SDK renews a token that has
// expired, writes it to the file that it read it from, and throws it away if that fails, as in a directory that is
// mounted read-only (credentials/ssocreds, refreshToken). The refresh token is replaced too, so the next try would
// fail as well.
//
// The copy is replaced when the file has a token that lasts longer: somebody has logged in again. The chain calls this
// each time it is worked out, and it is worked out again after each failure.
func (e *Env) keepSSOToken(o *ssocreds.SSOTokenProviderOptions) {
	if e.cacheDir == "" {
		return
	}
	from := o.CachedTokenFilepath
	to := filepath.Join(e.cacheDir, filepath.Base(from))
	err := adoptToken(from, to)
	switch {
	case errors.Is(err, fs.ErrNotExist): // nobody has logged in, which the SDK will say
	case err != nil:
		e.noToken.Failed("token", "err", err)
	default:
		e.noToken.Succeeded()
		o.CachedTokenFilepath = to
	}
}

// adoptToken copies a token's file to another place, unless what is there lasts longer.
func adoptToken(from, to string) error {
	b, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(to); err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("couldn't read the token: %w", err)
	}
	if kept, err := os.ReadFile(to); err == nil && !expiry(b).After(expiry(kept)) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("couldn't make the directory of the copy: %w", err)
	}
	tmp := to + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("couldn't write the copy: %w", err)
	}
	return os.Rename(tmp, to)
}

// expiry returns when a token's file says that it expires; the zero time when it does not say so.
func expiry(file []byte) time.Time {
	var token struct {
		ExpiresAt time.Time `json:"expiresAt"`
	}
	if json.Unmarshal(file, &token) != nil {
		return time.Time{}
	}
	return token.ExpiresAt
}

// isSSORefresh reports whether the SDK could not renew a token. It has no type of error for that.
func isSSORefresh(err error) bool { return strings.Contains(err.Error(), "cached SSO token") }
