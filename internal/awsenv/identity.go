package awsenv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/target"
)

var (
	// ErrNoCredentials is the error of Identity if there are no credentials.
	ErrNoCredentials = errors.New("no AWS credentials")
	// ErrRefused is the error of Identity if AWS does not accept the credentials.
	ErrRefused = errors.New("AWS does not accept the credentials")
)

// maxARN is how much of an ARN is used, in bytes. IAM's are shorter than 300.
const maxARN = 512

// Identity asks STS to whom the credentials of an access belong. If the access has no region,
// STS is asked in the region that Region returns.
//
// provider says in words where the credentials come from, such as "EC2 instance role". It is
// known once there are credentials, even if STS then fails. STS may be unreachable although
// CloudWatch Logs is not, so an error other than ErrNoCredentials and ErrRefused says only
// that the ARN is unknown.
//
// Identity waits for the network, but not longer than ctx allows.
func (e *Env) Identity(ctx context.Context, a target.Access) (arn, provider string, err error) {
	var noRegion error
	if isAuto(a.Region) {
		a.Region, noRegion = e.regionQuietly(ctx)
	}
	cfg, err := e.Config(ctx, a)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	provider = ProviderName(creds.Source)
	if noRegion != nil {
		return "", provider, fmt.Errorf("no region for STS: %w", noRegion)
	}
	// A private network may have no name for STS. That must not count as an outage of DNS.
	cfg.APIOptions = nil
	client := sts.NewFromConfig(cfg, func(o *sts.Options) {
		o.Retryer = newRetryer()
		// Otherwise each client has an HTTP client of its own, which keeps its connection for 90 s.
		if o.HTTPClient = cfg.HTTPClient; o.HTTPClient == nil {
			o.HTTPClient = e.http
		}
	})
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	switch {
	case err != nil && keysAreBad(err):
		if kept, ok := cfg.Credentials.(interface{ Invalidate() }); ok {
			kept.Invalidate()
		}
		return "", provider, fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return "", provider, err
	case !strings.HasPrefix(aws.ToString(out.Arn), "arn:"):
		return "", provider, errors.New("STS answered without an ARN")
	}
	return oneline.Text(*out.Arn, maxARN), provider, nil
}

// ProviderName says in words what the Source of credentials (aws.Credentials) means.
func ProviderName(source string) string {
	names := map[string]string{
		config.CredentialsSourceName:     "environment variables",
		ec2rolecreds.ProviderName:        "EC2 instance role",
		endpointcreds.ProviderName:       "container credentials",
		ssocreds.ProviderName:            "IAM Identity Center",
		stscreds.ProviderName:            "assumed role",
		stscreds.WebIdentityProviderName: "web identity",
	}
	if name := names[source]; name != "" {
		return name
	}
	if strings.HasPrefix(source, "SharedConfigCredentials") {
		return "shared credentials file"
	}
	return source
}
