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

	"github.com/logspool/logspool/internal/target"
)

// containerEndpoint returns the URL of a path on the container credentials endpoint. The
// endpoint is the host of AWS_CONTAINER_CREDENTIALS_FULL_URI, or else the ECS agent.
func containerEndpoint(path string) (string, error) {
	base := "http://" + target.CredentialsHost
	if full := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"); full != "" {
		u, err := url.Parse(full)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI is not an http or https URL, so the log option credentials-endpoint has no host")
		}
		if u.Scheme == "http" && !allowsHTTP(u.Hostname()) {
			return "", fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI names the host %q over http; without TLS, keys may come only from the loopback, ECS and EKS addresses", u.Hostname())
		}
		base = u.Scheme + "://" + u.Host
	}
	// A path without a slash at the beginning could change the host:
	// 169.254.170.2@example.com.
	u, err := url.Parse(base + path)
	if !strings.HasPrefix(path, "/") || err != nil {
		return "", fmt.Errorf("log option credentials-endpoint (its value is not shown) is not a path on %s: use one that begins with /, such as /v2/credentials/ID", base)
	}
	return u.String(), nil
}

// allowsHTTP reports whether keys may be fetched from a host over http. The rule is the SDK's
// (config, resolve_credentials.go, isAllowedHost), except that the SDK also looks up names.
func allowsHTTP(host string) bool {
	switch host {
	case "localhost", target.CredentialsHost, "169.254.170.23", "fd00:ec2::23":
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// endpointKeys fetches keys from a URL of the container credentials endpoint.
type endpointKeys struct{ *endpointcreds.Provider }

func (c containerClient) keys(url string) endpointKeys {
	return endpointKeys{endpointcreds.New(url, func(o *endpointcreds.Options) {
		c.configure(o)
		o.Retryer = newRetryer()
	})}
}

// configure makes a provider use c, and the same token as the SDK (config,
// resolve_credentials.go, resolveHTTPCredProvider). It trims the token, because the SDK
// refuses the newline at the end of the file.
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
		return creds, explain(fmt.Errorf("the container credentials endpoint returned no credentials: %w", err))
	}
	return creds, nil
}

// newRetryer returns the SDK's retries for one search. Each has its own token bucket. A
// shared one would be emptied by a source that fails for a long time.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 3
		o.MaxBackoff = 500 * time.Millisecond
	})
}

// A containerClient sends requests to the container credentials endpoint. Only
// newContainerClient and Env.containerClient make one.
type containerClient struct{ *http.Client }

// The agent may take longer than the metadata service, because it sometimes fetches the keys
// itself.
const (
	containerDialTimeout   = time.Second
	containerHeaderTimeout = 5 * time.Second
)

func newContainerClient() containerClient {
	return containerClient{newLocalClient(containerDialTimeout, containerHeaderTimeout)}
}

// containerClient returns the client for the container credentials endpoint at url. For
// https, it uses the proxies and certificates of cfg, including those of AWS_CA_BUNDLE.
// The client of the SDK's provider uses neither (credentials/endpointcreds,
// internal/client).
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
	tr.DisableKeepAlives = true // there are only a few requests a day
	return containerClient{&http.Client{Transport: tr, CheckRedirect: e.containers.CheckRedirect}}
}

// maxKeys is how much of a response is read, in bytes.
const maxKeys = 64 << 10

// Do sends a request and reads the response. If the response is neither keys nor an error
// of the agent, it returns an error with the status. Its errors do not contain the URL's
// path, because anyone who knows it can fetch the keys.
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

// chainEndpoint returns the URL of the container credentials endpoint in the SDK's chain. The
// relative URI takes precedence (config, resolve_credentials.go, resolveCredentialChain).
func chainEndpoint() string {
	if path := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		return "http://" + target.CredentialsHost + path
	}
	return os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
}
