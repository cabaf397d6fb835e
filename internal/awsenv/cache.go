package awsenv

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/internal/oneline"
)

// renewBefore is how long before their expiry keys are renewed. A random part of it, up
// to half, is left out.
const renewBefore = 10 * time.Minute

// A cache keeps the credentials of one source, a renewer or the chain. It is the SDK's
// cache: one caller at a time fetches credentials, and the others wait for the result. In
// addition, a cache puts errors on one line, and tells the chain when its credentials
// were refused.
type cache struct {
	*aws.CredentialsCache
	source aws.CredentialsProvider
}

// newCache returns a cache whose credentials are renewed before they expire.
func newCache(from aws.CredentialsProvider) cache {
	r := &renewer{from: from, backoff: newRetryPause()}
	return cache{aws.NewCredentialsCache(r), r}
}

// Retrieve implements aws.CredentialsProvider.
func (c cache) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := c.CredentialsCache.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, oneLine(err)
	}
	return creds, nil
}

// Invalidate makes the next Retrieve fetch new credentials.
func (c cache) Invalidate() {
	switch source := c.source.(type) {
	case *chain:
		source.use(nil)
	case *renewer:
		source.refusals.Add(1)
	}
	c.CredentialsCache.Invalidate()
}

// A renewer tells the SDK's cache when to renew the keys of a source: some time before
// they expire. The SDK's option ExpiryWindow is not enough, because keys that cannot be
// renewed must be used until they expire. The renewer keeps no keys. The cache calls its
// methods one at a time.
type renewer struct {
	from aws.CredentialsProvider

	expires time.Time // expires is when the last keys really expire, and zero if they do not.
	err     error     // err is the error of the last try.
	backoff retryPause

	refusals atomic.Uint64 // refusals counts the calls of cache.Invalidate by any goroutine.
	atStart  uint64        // atStart is refusals at the start of the last try.
}

// Retrieve implements aws.CredentialsProvider. The expiry that it returns is the time of
// the next renewal.
func (r *renewer) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r.atStart = r.refusals.Load()
	if !r.backoff.due() {
		return aws.Credentials{}, r.err
	}
	ctx, cancel := context.WithTimeout(ctx, retrieveTimeout)
	defer cancel()
	creds, err := r.from.Retrieve(ctx)
	if err == nil {
		creds, err = cleanKeys(creds)
	}
	if err != nil {
		r.err = err
		r.backoff.failed()
		return aws.Credentials{}, err
	}
	r.backoff.succeeded()
	if !creds.CanExpire {
		r.expires = time.Time{}
		creds.CanExpire = true
		creds.Expires = time.Now().Add(fileKeysLife)
		return creds, nil
	}
	r.expires = creds.Expires
	// An endpoint may return keys with a short life, so at least half of it is used.
	left := max(0, time.Until(creds.Expires))
	before := min(renewBefore, left/2)
	before -= rand.N(before/2 + 1)
	// Keys that seem to have expired are used all the same, because this host's clock may
	// be fast. They are fetched no more often than after a failure.
	creds.Expires = time.Now().Add(max(left-before, backoffMax))
	return creds, nil
}

// HandleFailToRefresh implements aws.HandleFailRefreshCredentialsCacheStrategy. It
// returns the last keys if they have not expired. They are zero if they were refused
// before this try, and are not returned if they were refused during it.
func (r *renewer) HandleFailToRefresh(_ context.Context, last aws.Credentials, err error) (aws.Credentials, error) {
	left := time.Until(r.expires)
	if !last.HasKeys() || left <= 0 || r.refusals.Load() != r.atStart {
		return aws.Credentials{}, err
	}
	last.Expires = time.Now().Add(min(left, r.backoff.length))
	return last, nil
}

// ProviderSources implements aws.CredentialProviderSource. The SDK's user agent names the
// sources.
func (r *renewer) ProviderSources() []aws.CredentialSource {
	if p, ok := r.from.(aws.CredentialProviderSource); ok {
		return p.ProviderSources()
	}
	return nil
}

// cacheFailed is what each of the SDK's caches puts before an error (aws/credential_cache.go).
const cacheFailed = "failed to refresh cached credentials, "

// oneLine puts the text of an error of the SDK on one line. It removes cacheFailed,
// because the operator needs to see the cause first. It does not cut the text: the cause
// of a chain of credentials is at its end, and the log shows both ends.
func oneLine(err error) error {
	text := strings.ReplaceAll(strings.Join(strings.Fields(err.Error()), " "), cacheFailed, "")
	return lineError{err, oneline.Text(text, len(text)*4)}
}

type lineError struct {
	error
	text string
}

func (e lineError) Error() string { return e.text }
func (e lineError) Unwrap() error { return e.error }
