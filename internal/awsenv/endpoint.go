package awsenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
)

// ecsEndpoint is where the ECS agent answers (config, resolve_credentials.go, ecsContainerEndpoint, and moby's
// awslogs, defaultCredentialsEndpoint).
const ecsEndpoint = "http://169.254.170.2"

// containerEndpoint returns the URL of a path on the container credentials endpoint: the ECS agent's, or, where
// AWS_CONTAINER_CREDENTIALS_FULL_URI is set, the host that it names.
func containerEndpoint(path string) (string, error) {
	base := ecsEndpoint
	if full := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"); full != "" {
		u, err := url.Parse(full)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL of a host; a log option credentials-endpoint is a path on it")
		}
		if u.Scheme == "http" && !mayGoPlain(u.Hostname()) {
			return "", fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI names the host %q over http; only loopback, ECS's and EKS's addresses may be asked for keys without TLS", u.Hostname())
		}
		base = u.Scheme + "://" + u.Host
	}
	// A path that does not begin with a slash could make the host another one: 169.254.170.2@example.com.
	u, err := url.Parse(base + path)
	if !strings.HasPrefix(path, "/") || err != nil {
		return "", fmt.Errorf("log option credentials-endpoint (its value is not shown) is not a path on %s: use one that begins with /, such as /v2/credentials/ID", base)
	}
	return u.String(), nil
}

// mayGoPlain holds the SDK's rule for hosts that are asked for keys over http (config, resolve_credentials.go,
// isAllowedHost), but for its looking up of names.
func mayGoPlain(host string) bool {
	switch host {
	case "localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23":
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// endpointKeys gets keys from a URL of the container credentials endpoint.
type endpointKeys struct{ *endpointcreds.Provider }

func (c containerClient) keys(url string) endpointKeys {
	return endpointKeys{endpointcreds.New(url, func(o *endpointcreds.Options) {
		c.configure(o)
		o.Retryer = tries()
	})}
}

// configure makes a provider ask through c, and show the token that the SDK shows (config, resolve_credentials.go,
// resolveHTTPCredProvider). The SDK refuses the newline at the end of a token's file.
func (c containerClient) configure(o *endpointcreds.Options) {
	o.HTTPClient = c
	o.AuthorizationToken = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
			b, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("couldn't read the authorization token: %w", err)
			}
			return strings.TrimSpace(string(b)), nil
		})
	}
}

// Retrieve implements aws.CredentialsProvider.
func (k endpointKeys) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := k.Provider.Retrieve(ctx)
	if err != nil {
		return creds, explain(fmt.Errorf("the container credentials endpoint gave no keys: %w", err))
	}
	return creds, nil
}

// tries bounds what the SDK tries for one search. It shares no bucket of tokens: one who fails for long would
// leave none to the others.
func tries() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 3
		o.MaxBackoff = 500 * time.Millisecond
	})
}

// A containerClient asks the container credentials endpoint. It must be made by newContainerClient.
type containerClient struct{ *http.Client }

// The agent has to ask for the keys itself now and then, so it may take longer than the metadata service.
const (
	containerDialTimeout   = time.Second
	containerHeaderTimeout = 5 * time.Second
)

func newContainerClient() containerClient {
	return containerClient{newLocalClient(containerDialTimeout, containerHeaderTimeout)}
}

// containerClient returns the client for the container credentials endpoint at url. Over https that is one with the
// proxies and certificates of cfg, AWS_CA_BUNDLE's among them: the SDK's provider has a client of its own that knows
// neither (credentials/endpointcreds, internal/client).
func (e *Env) containerClient(cfg aws.Config, url string) containerClient {
	if !strings.HasPrefix(url, "https:") {
		return e.containers
	}
	configured, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		configured = awshttp.NewBuildableClient()
	}
	tr := configured.GetTransport()
	tr.ResponseHeaderTimeout = containerHeaderTimeout
	tr.DisableKeepAlives = true // it is asked a few times a day
	return containerClient{&http.Client{Transport: tr, CheckRedirect: e.containers.CheckRedirect}}
}

// maxKeys is how much of an answer is read, in bytes.
const maxKeys = 64 << 10

// Do reads the answer, and says what it was where it can be neither keys nor the agent's own error. It takes the URL
// out of errors: whoever knows the path of a task's keys can fetch them.
func (c containerClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.Client.Do(r)
	if e, ok := err.(*url.Error); ok {
		return nil, fmt.Errorf("%s: %w", r.URL.Host, e.Err)
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL.Host, err)
	}
	if resp.StatusCode >= 300 && !json.Valid(body) {
		return nil, fmt.Errorf("%s answered %s", r.URL.Host, resp.Status)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// chainEndpoint returns the URL of the container credentials endpoint that the SDK's chain asks. It looks at the path
// first (config, resolve_credentials.go, resolveCredentialChain).
func chainEndpoint() string {
	if path := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		return ecsEndpoint + path
	}
	return os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
}
