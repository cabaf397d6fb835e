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

// Config returns what a service's client is made from: the SDK's whole configuration, with a's
// credentials, which are looked for when the first request is signed. It asks nobody over the
// network, reads the shared files and the CA bundle, and fails when one of them is malformed,
// AWS_PROFILE names a profile that is not there, or a asks for what cannot be; a later call then reads
// them again. Its Region is a's; where that is empty it is the one that is known without asking EC2,
// if any, so a client must be given its own.
//
// The credentials are cached, shared by all who ask with the same source of keys, and fetched anew in
// good time before they expire. Their Invalidate method makes the next request fetch them anew at once.
// One search for them takes 15 seconds at most, and holds up nobody who uses other ones.
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

// plainConfig returns the SDK's configuration without credentials. It is read once.
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

// withoutCredentials keeps the SDK from working out the credentials while it loads: looking at
// AWS_CONTAINER_CREDENTIALS_FULL_URI it would look up a host's name.
var withoutCredentials = config.WithCredentialsProvider(aws.AnonymousCredentials{})

// routesRegion makes ROUTE's region take the place of the one that the SDK finds.
func (e *Env) routesRegion() func(*config.LoadOptions) error { return config.WithRegion(e.route) }

// load reads the SDK's configuration.
func (e *Env) load(ctx context.Context, opts ...func(*config.LoadOptions) error) (aws.Config, error) {
	all := []func(*config.LoadOptions) error{
		config.WithLogger(sdkLogger(e.log)),
		config.WithEC2IMDSClientEnableState(e.metadataState()),
		// The mode is about retries and time-outs, which the uploader has its own of. "auto", from
		// AWS_DEFAULTS_MODE or a profile, would ask the metadata service here.
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

// reportLookups makes a client report the outcome of its DNS look-ups.
func reportLookups(resolved func(error)) func(*middleware.Stack) error {
	trace := &httptrace.ClientTrace{DNSDone: func(done httptrace.DNSDoneInfo) { resolved(done.Err) }}
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ReportLookups",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(httptrace.WithClientTrace(ctx, trace), in)
			}), middleware.Before)
	}
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
