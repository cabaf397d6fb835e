package awsenv

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
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
		return "", fmt.Errorf("credentials-endpoint is %q; it must be a path on %s, such as /v2/credentials/ID", path, base)
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

func newEndpointKeys(url string) endpointKeys {
	return endpointKeys{endpointcreds.New(url, func(o *endpointcreds.Options) {
		o.HTTPClient = endpointHTTP
		o.Retryer = tries()
		// The same as the SDK sends (config, resolve_credentials.go, resolveHTTPCredProvider).
		o.AuthorizationToken = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				b, err := os.ReadFile(file)
				if err != nil {
					return "", fmt.Errorf("couldn't read the authorization token: %w", err)
				}
				return string(b), nil
			})
		}
	})}
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
		o.MaxBackoff = 2 * time.Second
	})
}

// endpointHTTP is for hosts on the link, or on this host. No proxy, and no redirects, as for the metadata service:
// the keys must not go elsewhere.
var endpointHTTP = pathless{&http.Client{
	Transport: &http.Transport{
		Proxy:                 nil,
		DialContext:           (&net.Dialer{Timeout: tryTimeout}).DialContext,
		TLSHandshakeTimeout:   tryTimeout,
		ResponseHeaderTimeout: 5 * time.Second,
		DisableKeepAlives:     true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}}

// pathless takes the URL out of errors: whoever knows the path of a task's keys on its host can fetch them.
type pathless struct{ *http.Client }

func (c pathless) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.Client.Do(r)
	if e, ok := err.(*url.Error); ok {
		err = fmt.Errorf("%s: %w", r.URL.Host, e.Err)
	}
	return resp, err
}
