// Package awsenv finds out where the plugin runs in AWS's eyes: the region that "auto" stands for,
// the EC2 instance's ID, and the credentials, by the AWS SDK's own rules and through IMDSv2.
//
// Every look-up is bounded, is made only when somebody asks, and runs on the caller's goroutine:
// a plugin that is off EC2, or whose metadata service hangs, starts and attaches containers all the
// same. The package must not know log groups, batches, containers or dockerd.
//
// The SDK reads the process's environment and offers no way to give it another one, so this package
// reads os.Getenv too.
package awsenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/logspool/logspool/internal/faultlog"
)

// Auto is the region that is no region but asks for one to be found.
const Auto = "auto"

// How long a failed look-up rests before the next caller tries again, from the first failure to the
// tenth and later. A host's metadata service may come up after the plugin, and what waits for the
// region or the instance ID must go out within half a minute of it.
const (
	lookupRestMin = time.Second
	lookupRestMax = 15 * time.Second
)

const (
	// instanceWait is how long names wait for the instance ID, from the first request for it. On EC2 the metadata
	// service answers as soon as the network is up, which a busy boot can delay by a minute. A host that is not
	// EC2, and where NOEC2 is not set, pays the whole wait once after each start of the plugin; lines are spooled
	// meanwhile.
	instanceWait = 2 * time.Minute

	// instancePoll is how often a caller that waits asks again.
	instancePoll = time.Second
)

// Options says what the plugin's settings say about AWS.
type Options struct {
	// Region is the region of ROUTE. Empty or "auto": it is looked up.
	Region string
	// NoEC2 is the setting NOEC2: the EC2 metadata service is never asked, neither for the region
	// and the instance ID nor for the credentials of an instance's role.
	NoEC2 bool
	// CacheDir is a directory where the tokens of IAM Identity Center are kept that the SDK has renewed:
	// the directory they come from is mounted read-only. It is made when it is needed. Empty: they are not kept.
	CacheDir string
	// Resolved, if not nil, is called with the outcome of each DNS look-up that a request to AWS makes; nil
	// means success. It must not wait for the network.
	Resolved func(err error)
	// Log gets the failures of look-ups while they last, and the SDK's warnings. Nil: nothing is logged.
	Log *slog.Logger
}

// Env is what AWS can be told apart by from inside this process. Its methods may be called by any
// number of goroutines at once; it has none of its own.
type Env struct {
	log        *slog.Logger
	route      string // region of ROUTE; empty: look it up
	noEC2      bool
	metadata   metadataService
	containers containerClient
	cacheDir   string
	resolved   func(error)
	region     *lookup
	instance   *lookup
	creds      aws.CredentialsProvider    // of the default chain
	providers  providers                  // of everything else
	config     atomic.Pointer[aws.Config] // set by the first Config that succeeds
	noID       *faultlog.Fault
	noToken    *faultlog.Fault
	idWait     func() time.Time // when the wait for the instance ID ends; the first call begins it
	idGivenUp  sync.Once        // logs that it has ended
}

// New returns an Env and asks nobody anything. It takes out of the process's environment every AWS_*
// variable with an empty value and an AWS_REGION or AWS_DEFAULT_REGION of "auto", so it must be called
// before anything else that uses the SDK.
func New(o Options) *Env {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cleanEnvironment(log)
	e := &Env{log: log, noEC2: o.NoEC2, cacheDir: o.CacheDir, resolved: o.Resolved}
	if !isAuto(o.Region) {
		e.route = o.Region
	}
	e.metadata = newMetadataService()
	e.containers = newContainerClient()
	e.region = newLookup(e.findRegion, lookupRestMin, lookupRestMax)
	e.instance = newLookup(e.findInstanceID, lookupRestMin, lookupRestMax)
	e.creds = newChainCache(e)
	e.noID = faultlog.NewFault(log, "EC2 instance ID not known yet; logs of containers whose names use .InstanceID are spooled",
		"EC2 instance ID found", nil)
	e.noToken = faultlog.NewFault(log, "an IAM Identity Center token cannot be copied; it is not renewed when it expires",
		"IAM Identity Center token copied", nil)
	e.idWait = sync.OnceValue(func() time.Time { return time.Now().Add(instanceWait) })
	return e
}

// proxies are settings that net/http reads.
var proxies = []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}

// cleanEnvironment removes from the process's environment what the SDK would misread.
//
// It unsets variables that mean nothing. `docker plugin set logspool AWS_ENDPOINT_URL=` leaves the variable there with
// an empty value, and some of the SDK's service packages look only at whether it is there (service/cloudwatchlogs,
// endpoints.go, resolveBaseEndpoint). "auto" is this plugin's word, which the SDK would take for a region's name.
//
// It trims white space. A key or token with the newline of the file that it was copied from makes every request fail
// with "invalid header field value", and no AWS_* variable has a meaning that begins or ends with white space.
//
// It is the same with the proxies, which the SDK's transport takes from the environment (net/http, ProxyFromEnvironment).
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
			os.Unsetenv(name) // fails on malformed names only
		case v != value:
			os.Setenv(name, v) // the same
			trimmed = append(trimmed, name)
		}
	}
	if trimmed != nil {
		log.Warn("white space around the value of a setting is ignored", "settings", strings.Join(trimmed, " "))
	}
}

func isAuto(region string) bool { return region == "" || strings.EqualFold(region, Auto) }

// Region returns the region of those who name none: ROUTE's, else AutoRegion.
func (e *Env) Region(ctx context.Context) (string, error) {
	if e.route != "" {
		return e.route, nil
	}
	return e.lookUpRegion(ctx, "set AWS_REGION, or name one in ROUTE (cloudwatch://REGION) or in the log option region")
}

// AutoRegion returns the region that "auto" stands for, whatever ROUTE says: AWS_REGION,
// AWS_DEFAULT_REGION and the shared configuration file's as the SDK reads them, else EC2's. It may wait
// for the metadata service, for a second or so at most and never longer than ctx; once found, the region
// stays and is returned at once. After a failure the error is returned at once until the next look-up is
// due, at most 15 seconds later, so callers that need a region may just ask again.
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

// findRegion makes one try at the region. The shared configuration is read anew each time: its file
// may have been mended since.
func (e *Env) findRegion(ctx context.Context) (string, error) {
	cfg, err := e.load(ctx, withoutCredentials)
	if err != nil {
		return "", err
	}
	if !isAuto(cfg.Region) {
		if !isRegion(cfg.Region) {
			return "", fmt.Errorf("%q is not a region's name", cfg.Region)
		}
		return cfg.Region, nil
	}
	if err := e.mayAskEC2(); err != nil {
		return "", err
	}
	region, err := e.metadata.region(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("EC2's metadata service did not tell (set NOEC2 if this is not EC2): %w", err)
	}
	if !isRegion(region) {
		return "", fmt.Errorf("EC2's metadata service (set NOEC2 if this is not EC2) answered %.40q, which is not a region's name", region)
	}
	return region, nil
}

// InstanceID returns the ID of the EC2 instance that the plugin runs on. It blocks until the ID is known, so that a name
// which has it in it is not settled without it. It returns nothing when there is none: at once where NOEC2 or
// AWS_EC2_METADATA_DISABLED is set, and otherwise when the metadata service has not given one within instanceWait of the
// first call. The error is ctx's.
func (e *Env) InstanceID(ctx context.Context) (string, error) {
	if e.mayAskEC2() != nil {
		return "", nil
	}
	deadline := e.idWait()
	for {
		id, err := e.instance.get(ctx)
		if err == nil {
			e.noID.Succeeded("instance", id)
			return id, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if !time.Now().Before(deadline) {
			e.idGivenUp.Do(func() {
				e.log.Warn("no EC2 instance ID found; .InstanceID is empty in the names of log groups and streams", "err", err,
					"hint", "set NOEC2=1 if this host is not EC2; if it is, enable the instance's metadata service and restart the plugin")
			})
			return "", nil
		}
		e.noID.Failed("waiting", "err", err, "hint", "set NOEC2=1 if this host is not EC2", "until", deadline.UTC().Format(time.RFC3339))
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(instancePoll):
		}
	}
}

func (e *Env) findInstanceID(ctx context.Context) (string, error) {
	cfg, err := e.load(ctx, withoutCredentials)
	if err != nil {
		return "", err
	}
	id, err := e.metadata.instanceID(ctx, cfg)
	if err != nil {
		return "", err
	}
	if !isInstanceID(id) {
		return "", fmt.Errorf("the metadata service answered %.40q, which is not an instance ID", id)
	}
	return id, nil
}

var (
	errNoEC2    = errors.New("NOEC2 is set, so EC2's metadata service is not asked")
	errDisabled = errors.New("AWS_EC2_METADATA_DISABLED is set, so EC2's metadata service is not asked")
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

// metadataState is what the SDK is told about the metadata service: off, or by its own rules.
func (e *Env) metadataState() imds.ClientEnableState {
	if e.noEC2 {
		return imds.ClientDisabled
	}
	return imds.ClientDefaultEnableState
}

// isRegion reports whether s can be a region's name. It becomes a label of the service's host name.
func isRegion(s string) bool {
	return onlyHas(s, "abcdefghijklmnopqrstuvwxyz0123456789-") && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-")
}

// isInstanceID reports whether s can be an instance ID and not, say, the page of a captive portal.
func isInstanceID(s string) bool {
	return onlyHas(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
}

// onlyHas reports whether s is 1 to 63 characters, all of them out of set.
func onlyHas(s, set string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, set) == ""
}
