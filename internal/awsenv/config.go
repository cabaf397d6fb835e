package awsenv

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// Config returns what a service's client is made from: the SDK's whole configuration, with
// credentials that are looked for when the first request is signed. It asks nobody over the
// network, reads the shared files and the CA bundle, and fails when one of them is malformed or
// AWS_PROFILE names a profile that is not there; a later call then reads them again. Its Region is empty
// where it is not known without asking EC2, so a client must be given its own.
func (e *Env) Config(ctx context.Context) (aws.Config, error) {
	if cfg := e.config.Load(); cfg != nil {
		return cfg.Copy(), nil
	}
	cfg, err := e.load(ctx, config.WithCredentialsProvider(e.creds))
	if err != nil {
		return aws.Config{}, err
	}
	e.config.CompareAndSwap(nil, &cfg)
	return cfg.Copy(), nil
}

// withoutCredentials keeps the SDK from working out the credentials while it loads: looking at
// AWS_CONTAINER_CREDENTIALS_FULL_URI it would look up a host's name.
var withoutCredentials = config.WithCredentialsProvider(aws.AnonymousCredentials{})

// load reads the SDK's configuration. ROUTE's region takes the place of the one found there.
func (e *Env) load(ctx context.Context, opts ...func(*config.LoadOptions) error) (aws.Config, error) {
	all := []func(*config.LoadOptions) error{
		config.WithLogger(sdkLogger(e.log)),
		config.WithEC2IMDSClientEnableState(e.metadataState()),
		// The mode is about retries and time-outs, which the uploader has its own of. "auto", from
		// AWS_DEFAULTS_MODE or a profile, would ask the metadata service here.
		config.WithDefaultsMode(aws.DefaultsModeStandard),
	}
	if e.route != "" {
		all = append(all, config.WithRegion(e.route))
	}
	cfg, err := config.LoadDefaultConfig(ctx, append(all, opts...)...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("couldn't read the AWS configuration: %w", err)
	}
	return cfg, nil
}

// sdkLogger hands the SDK's warnings to log. The SDK's own logger writes to stderr.
func sdkLogger(log *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(c logging.Classification, format string, v ...any) {
		level := slog.LevelDebug
		if c == logging.Warn {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "AWS SDK: "+fmt.Sprintf(format, v...))
	})
}

// Files returns the files that the SDK may read for its configuration and credentials, whether
// they exist or not.
func Files() []string {
	credentials := envOr("AWS_SHARED_CREDENTIALS_FILE", config.DefaultSharedCredentialsFiles)
	files := append(credentials, envOr("AWS_CONFIG_FILE", config.DefaultSharedConfigFiles)...)
	for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CA_BUNDLE"} {
		if v := os.Getenv(name); v != "" {
			files = append(files, v)
		}
	}
	for _, name := range config.DefaultSharedConfigFiles {
		// Glob fails on a malformed pattern only. A directory that cannot be listed gives nothing.
		tokens, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "sso", "cache", "*.json"))
		files = append(files, tokens...)
	}
	return files
}

func envOr(name string, otherwise []string) []string {
	if v := os.Getenv(name); v != "" {
		return []string{v}
	}
	return slices.Clone(otherwise)
}
