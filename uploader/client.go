package uploader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/logspool/logspool/internal/target"
)

// ConfigFunc loads the AWS configuration of one access, with its credentials. The uploader
// sets the region and the endpoint itself.
type ConfigFunc func(ctx context.Context, a target.Access) (Config, error)

// Config is the SDK's configuration. Packages that only pass it on need not import the SDK.
type Config = aws.Config

// connectTimeout bounds making a connection. The TLS handshake may take as long again.
const connectTimeout = 5 * time.Second

// sdk makes clients of the AWS SDK. Clients of one region and endpoint share one HTTP
// transport. If an endpoint does not answer, its idle connections are closed, and those to
// other endpoints stay.
type sdk struct {
	config  ConfigFunc
	version string
	// headerTimeout bounds the wait for an answer after the request is written.
	headerTimeout time.Duration

	mu   sync.Mutex
	http map[httpKey]limitedClient
}

type httpKey struct{ region, endpoint string }

func newSDK(config ConfigFunc, version string) *sdk {
	return &sdk{config: config, version: version, headerTimeout: headerTimeout, http: map[httpKey]limitedClient{}}
}

// connect makes a client.
func (s *sdk) connect(ctx context.Context, a target.Access) (client, error) {
	cfg, err := s.config(ctx, a) // without the lock, because it may block
	if err != nil {
		return nil, &configurationError{err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := httpKey{a.Region, a.Endpoint}
	hc, ok := s.http[key]
	if !ok { // all configurations of the process have the same proxies and certificates
		hc = limitedClient{newHTTPClient(cfg.HTTPClient, s.headerTimeout), &clock{}}
		s.http[key] = hc
	}
	provider := cfg.Credentials
	cfg = cfg.Copy()
	cfg.Region = a.Region
	c := cloudwatchlogs.NewFromConfig(cfg, func(o *cloudwatchlogs.Options) {
		o.HTTPClient = hc
		// The senders try again themselves. The standard retryer's bucket of tokens would
		// be empty after an outage.
		o.Retryer = aws.NopRetryer{}
		o.EndpointResolverV2 = &rememberedEndpoint{EndpointResolverV2: o.EndpointResolverV2}
		if a.Endpoint != "" {
			o.BaseEndpoint = aws.String(a.Endpoint)
		}
		if o.Credentials != nil {
			o.Credentials = markedCredentials{o.Credentials}
		}
		o.APIOptions = append(o.APIOptions, awsmiddleware.AddUserAgentKeyValue("logspool", s.version))
	})
	return &cwl{api: c, http: hc, provider: provider}, nil
}

// invalidate makes the provider of a client's credentials forget the keys that CloudWatch
// refused. ConfigFunc may return the same provider again, which would keep its keys until
// they expire.
func (s *sdk) invalidate(c client) {
	if p, ok := c.(*cwl).provider.(interface{ Invalidate() }); ok {
		p.Invalidate()
	}
}

func (s *sdk) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hc := range s.http {
		hc.CloseIdleConnections()
	}
}

// newHTTPClient returns a client with the proxies and certificates of the configured one,
// tuned for many requests to few hosts. A configured client that is not the SDK's own is
// ignored.
func newHTTPClient(configured aws.HTTPClient, headerTimeout time.Duration) *http.Client {
	c, ok := configured.(*awshttp.BuildableClient)
	if !ok {
		c = awshttp.NewBuildableClient()
	}
	tr := c.WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTimeout }).GetTransport()
	tr.TLSHandshakeTimeout = connectTimeout
	tr.ResponseHeaderTimeout = headerTimeout
	tr.MaxIdleConns = 4 * maxRequests
	tr.MaxIdleConnsPerHost = maxRequests
	// With HTTP/1, a connection that hangs delays one request only.
	tr.ForceAttemptHTTP2 = false
	tr.OnProxyConnectResponse = checkConnect
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(true)
	return &http.Client{
		Transport: tr,
		// CloudWatch does not redirect.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxResponse is how much of an answer is read. CloudWatch's answers are shorter than 1
// KiB, and the SDK has no limit.
const maxResponse = 256 << 10

// limitedClient is an HTTP client that returns at most maxResponse bytes of each answer. Its
// errors name the proxy that failed.
type limitedClient struct {
	*http.Client
	clock *clock
}

func (c limitedClient) Do(r *http.Request) (*http.Response, error) {
	if err := keepTogether(r); err != nil {
		return nil, err
	}
	resp, err := c.Client.Do(r)
	if err != nil {
		return resp, nameProxy(c.Client, r, err)
	}
	c.clock.observe(resp.Header)
	resp.Body = limitedBody{io.LimitReader(resp.Body, maxResponse), resp.Body}
	return resp, nil
}

// smallBody is the length of a body that still fits into the transport's buffer (4 KiB) with the
// headers of its request.
const smallBody = 3 << 10

// keepTogether lets a small request leave in one write. net/http writes the headers on their own
// unless it knows that the body is in memory (net/http/transfer.go, isKnownInMemoryReader), and
// on a connection with little to do, a write costs more than a copy of the body.
func keepTogether(r *http.Request) error {
	if r.ContentLength <= 0 || r.ContentLength > smallBody {
		return nil
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return err
	}
	if err := r.Body.Close(); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// rememberedEndpoint resolves a client's endpoint once. All requests of a client go to the same
// endpoint, and the rules that find it cost as much as the signature of a small request.
type rememberedEndpoint struct {
	cloudwatchlogs.EndpointResolverV2
	found atomic.Pointer[smithyendpoints.Endpoint]
}

// ResolveEndpoint implements cloudwatchlogs.EndpointResolverV2.
func (r *rememberedEndpoint) ResolveEndpoint(ctx context.Context, p cloudwatchlogs.EndpointParameters) (smithyendpoints.Endpoint, error) {
	if e := r.found.Load(); e != nil {
		return *e, nil
	}
	e, err := r.EndpointResolverV2.ResolveEndpoint(ctx, p)
	if err == nil {
		r.found.Store(&e)
	}
	return e, err
}

// markedCredentials marks the errors of a provider, so that they are not classified as
// CloudWatch's.
type markedCredentials struct{ aws.CredentialsProvider }

func (c markedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = &credentialsError{err}
	}
	return v, err
}

// ProviderSources says where the credentials come from, which the SDK puts into the user
// agent.
func (c markedCredentials) ProviderSources() []aws.CredentialSource {
	if p, ok := c.CredentialsProvider.(aws.CredentialProviderSource); ok {
		return p.ProviderSources()
	}
	return nil
}

// cwl is a client for one access that uses the AWS SDK.
type cwl struct {
	api      *cloudwatchlogs.Client
	http     limitedClient
	provider aws.CredentialsProvider
}

func (c *cwl) PutLogEvents(ctx context.Context, r putRequest) (rejected, error) {
	body := &requestBody{b: r.body}
	// The transport may still read the body when the answer has arrived.
	defer body.close()
	out, err := c.api.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{
		LogGroupName:  aws.String(r.group),
		LogStreamName: aws.String(r.stream),
		LogEvents:     []types.InputLogEvent{}, // required; the events are in the body
	}, func(o *cloudwatchlogs.Options) {
		o.Protocol = readyBody{ClientProtocol: o.Protocol, body: body, gzip: r.gzip, emf: r.emf}
		o.APIOptions = append(slices.Clip(o.APIOptions), hashed(r.body))
	})
	if err != nil {
		return rejected{}, c.checkConnection(err)
	}
	var rej rejected
	if info := out.RejectedLogEventsInfo; info != nil {
		rej.tooOldEnd = int(aws.ToInt32(info.TooOldLogEventEndIndex))
		rej.expiredEnd = int(aws.ToInt32(info.ExpiredLogEventEndIndex))
		rej.tooNewStart = int(aws.ToInt32(info.TooNewLogEventStartIndex))
		rej.tooNew = info.TooNewLogEventStartIndex != nil
	}
	if info := out.RejectedEntityInfo; info != nil {
		rej.entity = string(info.ErrorType)
	}
	return rej, nil
}

func (c *cwl) CreateLogGroup(ctx context.Context, group string, n target.NewGroup) error {
	in := &cloudwatchlogs.CreateLogGroupInput{
		LogGroupName: aws.String(group), LogGroupClass: types.LogGroupClass(n.Class), Tags: n.Tags,
	}
	if n.KMSKeyID != "" {
		in.KmsKeyId = aws.String(n.KMSKeyID)
	}
	_, err := c.api.CreateLogGroup(ctx, in)
	return c.checkConnection(err)
}

func (c *cwl) PutRetentionPolicy(ctx context.Context, group string, days int32) error {
	_, err := c.api.PutRetentionPolicy(ctx, &cloudwatchlogs.PutRetentionPolicyInput{
		LogGroupName: aws.String(group), RetentionInDays: aws.Int32(days),
	})
	return c.checkConnection(err)
}

func (c *cwl) CreateLogStream(ctx context.Context, group, stream string) error {
	_, err := c.api.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{
		LogGroupName: aws.String(group), LogStreamName: aws.String(stream),
	})
	return c.checkConnection(err)
}

// ClockAhead implements client.
func (c *cwl) ClockAhead() time.Duration { return time.Duration(c.http.clock.ahead.Load()) }

// serverTime returns the time at which the server answered with the error.
func serverTime(err error) (time.Time, bool) {
	var re *smithyhttp.ResponseError
	if !errors.As(err, &re) || re.Response == nil {
		return time.Time{}, false
	}
	at, err := http.ParseTime(re.Response.Header.Get("Date"))
	return at, err == nil
}

// checkConnection returns err. If there was no answer, it closes the idle connections to
// this endpoint: they are probably dead too, and each would block a later request until its
// deadline.
func (c *cwl) checkConnection(err error) error {
	if err != nil && statusOf(err) == 0 {
		c.http.CloseIdleConnections()
	}
	return err
}

// readyBody is the SDK's protocol with a request body that is finished already. The SDK
// still writes the headers and the signature, and reads the answer.
type readyBody struct {
	smithyhttp.ClientProtocol
	body *requestBody
	gzip bool
	emf  bool
}

// SerializeRequest lets the SDK write an empty request, which sets the headers, and then
// replaces the body.
func (p readyBody) SerializeRequest(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	if err := p.ClientProtocol.SerializeRequest(ctx, op, in, req); err != nil {
		return err
	}
	if p.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if p.emf {
		req.Header.Set("X-Amzn-Logs-Format", "json/emf")
	}
	with, err := req.SetStream(p.body)
	if err != nil {
		return err
	}
	*req = *with
	return nil
}

// hashed gives the SDK the hash of the body for the signature. To compute it, the SDK would copy
// the body through a new buffer of 32 KiB.
func hashed(body []byte) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("BodyHash", func(
			ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
		) (middleware.FinalizeOutput, middleware.Metadata, error) {
			sum := sha256.Sum256(body)
			return next.HandleFinalize(v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:])), in)
		}), middleware.Before)
	}
}

// requestBody reads a body until close. The buffer is reused after that.
type requestBody struct {
	mu sync.Mutex
	b  []byte
	at int64
}

var errBodyClosed = errors.New("the request has ended")

func (r *requestBody) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b == nil {
		return 0, errBodyClosed
	}
	if r.at >= int64(len(r.b)) {
		return 0, io.EOF
	}
	n := copy(p, r.b[r.at:])
	r.at += int64(n)
	return n, nil
}

func (r *requestBody) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += int64(len(r.b))
	}
	if offset < 0 {
		return r.at, errors.New("seek before the beginning of the body")
	}
	r.at = offset
	return offset, nil
}

func (r *requestBody) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b = nil
}
