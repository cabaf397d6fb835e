package awsenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/logspool/logspool/internal/target"
)

// roleKeysLife is the requested life of a role's keys. Every role allows an hour, and a role
// that is assumed with another role's keys allows no more (STS API reference, AssumeRole).
const roleKeysLife = time.Hour

// A role fetches keys by assuming a role at STS, with the keys of base.
type role struct {
	env    *Env
	plain  aws.Config // plain is the configuration for clients of STS.
	base   aws.CredentialsProvider
	access target.Access
}

func (e *Env) newRole(plain aws.Config, base aws.CredentialsProvider, a target.Access) *role {
	return &role{env: e, plain: plain, base: base, access: a}
}

// Retrieve implements aws.CredentialsProvider.
func (r *role) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := r.assume(ctx)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("couldn't assume the role %q: %w", r.access.RoleARN, err)
	}
	return creds, nil
}

func (r *role) assume(ctx context.Context) (aws.Credentials, error) {
	region := r.access.Region
	if isAuto(region) {
		var err error
		if region, err = r.env.regionQuietly(ctx); err != nil {
			return aws.Credentials{}, fmt.Errorf("no region for STS: %w", err)
		}
	}
	// A separate step, so that the error says which of the two fetches failed.
	if _, err := r.base.Retrieve(ctx); err != nil {
		return aws.Credentials{}, fmt.Errorf("no credentials to assume it with: %w", err)
	}
	cfg := r.plain.Copy()
	cfg.Region = region
	cfg.Credentials = r.base
	host, _ := os.Hostname() // without it, the session name is only less helpful
	client := sts.NewFromConfig(cfg, func(o *sts.Options) { o.Retryer = newRetryer() })
	creds, err := stscreds.NewAssumeRoleProvider(client, r.access.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = sessionName(host)
		o.Duration = roleKeysLife
		if r.access.ExternalID != "" {
			o.ExternalID = aws.String(r.access.ExternalID)
		}
	}).Retrieve(ctx)
	if err != nil && keysAreBad(err) {
		if kept, ok := r.base.(interface{ Invalidate() }); ok {
			kept.Invalidate()
		}
	}
	return creds, err
}

// keysAreBad reports whether STS refused the keys, and not the request (STS API
// reference, Common Errors).
func keysAreBad(err error) bool {
	var refused smithy.APIError
	return errors.As(err, &refused) && slices.Contains([]string{
		"InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch",
	}, refused.ErrorCode())
}

// sessionName returns the name under which CloudTrail shows the session: logspool and this
// host. STS allows 2 to 64 of these characters.
func sessionName(host string) string {
	name := "logspool-" + strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-", r) {
			return r
		}
		return '-'
	}, host)
	return name[:min(len(name), 64)]
}
