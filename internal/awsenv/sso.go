package awsenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"

	"github.com/logspool/logspool/internal/faultlog"
)

// ssoTokens keeps copies of IAM Identity Center tokens.
type ssoTokens struct {
	dir      string // dir is Options.CacheDir.
	noCopies *faultlog.Fault
}

func newSSOTokens(dir string, log *slog.Logger) ssoTokens {
	return ssoTokens{dir: dir, noCopies: faultlog.NewFault(log,
		"cannot copy an IAM Identity Center token; the plugin cannot renew it when it expires", "IAM Identity Center token copied", nil)}
}

// useCopy makes the SDK use a copy of its token. The SDK renews a token that has expired, and
// writes it to the file that it read it from. If that fails, as in a directory that is mounted
// read-only, it discards the token (credentials/ssocreds, refreshToken). The refresh token was
// replaced too, so the next try would fail as well.
//
// A token in the original file that lasts longer replaces the copy: the user has logged
// in again. The chain is resolved again after each failure, and calls useCopy each time.
func (t ssoTokens) useCopy(o *ssocreds.SSOTokenProviderOptions) {
	if t.dir == "" {
		return
	}
	from := o.CachedTokenFilepath
	to := filepath.Join(t.dir, filepath.Base(from))
	err := adoptToken(from, to)
	switch {
	case errors.Is(err, fs.ErrNotExist): // nobody has logged in, which the SDK reports
	case err != nil:
		t.noCopies.Failed("token", "err", err)
	default:
		t.noCopies.Succeeded()
		o.CachedTokenFilepath = to
	}
}

// adoptToken copies the file of a token, unless the copy already lasts as long.
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

// expiry returns the expiry in the file of a token, or the zero time if there is none.
func expiry(file []byte) time.Time {
	var token struct {
		ExpiresAt time.Time `json:"expiresAt"`
	}
	if json.Unmarshal(file, &token) != nil {
		return time.Time{}
	}
	return token.ExpiresAt
}

// isSSORefresh reports whether the SDK could not renew a token. The SDK has no error type
// for that.
func isSSORefresh(err error) bool { return strings.Contains(err.Error(), "cached SSO token") }
