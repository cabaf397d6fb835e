package awsenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
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
	*aws.CredentialsCache
	chain *chain
}

func newChainCache(e *Env) chainCache {
	c := &chain{env: e}
	return chainCache{aws.NewCredentialsCache(c), c}
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
		return aws.Credentials{}, oneLine(explain(err))
	}
	creds, err := p.Retrieve(ctx)
	if err != nil {
		c.use(nil)
		return aws.Credentials{}, oneLine(explain(err))
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
	opts = append(opts, config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) {
		o.Client = c.env.metadata.client(plain)
	}))
	if overHTTP() {
		opts = append(opts, config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) {
			o.HTTPClient = c.env.containers
		}))
	}
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

// explain adds to a failure what the SDK does not know of: that there is no shell in the plugin for a
// credential_process, and the files that are there and may not be read. It takes these for missing
// (config, internal/ini, OpenFile), looks elsewhere, and complains of what it did not find there.
func explain(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w (a credential_process is run by sh, and the plugin holds no programs: use a role, or a file of keys)", err)
	}
	for _, name := range Files() {
		f, openErr := os.Open(name)
		if errors.Is(openErr, fs.ErrPermission) {
			return fmt.Errorf("%w (%s may not be read: if it came after the plugin was enabled, disable and enable it again)", err, name)
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
