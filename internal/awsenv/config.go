package awsenv

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/logspool/logspool/internal/target"
)

// Config returns the SDK's configuration for the client of a service. Its credentials are
// a's, and are fetched when the first request is signed.
//
// Config uses no network. It reads the shared files and the CA bundle, and fails if one
// of them is malformed, if AWS_PROFILE names a missing profile, or if a is invalid. The
// next call then reads them again. The configuration's Region is a's. If that is empty,
// it is the region that is known without asking EC2, if any, so a client must set its
// own.
//
// The credentials are cached, shared by all callers with the same source of keys, and renewed
// before they expire. Their Invalidate method makes the next request fetch new ones at once.
// One fetch takes at most 15 seconds, and does not delay requests with other credentials.
func (e *Env) Config(ctx context.Context, a target.Access) (aws.Config, error) {
	plain, err := e.plainConfig(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	creds, err := e.credentials(plain, a)
	if err != nil {
		return aws.Config{}, err
	}
	cfg := plain.Copy()
	cfg.Credentials = creds
	if a.Region != "" {
		cfg.Region = a.Region
	}
	return cfg, nil
}

// plainConfig returns the SDK's configuration without credentials. After the first
// success, it does not read the configuration again.
func (e *Env) plainConfig(ctx context.Context) (aws.Config, error) {
	if cfg := e.config.Load(); cfg != nil {
		return *cfg, nil
	}
	cfg, err := e.load(ctx, e.routesRegion(), withoutCredentials)
	if err != nil {
		return aws.Config{}, err
	}
	e.config.CompareAndSwap(nil, &cfg)
	return cfg, nil
}

// withoutCredentials keeps the SDK from resolving credentials while it loads its
// configuration. With AWS_CONTAINER_CREDENTIALS_FULL_URI, that would look up the name of a
// host.
var withoutCredentials = config.WithCredentialsProvider(aws.AnonymousCredentials{})

// routesRegion makes ROUTE's region replace the one that the SDK finds.
func (e *Env) routesRegion() func(*config.LoadOptions) error { return config.WithRegion(e.route) }

// load reads the SDK's configuration.
func (e *Env) load(ctx context.Context, opts ...func(*config.LoadOptions) error) (aws.Config, error) {
	all := []func(*config.LoadOptions) error{
		config.WithLogger(sdkLogger(e.log)),
		config.WithEC2IMDSClientEnableState(e.metadataState()),
		// The mode sets retries and time-outs, and the uploader has its own. The mode
		// "auto", from AWS_DEFAULTS_MODE or a profile, would ask the metadata service
		// here.
		config.WithDefaultsMode(aws.DefaultsModeStandard),
	}
	if e.resolved != nil {
		all = append(all, config.WithAPIOptions([]func(*middleware.Stack) error{reportLookups(e.resolved)}))
	}
	cfg, err := config.LoadDefaultConfig(ctx, append(all, opts...)...)
	if err != nil {
		return aws.Config{}, oneLine(fmt.Errorf("couldn't read the AWS configuration: %w", err))
	}
	return cfg, nil
}

// sdkLogger passes the SDK's warnings to log. The SDK's own logger writes to stderr.
func sdkLogger(log *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(c logging.Classification, format string, v ...any) {
		level := slog.LevelDebug
		if c == logging.Warn {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "AWS SDK: "+fmt.Sprintf(format, v...))
	})
}

// reportLookups makes a client report the results of its DNS look-ups.
func reportLookups(resolved func(error)) func(*middleware.Stack) error {
	trace := &httptrace.ClientTrace{DNSDone: func(done httptrace.DNSDoneInfo) { resolved(done.Err) }}
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ReportLookups",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
				middleware.InitializeOutput, middleware.Metadata, error,
			) {
				return next.HandleInitialize(httptrace.WithClientTrace(ctx, trace), in)
			}), middleware.Before)
	}
}

// Files returns the files that the SDK may read for its configuration and credentials.
// Some of them may not exist.
func Files() []string {
	credentials := envOr("AWS_SHARED_CREDENTIALS_FILE", config.DefaultSharedCredentialsFiles)
	files := append(credentials, envOr("AWS_CONFIG_FILE", config.DefaultSharedConfigFiles)...)
	for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CA_BUNDLE"} {
		if v := os.Getenv(name); v != "" {
			files = append(files, v)
		}
	}
	for _, name := range config.DefaultSharedConfigFiles {
		// Glob fails only for a malformed pattern. For a directory that cannot be listed it
		// returns nothing.
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
