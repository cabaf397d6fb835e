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
	// retrieveTimeout bounds one search for credentials. The SDK ignores the caller's deadline
	// (aws.CredentialsCache, suppressedContext) and lets all callers wait for one search, so
	// an endpoint that hangs would stop every upload forever. Together with the uploader's
	// longest wait, retrieveTimeout is shorter than the half minute within which uploads must
	// recover.
	retrieveTimeout = 15 * time.Second
	// fileKeysLife is how long keys from a file are used before the file is read again. The
	// SDK reads the file once and assumes that its keys never expire, but operators rotate
	// them.
	fileKeysLife = time.Minute
)

// newChainCache returns a cache of the default chain's credentials. It has no renewer,
// because the SDK renews some of these credentials itself. After a refusal the chain is
// resolved again, because its providers keep keys too.
func newChainCache(e *Env) cache {
	c := &chain{env: e}
	return cache{aws.NewCredentialsCache(c), c}
}

// A chain is the SDK's default credentials chain. It is resolved when credentials are
// first needed, and again after a failure. The cache around it makes one call of Retrieve
// at a time.
type chain struct {
	env *Env

	mu    sync.Mutex
	found aws.CredentialsProvider // found is nil if the chain must be resolved.
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

// provider returns the provider in use, and resolves the chain if there is none.
func (c *chain) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	p := c.found
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}

	var opts []func(*config.LoadOptions) error
	// STS, where roles are assumed, needs a region. Without one the chain is tried all
	// the same, because keys and an instance's role need none.
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
		config.WithSSOTokenProviderOptions(c.env.tokens.useCopy),
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

// cleanKeys trims the white space around keys and tokens that were copied from a file. It
// refuses values that cannot be sent in a header, because the transport's error, "invalid
// header field value", does not say which value is wrong.
func cleanKeys(c aws.Credentials) (aws.Credentials, error) {
	for _, v := range []struct {
		what  string
		value *string
	}{{"access key ID", &c.AccessKeyID}, {"secret access key", &c.SecretAccessKey}, {"session token", &c.SessionToken}} {
		*v.value = strings.TrimSpace(*v.value)
		if strings.ContainsFunc(*v.value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return aws.Credentials{}, fmt.Errorf("the %s from %s contains an invalid character, such as a space or a line break: set it again, without quotes", v.what, c.Source)
		}
	}
	return c, nil
}

// trimmedToken trims the token of a web identity, because STS takes the newline at the
// end of the file as part of the token.
type trimmedToken struct {
	stscreds.IdentityTokenRetriever
}

func (t trimmedToken) GetIdentityToken() ([]byte, error) {
	b, err := t.IdentityTokenRetriever.GetIdentityToken()
	return bytes.TrimSpace(b), err
}

// explain puts advice to the operator before an error, if the SDK's error does not help.
func explain(err error) error {
	var expired *ssocreds.InvalidTokenError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("credential_process is not supported, because the plugin has no shell to run it; use a role, or let the program write keys to a file in the mounted directory: %w", err)
	case errors.As(err, &expired), isSSORefresh(err):
		return fmt.Errorf("the IAM Identity Center session cannot be used; run `aws sso login` for the profile on the host: %w", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the SDK renews these credentials in a file, but the directory of the AWS files is mounted read-only; use a role, an IAM Identity Center profile with sso_session, or keys: %w", err)
	}
	// The SDK treats a file that it may not read as missing (config, internal/ini, OpenFile).
	// It then looks elsewhere, and its error is about what it did not find there.
	for _, name := range Files() {
		f, openErr := os.Open(name)
		if errors.Is(openErr, fs.ErrPermission) {
			return fmt.Errorf("the plugin has no permission to read %s; if the file was created after the plugin was enabled, disable and enable the plugin: %w", name, err)
		}
		if openErr == nil {
			f.Close()
		}
	}
	return err
}

// regionQuietly is Region without advice in its error, for callers that can do without a
// region.
func (e *Env) regionQuietly(ctx context.Context) (string, error) {
	if e.route != "" {
		return e.route, nil
	}
	return e.region.get(ctx)
}
