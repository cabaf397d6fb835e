package awsenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
)

const (
	// retrieveTimeout bounds one search for credentials. The SDK takes the caller's deadline away
	// (aws.CredentialsCache, suppressedContext) and lets all callers wait for one search, so an
	// endpoint that hangs would stop every upload for good. With the uploader's longest wait after it
	// it stays under the half minute within which things go on once they are mended.
	retrieveTimeout = 15 * time.Second
	// fileKeysLife is how long keys from a file are used before the file is read again: the SDK
	// reads it once and takes its keys to be good for ever, but people rotate them.
	fileKeysLife = time.Minute
)

// chainCache keeps the default chain's keys until they expire.
type chainCache struct {
	lineCache
	chain *chain
}

func newChainCache(e *Env) chainCache {
	c := &chain{env: e}
	return chainCache{lineCache{aws.NewCredentialsCache(c)}, c}
}

// Invalidate makes the next Retrieve work the chain out again: the SDK keeps keys in it too.
func (c chainCache) Invalidate() {
	c.chain.use(nil)
	c.CredentialsCache.Invalidate()
}

// chain is the SDK's default credentials chain, worked out when credentials are first needed and
// worked out again when it fails. The cache around it calls Retrieve once at a time.
type chain struct {
	env *Env

	mu    sync.Mutex
	found aws.CredentialsProvider // nil: work it out
}

// Retrieve implements aws.CredentialsProvider.
func (c *chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, retrieveTimeout)
	defer cancel()
	p, err := c.provider(ctx)
	if err != nil {
		return aws.Credentials{}, explain(err)
	}
	creds, err := p.Retrieve(ctx)
	if err == nil {
		creds, err = cleanKeys(creds)
	}
	if err != nil {
		c.use(nil)
		return aws.Credentials{}, explain(err)
	}
	if !creds.CanExpire && creds.Source != config.CredentialsSourceName {
		c.use(nil)
		creds.CanExpire = true
		creds.Expires = time.Now().Add(fileKeysLife)
	}
	return creds, nil
}

// provider returns the provider in use, and works it out when there is none.
func (c *chain) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	p := c.found
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}

	var opts []func(*config.LoadOptions) error
	// A role is assumed at STS, which wants a region too. Where there is none, the chain is tried
	// without: keys and an instance's role need none.
	if region, err := c.env.regionQuietly(ctx); err == nil {
		opts = append(opts, config.WithRegion(region))
	}
	plain, err := c.env.load(ctx, withoutCredentials)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) { o.Client = c.env.metadata.client(plain) }),
		config.WithEndpointCredentialOptions(c.env.containerClient(plain, chainEndpoint()).configure),
		config.WithSSOTokenProviderOptions(c.env.keepSSOToken),
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			o.TokenRetriever = trimmedToken{o.TokenRetriever}
		}))
	cfg, err := c.env.load(ctx, opts...)
	if err != nil {
		return nil, err
	}
	c.use(cfg.Credentials)
	return cfg.Credentials, nil
}

func (c *chain) use(p aws.CredentialsProvider) {
	c.mu.Lock()
	c.found = p
	c.mu.Unlock()
}

// cleanKeys trims the white space that keys and tokens bring from the files that they were copied from, and refuses what
// cannot be sent in a header: the transport would say "invalid header field value" and not whose value it is.
func cleanKeys(c aws.Credentials) (aws.Credentials, error) {
	for _, v := range []struct {
		what  string
		value *string
	}{{"access key ID", &c.AccessKeyID}, {"secret access key", &c.SecretAccessKey}, {"session token", &c.SessionToken}} {
		*v.value = strings.TrimSpace(*v.value)
		if strings.ContainsFunc(*v.value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return aws.Credentials{}, fmt.Errorf("the %s from %s has a character in it that cannot be in one, such as a space or a line break: set it again, without quotes", v.what, c.Source)
		}
	}
	return c, nil
}

// trimmedToken is a web identity's token without the newline at the end of its file, which STS takes for a part of it.
type trimmedToken struct {
	stscreds.IdentityTokenRetriever
}

func (t trimmedToken) GetIdentityToken() ([]byte, error) {
	b, err := t.IdentityTokenRetriever.GetIdentityToken()
	return bytes.TrimSpace(b), err
}

// explain puts before a failure what the operator can do about it, where the SDK does not know.
func explain(err error) error {
	var expired *ssocreds.InvalidTokenError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("credential_process is not supported, because the plugin has no shell to run it; use a role, or have the program write a file of keys into the mounted directory: %w", err)
	case errors.As(err, &expired), isSSORefresh(err):
		return fmt.Errorf("the IAM Identity Center session cannot be used; run `aws sso login` for the profile on the host: %w", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("these credentials renew themselves in a file, and the directory of the AWS files is read-only; use a role, an IAM Identity Center profile with sso_session, or keys: %w", err)
	}
	// The SDK takes files that may not be read for missing ones (config, internal/ini, OpenFile), looks elsewhere, and
	// complains of what it did not find there.
	for _, name := range Files() {
		f, openErr := os.Open(name)
		if errors.Is(openErr, fs.ErrPermission) {
			return fmt.Errorf("%s may not be read: if it came after the plugin was enabled, disable and enable it again: %w", name, err)
		}
		if openErr == nil {
			f.Close()
		}
	}
	return err
}

// regionQuietly is Region for a caller that can do without: it logs nothing.
func (e *Env) regionQuietly(ctx context.Context) (string, error) {
	if e.route != "" {
		return e.route, nil
	}
	return e.region.get(ctx)
}
