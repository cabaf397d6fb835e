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

// roleKeysLife is how long a role's keys are asked for. Each role allows it, and no role more that was assumed with
// another role's keys ("AssumeRole", STS API Reference).
const roleKeysLife = time.Hour

// role gets keys by assuming a role at STS, with the keys of base.
type role struct {
	env    *Env
	plain  aws.Config // what clients of STS are made from
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
			return aws.Credentials{}, fmt.Errorf("no region whose STS could be asked: %w", err)
		}
	}
	// First, and apart, so that it is plain whose failure it is.
	if _, err := r.base.Retrieve(ctx); err != nil {
		return aws.Credentials{}, fmt.Errorf("no keys to assume it with: %w", err)
	}
	cfg := r.plain.Copy()
	cfg.Region = region
	cfg.Credentials = r.base
	host, _ := os.Hostname() // the name of the session is for people
	client := sts.NewFromConfig(cfg, func(o *sts.Options) { o.Retryer = tries() })
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

// keysAreBad reports whether STS refused the keys and not what was asked for with them ("Common Errors", STS API
// Reference).
func keysAreBad(err error) bool {
	var refused smithy.APIError
	return errors.As(err, &refused) && slices.Contains([]string{
		"InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch",
	}, refused.ErrorCode())
}

// sessionName says in CloudTrail who uses the role: logspool on this host. STS allows 2 to 64 of these characters.
func sessionName(host string) string {
	name := "logspool-" + strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-", r) {
			return r
		}
		return '-'
	}, host)
	return name[:min(len(name), 64)]
}
