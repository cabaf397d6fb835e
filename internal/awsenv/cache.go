package awsenv

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

const (
	// renewBefore is how long before their end keys are fetched anew, up to half of it less by chance.
	renewBefore = 10 * time.Minute
	// How long a source of keys that failed is left alone: STS throttles an account as a whole.
	keysRestMin = time.Second
	keysRestMax = 15 * time.Second
)

// lineCache is the SDK's cache. Its errors have one line.
type lineCache struct{ *aws.CredentialsCache }

// Retrieve implements aws.CredentialsProvider.
func (c lineCache) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := c.CredentialsCache.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, oneLine(err)
	}
	return creds, nil
}

// A cache keeps a provider's keys until a while before they expire. When they cannot be renewed then, it goes on with
// them until they do; when there are none, the provider is left alone for a while after each failure. The
// SDK's cache in front of it lets one caller at a time through and the others wait for what he gets.
type cache struct {
	lineCache
	fetch *fetch
}

func newCache(from aws.CredentialsProvider) cache {
	f := &fetch{from: from, rest: rest{min: keysRestMin, max: keysRestMax}}
	return cache{lineCache{aws.NewCredentialsCache(f)}, f}
}

// Invalidate makes the next Retrieve fetch other keys.
func (c cache) Invalidate() {
	c.fetch.forget()
	c.CredentialsCache.Invalidate()
}

type fetch struct {
	from aws.CredentialsProvider

	mu   sync.Mutex
	last aws.Credentials // good until Expires, unless they were refused
	err  error           // of the last try
	rest rest
}

func (f *fetch) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = aws.Credentials{}
}

// Retrieve implements aws.CredentialsProvider.
func (f *fetch) Retrieve(ctx context.Context) (aws.Credentials, error) {
	f.mu.Lock()
	err := f.err
	due := f.rest.due()
	f.mu.Unlock()
	if !due {
		return aws.Credentials{}, err
	}

	ctx, cancel := context.WithTimeout(ctx, retrieveTimeout)
	defer cancel()
	creds, err := f.from.Retrieve(ctx)
	if err == nil {
		creds, err = cleanKeys(creds)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.err = err
		f.rest.begin()
		if left := time.Until(f.last.Expires); f.last.HasKeys() && left > 0 {
			creds = f.last
			creds.Expires = time.Now().Add(min(left, f.rest.length))
			return creds, nil
		}
		return aws.Credentials{}, f.err
	}
	f.rest.end()
	if !creds.CanExpire {
		f.last = aws.Credentials{}
		creds.CanExpire = true
		creds.Expires = time.Now().Add(fileKeysLife)
		return creds, nil
	}
	f.last = creds
	// Not more than half their life: an endpoint may hand out short ones.
	left := max(0, time.Until(creds.Expires))
	before := min(renewBefore, left/2)
	before -= rand.N(before/2 + 1)
	// Keys that look expired already are used all the same, and fetched no more often than when fetching
	// fails: this host's clock may be fast, and the service knows better.
	creds.Expires = time.Now().Add(max(left-before, keysRestMax))
	return creds, nil
}

// ProviderSources says what the keys came from, for the SDK's user agent.
func (f *fetch) ProviderSources() []aws.CredentialSource {
	if p, ok := f.from.(aws.CredentialProviderSource); ok {
		return p.ProviderSources()
	}
	return nil
}
