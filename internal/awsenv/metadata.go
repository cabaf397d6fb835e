package awsenv

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// The metadata service is one hop away on the link. If it exists, it answers at once. The
// SDK's own values are 250 and 500 ms (feature/ec2/imds, api_client.go).
const (
	metadataDialTimeout   = 250 * time.Millisecond
	metadataHeaderTimeout = tryTimeout
)

// metadataService queries the EC2 instance metadata service. Only newMetadataService
// makes one.
type metadataService struct{ http *http.Client }

func newMetadataService() metadataService {
	return metadataService{newLocalClient(metadataDialTimeout, metadataHeaderTimeout)}
}

// newLocalClient returns a client for a service with keys on this host or on the link.
func newLocalClient(dial, header time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			// HTTP_PROXY is ignored: a proxy would return its own machine's metadata and
			// credentials.
			Proxy:                 nil,
			DialContext:           (&net.Dialer{Timeout: dial}).DialContext,
			TLSHandshakeTimeout:   dial,
			ResponseHeaderTimeout: header,
			// There are only a few requests a day.
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// client returns a client for the endpoint in the configuration. Each client has its own
// token. It uses version 2 of the service only. If the service refuses a token, the SDK's
// default client asks without one, and would return keys to an attacker who can make it
// send a request.
func (m metadataService) client(cfg aws.Config, opts ...func(*imds.Options)) *imds.Client {
	opts = append([]func(*imds.Options){func(o *imds.Options) {
		o.HTTPClient = m.http
		o.EnableFallback = aws.FalseTernary
	}}, opts...)
	return imds.NewFromConfig(cfg, opts...)
}

// once makes a client try only once, because the caller tries again itself.
func once(o *imds.Options) { o.Retryer = aws.NopRetryer{} }

func (m metadataService) region(ctx context.Context, cfg aws.Config) (string, error) {
	out, err := m.client(cfg, once).GetRegion(ctx, nil)
	if err != nil {
		return "", err
	}
	return out.Region, nil
}

func (m metadataService) instanceID(ctx context.Context, cfg aws.Config) (string, error) {
	out, err := m.client(cfg, once).GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"})
	if err != nil {
		return "", err
	}
	defer out.Content.Close()
	b, err := io.ReadAll(out.Content)
	if err != nil {
		return "", fmt.Errorf("couldn't read the instance ID: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// maxAnswer is how much of an unexpected answer an error repeats, in bytes.
const maxAnswer = 40

// isInstanceID reports whether s can be an instance ID, and is not, for example, the page of a
// captive portal.
func isInstanceID(s string) bool {
	return onlyHas(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
}

// isRegion reports whether s can be the name of a region. It becomes a label of
// CloudWatch's host name.
func isRegion(s string) bool {
	return onlyHas(s, "abcdefghijklmnopqrstuvwxyz0123456789-") && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-")
}

// onlyHas reports whether s has 1 to 63 characters, all from set.
func onlyHas(s, set string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, set) == ""
}
