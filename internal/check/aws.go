package check

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/internal/awsenv"
	"github.com/logspool/logspool/internal/target"
)

// The time limits of the checks that use AWS.
const (
	regionLimit      = 3 * time.Second
	metadataLimit    = 1500 * time.Millisecond
	credentialsLimit = 16 * time.Second // awsenv needs 15 s at most
	identityLimit    = 6 * time.Second
)

// remote is what the checks that use AWS share. Each field is set by one check, before the
// checks that read it start.
type remote struct {
	*checker
	env    *awsenv.Env
	access target.Access
	config aws.Config // config is the SDK's, with the credentials of access.
	// skew is how much the clock of CloudWatch is ahead of this host's.
	skew time.Duration
	// clockIsBad says that skew is too large.
	clockIsBad bool
	identity   identity
}

// checkAWS runs the checks that use AWS. Those that need what a bad check could not find are
// unknown.
func (c *checker) checkAWS(ctx context.Context) []Result {
	r := &remote{checker: c, access: c.container.Access}
	if c.container.Hold != "" {
		return r.skip("aws configuration", c.container.Hold)
	}
	if AnyBad(c.hiddenPaths()) {
		return r.skip("aws configuration", "the AWS files are not where the settings say")
	}
	restore, err := c.useEnvironment()
	if err != nil {
		return r.skip("aws configuration", err.Error())
	}
	defer restore()
	o := awsenv.Options{Region: c.settings.Region, NoEC2: c.settings.NoEC2}
	if c.Plugin != nil && c.Plugin.StateDir() != "" {
		// If a token of IAM Identity Center is renewed, the plugin needs the new one.
		o.CacheDir = filepath.Join(c.Plugin.StateDir(), "sso")
	}
	r.env = awsenv.New(o)
	metadata := step{"EC2 metadata", r.checkMetadata}.start(ctx, metadataLimit)
	return slices.Concat(r.checkConfiguration(ctx), <-metadata, r.checkServices(ctx))
}

// skip returns unknown results for the check of that name and those after it.
func (r *remote) skip(from, why string) []Result {
	names := []string{"aws configuration", "region", "endpoint", "clock", "credentials", "identity",
		"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}
	var results []Result
	for _, name := range names[slices.Index(names, from):] {
		results = append(results, unknown(name, "not checked: %s", why))
	}
	return results
}

// checkConfiguration reads the SDK's configuration and finds the region.
func (r *remote) checkConfiguration(ctx context.Context) []Result {
	const name = "aws configuration"
	if _, err := r.env.Config(ctx, r.access); err != nil {
		return []Result{bad(name, "correct the setting or the file that the error names", "%s", text(err))}
	}
	return append([]Result{good(name, "the AWS SDK accepts it")}, r.checkRegion(ctx)...)
}

// checkServices checks CloudWatch and STS, if there is a region.
func (r *remote) checkServices(ctx context.Context) (results []Result) {
	if r.access.Region == "" {
		return r.skip("endpoint", "there is no region")
	}
	var err error
	if r.config, err = r.env.Config(ctx, r.access); err != nil {
		return r.skip("endpoint", text(err))
	}
	endpoint := <-step{"endpoint", r.checkEndpoint}.start(ctx, endpointLimit)
	credentials := r.checkCredentials(ctx)
	results = slices.Concat(endpoint, credentials)
	switch {
	case endpoint[0].State != OK:
		return append(results, r.skip("logs:CreateLogGroup", "the endpoint cannot be used")...)
	case credentials[0].State != OK || AnyBad(credentials):
		return append(results, r.skip("logs:CreateLogGroup", "there are no usable credentials")...)
	}
	permissions, refused := r.probe(ctx)
	if refused != nil { // CloudWatch refuses what STS accepted
		results = slices.Concat(endpoint, refused)
	}
	return append(results, permissions...)
}

// checkRegion finds the region as the plugin does, and says where it comes from.
func (r *remote) checkRegion(ctx context.Context) []Result {
	const name = "region"
	if r.access.Region != "" {
		return []Result{good(name, "%s, from %s", r.access.Region, r.container.RegionFrom)}
	}
	lookUp, from := r.env.Region, r.env.RegionFrom
	if r.container.RegionAuto {
		lookUp, from = r.env.AutoRegion, r.env.AutoRegionFrom
	}
	region, err := within(ctx, regionLimit, lookUp)
	if err != nil {
		return []Result{bad(name, r.set("AWS_REGION=REGION"), "%s", text(err))}
	}
	r.access.Region = region
	return []Result{good(name, "%s, from %s", region, from())}
}

// checkMetadata asks the EC2 metadata service for the instance.
func (r *remote) checkMetadata(ctx context.Context) []Result {
	const name = "EC2 metadata"
	needed := r.container.Group.Uses("InstanceID") || r.container.Stream.Uses("InstanceID")
	id, err := r.env.InstanceID(ctx)
	switch {
	case err != nil && needed:
		return []Result{bad(name, "enable the instance's metadata service; if this host is not EC2, "+r.set("NOEC2=1"),
			"the metadata service does not answer, and a name uses .InstanceID")}
	case err != nil:
		return []Result{good(name, "the metadata service does not answer, so this is not EC2; NOEC2=1 keeps the plugin from asking")}
	case id == "":
		return []Result{good(name, "not used: NOEC2 or AWS_EC2_METADATA_DISABLED is set")}
	}
	return []Result{good(name, "instance %s", id)}
}

// checkCredentials fetches the credentials and asks STS whose they are. The first result is
// about the credentials.
func (r *remote) checkCredentials(ctx context.Context) []Result {
	const name = "credentials"
	base := r.access
	base.RoleARN, base.ExternalID = "", ""
	creds, err := r.retrieve(ctx, base)
	if err != nil {
		return []Result{bad(name, "mount the AWS files ("+r.set("aws.source=/root/.aws")+"), set keys, or give the instance a role",
			"no credentials: %s", text(err)), unknown("identity", "not checked: there are no credentials")}
	}
	results := []Result{good(name, "%s", awsenv.ProviderName(creds.Source))}
	if r.access.RoleARN != "" {
		if _, err := r.retrieve(ctx, r.access); err != nil {
			remedy := "allow sts:AssumeRole on " + r.access.RoleARN + " to the plugin's credentials, and let the role's trust policy trust them"
			if isAny(err, authCodes) {
				return r.refusedKeys(err)
			}
			return append(results, unknown("identity", "not checked: the role cannot be assumed"),
				bad("sts:AssumeRole", remedy, "%s", text(err)))
		}
		results = append(results, r.checkIdentity(ctx), good("sts:AssumeRole", "%s", r.access.RoleARN))
	} else {
		results = append(results, r.checkIdentity(ctx))
	}
	if results[1].State == Bad {
		return []Result{{name, Bad, results[1].Detail, results[1].Remedy}, unknown("identity", "not checked: the credentials are refused")}
	}
	return results
}

func (r *remote) retrieve(ctx context.Context, a target.Access) (aws.Credentials, error) {
	cfg, err := r.env.Config(ctx, a)
	if err != nil {
		return aws.Credentials{}, err
	}
	if cfg.Credentials == nil {
		return aws.Credentials{}, errors.New("the AWS SDK found no credentials")
	}
	return within(ctx, credentialsLimit, cfg.Credentials.Retrieve)
}

// refusedKeys is the result of credentials that AWS refuses.
func (r *remote) refusedKeys(err error) []Result {
	return []Result{bad("credentials", "correct the keys, or renew them if they have expired", "AWS refuses them: %s", text(err)),
		unknown("identity", "not checked: the credentials are refused")}
}

// groupARN returns the ARN of the probe's group.
func (r *remote) groupARN(group string) string {
	return fmt.Sprintf("arn:%s:logs:%s:%s:log-group:%s", r.identity.partition(), r.access.Region, r.identity.account(), group)
}
