package check

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"github.com/logspool/logspool/internal/target"
)

// client returns a client of CloudWatch Logs for the access. It does not try again.
func (r *remote) client() *cloudwatchlogs.Client {
	cfg := r.config.Copy()
	cfg.Region = r.access.Region
	return cloudwatchlogs.NewFromConfig(cfg, func(o *cloudwatchlogs.Options) {
		o.Retryer = aws.NopRetryer{}
		if r.access.Endpoint != "" {
			o.BaseEndpoint = aws.String(r.access.Endpoint)
		}
		o.APIOptions = append(o.APIOptions, awsmiddleware.AddUserAgentKeyValue("logspool-check", r.Version))
	})
}

// endpointURL returns the URL that the SDK sends requests to.
func (r *remote) endpointURL(ctx context.Context) (*url.URL, error) {
	o := r.client().Options()
	e, err := o.EndpointResolverV2.ResolveEndpoint(ctx, cloudwatchlogs.EndpointParameters{
		Region:       aws.String(o.Region),
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		Endpoint:     o.BaseEndpoint,
	})
	if err != nil {
		return nil, err
	}
	if e.URI.Scheme != "http" && e.URI.Scheme != "https" || e.URI.Host == "" {
		return nil, errors.New("the endpoint " + e.URI.Redacted() + " is not an http or https URL")
	}
	return &e.URI, nil
}

// api sends the requests of the probe.
type api struct {
	*cloudwatchlogs.Client
	pause time.Duration
	// throttled counts the answers that throttled a request, and lost says that a request of
	// the last call got no answer.
	throttled int
	lost      bool
	// refused says that a request was throttled until call gave up.
	refused bool
}

// putEvent writes one event. If CloudWatch accepts it without its entity, the error is an
// entityRejected.
func (a *api) putEvent(ctx context.Context, group, stream string, entity target.Entity, at time.Time) error {
	in := &cloudwatchlogs.PutLogEventsInput{
		LogGroupName: aws.String(group), LogStreamName: aws.String(stream),
		LogEvents: []types.InputLogEvent{{Message: aws.String("logspool check"), Timestamp: aws.Int64(at.UnixMilli())}},
	}
	if entity != (target.Entity{}) {
		in.Entity = &types.Entity{KeyAttributes: map[string]string{"Type": "Service"}}
		if entity.Service != "" {
			in.Entity.KeyAttributes["Name"] = entity.Service
		}
		if entity.Environment != "" {
			in.Entity.KeyAttributes["Environment"] = entity.Environment
		}
		if entity.Attributes != "" {
			if err := json.Unmarshal([]byte(entity.Attributes), &in.Entity.Attributes); err != nil {
				return err
			}
		}
	}
	var out *cloudwatchlogs.PutLogEventsOutput
	err := a.call(ctx, func(ctx context.Context) (err error) { out, err = a.PutLogEvents(ctx, in); return err })
	switch {
	case err != nil:
		return err
	case out.RejectedLogEventsInfo != nil:
		return errors.New("CloudWatch rejected the event because of its time")
	case out.RejectedEntityInfo != nil:
		return &entityRejected{string(out.RejectedEntityInfo.ErrorType)}
	}
	return nil
}

// entityRejected says that CloudWatch accepted an event and not its entity.
type entityRejected struct{ reason string }

func (e *entityRejected) Error() string { return "CloudWatch rejected the entity: " + e.reason }

func (a *api) createLogGroup(ctx context.Context, group string, n target.NewGroup) error {
	in := &cloudwatchlogs.CreateLogGroupInput{
		LogGroupName: aws.String(group), LogGroupClass: types.LogGroupClass(n.Class), Tags: n.Tags,
	}
	if n.KMSKeyID != "" {
		in.KmsKeyId = aws.String(n.KMSKeyID)
	}
	return a.call(ctx, func(ctx context.Context) error { _, err := a.CreateLogGroup(ctx, in); return err })
}

func (a *api) createLogStream(ctx context.Context, group, stream string) error {
	return a.call(ctx, func(ctx context.Context) error {
		_, err := a.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String(group), LogStreamName: aws.String(stream)})
		return err
	})
}

func (a *api) putRetention(ctx context.Context, group string, days int32) error {
	return a.call(ctx, func(ctx context.Context) error {
		_, err := a.PutRetentionPolicy(ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: aws.String(group), RetentionInDays: aws.Int32(days)})
		return err
	})
}

func (a *api) deleteLogGroup(ctx context.Context, group string) error {
	return a.call(ctx, func(ctx context.Context) error {
		_, err := a.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: aws.String(group)})
		return err
	})
}

func (a *api) deleteLogStream(ctx context.Context, group, stream string) error {
	return a.call(ctx, func(ctx context.Context) error {
		_, err := a.DeleteLogStream(ctx, &cloudwatchlogs.DeleteLogStreamInput{LogGroupName: aws.String(group), LogStreamName: aws.String(stream)})
		return err
	})
}

const (
	// requestLimit bounds one request.
	requestLimit = 5 * time.Second
	// maxTries bounds how often a request is sent.
	maxTries = 4
)

// call sends a request, and again if CloudWatch throttles it, if there is no answer, or if
// CloudWatch refuses its time: the client corrects that after the first answer.
func (a *api) call(ctx context.Context, send func(context.Context) error) (err error) {
	a.lost = false
	for try, pause := 1, a.pause; ; try, pause = try+1, 2*pause {
		one, cancel := context.WithTimeout(ctx, requestLimit)
		err = send(one)
		cancel()
		noAnswer := err != nil && statusOf(err) == 0 || statusOf(err) >= 500
		a.lost = a.lost || noAnswer
		throttled := isAny(err, throttleCodes)
		if throttled {
			a.throttled++
		}
		again := throttled && try < maxTries || (noAnswer || isAny(err, authCodes)) && try < 2
		if !again {
			a.refused = a.refused || throttled
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// Error codes of CloudWatch Logs and STS ("Common Errors" in their API references).
var (
	throttleCodes = []string{"ThrottlingException", "Throttling", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
	deniedCodes = []string{"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation", "KMSAccessDeniedException"}
	authCodes   = []string{"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "RequestExpired",
		"RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException", "OptInRequired", "AuthFailure"}
	notFoundCodes = []string{"ResourceNotFoundException"}
	existsCodes   = []string{"ResourceAlreadyExistsException"}
)

// isAny reports whether err is an answer of AWS with one of the codes.
func isAny(err error, codes []string) bool {
	var refused smithy.APIError
	return errors.As(err, &refused) && slices.Contains(codes, refused.ErrorCode())
}

// isAnswer reports whether err is an error of AWS, and not that of an answer in another form.
func isAnswer(err error) bool {
	var refused smithy.APIError
	return errors.As(err, &refused)
}

// statusOf returns the HTTP status of the answer, or 0 if there was none.
func statusOf(err error) int {
	var answered interface{ HTTPStatusCode() int }
	if errors.As(err, &answered) {
		return answered.HTTPStatusCode()
	}
	return 0
}
