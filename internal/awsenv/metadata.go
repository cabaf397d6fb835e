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

// The metadata service is one hop away on the link: it answers at once, or it is not there.
// (The SDK's own values for it, feature/ec2/imds, api_client.go, are 250 and 500 ms.)
const (
	metadataDialTimeout   = 250 * time.Millisecond
	metadataHeaderTimeout = tryTimeout
)

// metadataService asks EC2's instance metadata service. It must be made by newMetadataService.
type metadataService struct{ http *http.Client }

func newMetadataService() metadataService {
	return metadataService{newLocalClient(metadataDialTimeout, metadataHeaderTimeout)}
}

// newLocalClient returns a client for a host on the link, or this one, that knows keys.
func newLocalClient(dial, header time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			// No proxy, whatever HTTP_PROXY says: what is behind a proxy is another machine's
			// metadata and another machine's credentials.
			Proxy:                 nil,
			DialContext:           (&net.Dialer{Timeout: dial}).DialContext,
			TLSHandshakeTimeout:   dial,
			ResponseHeaderTimeout: header,
			// It is asked a few times a day, so there is no connection to keep.
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// client returns a client for the endpoint that the configuration names. Each has its own token. It speaks IMDSv2
// alone: the SDK's would ask without a token where a token is refused, and get keys for whoever can make it ask.
func (m metadataService) client(cfg aws.Config, opts ...func(*imds.Options)) *imds.Client {
	opts = append([]func(*imds.Options){func(o *imds.Options) {
		o.HTTPClient = m.http
		o.EnableFallback = aws.FalseTernary
	}}, opts...)
	return imds.NewFromConfig(cfg, opts...)
}

// once makes a client try once: the caller has its own way to try again.
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
