// Package awsenv finds out what AWS knows about the place where the plugin runs: the
// region that "auto" means, the ID of the EC2 instance, and the credentials. It follows
// the AWS SDK's own rules, and uses version 2 of the instance metadata service only.
//
// Every look-up has a time limit, happens only when somebody asks for the value, and runs
// on the caller's goroutine. So a plugin that is not on EC2, or whose metadata service
// hangs, still starts and attaches containers. The package must not know log groups,
// batches, containers or dockerd.
//
// The SDK reads the process's environment and cannot be given another one, so this
// package uses os.Getenv too.
package awsenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/logspool/logspool/internal/oneline"
)

// auto is the region setting that asks for a look-up.
const auto = "auto"

// Options are the plugin's settings about AWS.
//
// With NoEC2, the EC2 metadata service gives neither the region and the instance ID nor
// the credentials of an instance's role. CacheDir is needed because the directory of the
// original tokens is mounted read-only. It is created when it is needed. Resolved must
// not wait for the network.
type Options struct {
	// Region is the region of ROUTE; empty or "auto" means that the region is looked up.
	Region string
	// RegionFrom is the setting that Region comes from, for RegionFrom.
	RegionFrom string
	// NoEC2 is the setting NOEC2: the EC2 metadata service is never asked.
	NoEC2 bool
	// CacheDir is the directory for the IAM Identity Center tokens that the SDK has
	// renewed; empty means that they are not kept.
	CacheDir string
	// Resolved is called with the result of each DNS look-up for a request to AWS; it may
	// be nil.
	Resolved func(err error)
	// Log gets the failures of look-ups while they last, and the SDK's warnings; nil
	// means no log.
	Log *slog.Logger
}

// Env answers questions about AWS. Its methods may be called by several goroutines at once. It
// starts no goroutines itself.
type Env struct {
	log      *slog.Logger
	resolved func(error)
	route    string // route is the region of ROUTE; empty means that the region is looked up.
	// routeFrom is the setting that route comes from.
	routeFrom string
	noEC2     bool

	metadata   metadataService
	containers containerClient
	config     atomic.Pointer[aws.Config] // config is set by the first Config that succeeds.
	region     *lookup
	regionFrom atomic.Pointer[string] // regionFrom is set before region is known.
	instance   *instance
	http       aws.HTTPClient // http is for Identity, if the configuration has no client.

	defaultKeys aws.CredentialsProvider // defaultKeys has the keys of the SDK's default chain.
	providers   providers               // providers has all other keys.
	tokens      ssoTokens
}

// New returns an Env, and asks nobody anything. It removes every AWS_* variable with an
// empty value, and an AWS_REGION or AWS_DEFAULT_REGION of "auto", from the process's
// environment. So it must be called before anything else that uses the SDK.
func New(o Options) *Env {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cleanEnvironment(log)
	e := &Env{
		log: log, noEC2: o.NoEC2, resolved: o.Resolved,
		metadata: newMetadataService(), containers: newContainerClient(), tokens: newSSOTokens(o.CacheDir, log),
	}
	if !isAuto(o.Region) {
		e.route, e.routeFrom = o.Region, o.RegionFrom
	}
	e.http = awshttp.NewBuildableClient()
	e.region = newLookup(e.findRegion)
	e.instance = newInstance(e.findInstanceID, log)
	e.defaultKeys = newChainCache(e)
	return e
}

// proxies are settings that net/http reads.
var proxies = []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}

// cleanEnvironment removes from the process's environment what the SDK would misread.
//
// It unsets AWS_* variables with an empty value. `docker plugin set logspool
// AWS_ENDPOINT_URL=` leaves the variable set, and some of the SDK's service packages only
// check whether it exists (service/cloudwatchlogs, endpoints.go, resolveBaseEndpoint). It
// also unsets a region of "auto", which the SDK would take for a region's name.
//
// It trims white space. A key or token that was copied from a file with its newline makes
// every request fail with "invalid header field value". No AWS_* variable has a value
// that needs white space at either end.
//
// The same holds for the proxies, which the SDK's transport reads from the environment
// (net/http, ProxyFromEnvironment).
func cleanEnvironment(log *slog.Logger) {
	var trimmed []string
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "AWS_") && !slices.Contains(proxies, name) {
			continue
		}
		v := strings.TrimSpace(value)
		region := name == "AWS_REGION" || name == "AWS_DEFAULT_REGION"
		switch {
		case v == "" || region && isAuto(v):
			os.Unsetenv(name) // fails only for malformed names
		case v != value:
			os.Setenv(name, v) // fails only for malformed names
			trimmed = append(trimmed, name)
		}
	}
	if trimmed != nil {
		log.Warn("ignoring the white space around the value of a setting", "settings", strings.Join(trimmed, " "))
	}
}

func isAuto(region string) bool { return region == "" || strings.EqualFold(region, auto) }

// Region returns the region of containers that name none: ROUTE's, or else AutoRegion.
func (e *Env) Region(ctx context.Context) (string, error) {
	if e.route != "" {
		return e.route, nil
	}
	return e.lookUpRegion(ctx, "set AWS_REGION, or name one in ROUTE (cloudwatch://REGION) or in the log option region")
}

// AutoRegion returns the region that "auto" means, whatever ROUTE says. It is the region
// of AWS_REGION, AWS_DEFAULT_REGION or the shared configuration file as the SDK reads
// them, or else EC2's.
//
// AutoRegion may wait about a second for the metadata service, but not longer than ctx
// allows. Once the region is known, it does not change and is returned at once. After a
// failure, the error is returned at once until the next look-up is due, at most 15
// seconds later. Callers that need a region can simply ask again.
func (e *Env) AutoRegion(ctx context.Context) (string, error) {
	return e.lookUpRegion(ctx, "set AWS_REGION, or name one in the log option region")
}

func (e *Env) lookUpRegion(ctx context.Context, advice string) (string, error) {
	region, err := e.region.get(ctx)
	if err != nil {
		return "", fmt.Errorf("no AWS region: %s: %w", advice, err)
	}
	return region, nil
}

// findRegion tries once to find the region. It reads the shared configuration again each time,
// because somebody may have fixed its file.
func (e *Env) findRegion(ctx context.Context) (string, error) {
	cfg, err := e.load(ctx, withoutCredentials)
	if err != nil {
		return "", err
	}
	if !isAuto(cfg.Region) {
		if !isRegion(cfg.Region) {
			return "", fmt.Errorf("%q is not a region's name", cfg.Region)
		}
		e.regionFrom.Store(configuredBy())
		return cfg.Region, nil
	}
	if err := e.mayAskEC2(); err != nil {
		return "", err
	}
	region, err := e.metadata.region(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("the EC2 metadata service returned no region (set NOEC2 if this is not EC2): %w", err)
	}
	if !isRegion(region) {
		return "", fmt.Errorf("the EC2 metadata service (set NOEC2 if this is not EC2) answered %s, which is not a region's name",
			oneline.Quote(region, maxAnswer))
	}
	from := "EC2 metadata"
	e.regionFrom.Store(&from)
	return region, nil
}

// configuredBy returns where the SDK's configuration has its region from (config,
// resolve.go, resolveRegion).
func configuredBy() *string {
	from := "shared configuration file"
	for _, name := range []string{"AWS_DEFAULT_REGION", "AWS_REGION"} {
		if os.Getenv(name) != "" {
			from = name
		}
	}
	return &from
}

// RegionFrom returns where the region that Region returned comes from: a setting, "shared
// configuration file" or "EC2 metadata". It is empty while the region is not known.
func (e *Env) RegionFrom() string {
	if e.route != "" {
		return e.routeFrom
	}
	return e.AutoRegionFrom()
}

// AutoRegionFrom is RegionFrom for the region that AutoRegion returned.
func (e *Env) AutoRegionFrom() string {
	if from := e.regionFrom.Load(); from != nil {
		return *from
	}
	return ""
}

var (
	errNoEC2    = errors.New("NOEC2 is set, so the EC2 metadata service is not queried")
	errDisabled = errors.New("AWS_EC2_METADATA_DISABLED is set, so the EC2 metadata service is not queried")
)

// mayAskEC2 returns why the metadata service must not be asked, or nil.
func (e *Env) mayAskEC2() error {
	switch {
	case e.noEC2:
		return errNoEC2
	case strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		return errDisabled
	default:
		return nil
	}
}

// metadataState returns whether the SDK may ask the metadata service: never, or by its
// own rules.
func (e *Env) metadataState() imds.ClientEnableState {
	if e.noEC2 {
		return imds.ClientDisabled
	}
	return imds.ClientDefaultEnableState
}
