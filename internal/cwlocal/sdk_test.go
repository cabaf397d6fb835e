package cwlocal

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

func startForSDK(t *testing.T) *Server {
	t.Helper()
	s, err := Start("127.0.0.1:0", Options{Keys: map[string]string{testKey: testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func sdkClient(t *testing.T, s *Server, secret string) *cloudwatchlogs.Client {
	t.Helper()
	return cloudwatchlogs.New(cloudwatchlogs.Options{
		Region:       testRegion,
		BaseEndpoint: aws.String(s.URL()),
		Credentials:  credentials.NewStaticCredentialsProvider(testKey, secret, "session"),
		Retryer:      aws.NopRetryer{},
		HTTPClient:   newHTTPClient(t),
	})
}

// The SDK is independent of this code: it signs, encodes, decodes and maps errors in its
// own way.
func TestSDKCanUseEveryOperation(t *testing.T) {
	ctx := context.Background()
	s := startForSDK(t)
	c := sdkClient(t, s, testSecret)
	group, stream := aws.String("sdk/group"), aws.String("a stream/1")
	arn := aws.String("arn:aws:logs:" + testRegion + ":" + AccountID + ":log-group:sdk/group")

	put := func() (*cloudwatchlogs.PutLogEventsOutput, error) {
		now := time.Now().UnixMilli()
		return c.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: []types.InputLogEvent{
			{Timestamp: aws.Int64(now - 15*24*3600*1000), Message: aws.String("too old")},
		}})
	}
	_, err := put()
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) || missing.ErrorMessage() != "The specified log group does not exist." {
		t.Errorf("without a group: %v", err)
	}
	if _, err := c.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group, Tags: map[string]string{"a": "b"}, LogGroupClass: types.LogGroupClassInfrequentAccess}); err != nil {
		t.Fatal(err)
	}
	var exists *types.ResourceAlreadyExistsException
	if _, err := c.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group}); !errors.As(err, &exists) {
		t.Errorf("a second group: %v", err)
	}
	if _, err := c.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutRetentionPolicy(ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: group, RetentionInDays: aws.Int32(30)}); err != nil {
		t.Error(err)
	}
	if _, err := c.TagResource(ctx, &cloudwatchlogs.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"c": "d"}}); err != nil {
		t.Error(err)
	}
	out, err := put()
	if err != nil {
		t.Fatal(err)
	}
	if r := out.RejectedLogEventsInfo; r == nil || r.TooOldLogEventEndIndex == nil || *r.TooOldLogEventEndIndex != 1 || r.ExpiredLogEventEndIndex != nil || r.TooNewLogEventStartIndex != nil {
		t.Errorf("rejected: %+v", r)
	}

	var want, got []string
	for b := range 3 {
		var events []types.InputLogEvent
		for i := range 5 {
			m := fmt.Sprintf("line %d-%d \"ä😀\" <&>\n\t\x01", b, i)
			want = append(want, m)
			events = append(events, types.InputLogEvent{Timestamp: aws.Int64(time.Now().UnixMilli()), Message: aws.String(m)})
		}
		if _, err := c.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: events}); err != nil {
			t.Fatal(err)
		}
	}
	pages := cloudwatchlogs.NewGetLogEventsPaginator(c, &cloudwatchlogs.GetLogEventsInput{LogGroupName: group, LogStreamName: stream, Limit: aws.Int32(4), StartFromHead: aws.Bool(true)},
		func(o *cloudwatchlogs.GetLogEventsPaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Events {
			got = append(got, *e.Message)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("GetLogEvents: %s", diff)
	}
	got = nil
	filter := cloudwatchlogs.NewFilterLogEventsPaginator(c, &cloudwatchlogs.FilterLogEventsInput{LogGroupIdentifier: arn, Limit: aws.Int32(4)})
	for filter.HasMorePages() {
		p, err := filter.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Events {
			got = append(got, *e.Message)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FilterLogEvents: %s", diff)
	}

	tags, err := c.ListTagsForResource(ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil || !cmp.Equal(tags.Tags, map[string]string{"a": "b", "c": "d"}) {
		t.Errorf("tags: %v %v", tags, err)
	}
	groups, err := c.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: group})
	if err != nil || len(groups.LogGroups) != 1 || *groups.LogGroups[0].RetentionInDays != 30 || groups.LogGroups[0].LogGroupClass != types.LogGroupClassInfrequentAccess {
		t.Errorf("groups: %v %v", groups, err)
	}
	streams, err := c.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: group, OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)})
	if err != nil || len(streams.LogStreams) != 1 || *streams.LogStreams[0].LogStreamName != *stream {
		t.Errorf("streams: %v %v", streams, err)
	}
	for _, f := range []func() error{
		func() error {
			_, err := c.DeleteRetentionPolicy(ctx, &cloudwatchlogs.DeleteRetentionPolicyInput{LogGroupName: group})
			return err
		},
		func() error {
			_, err := c.DeleteLogStream(ctx, &cloudwatchlogs.DeleteLogStreamInput{LogGroupName: group, LogStreamName: stream})
			return err
		},
		func() error {
			_, err := c.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: group})
			return err
		},
	} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
	if r := s.Refusals(); len(r) != 0 {
		t.Errorf("the SDK broke a rule: %+v", r)
	}
}

func TestSDKUnderstandsTheErrors(t *testing.T) {
	ctx := context.Background()
	s := startForSDK(t)
	c := sdkClient(t, s, testSecret)
	_, err := sdkClient(t, s, "wrong").DescribeLogGroups(ctx, nil)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "InvalidSignatureException" {
		t.Errorf("a wrong secret: %v", err)
	}
	for kind, code := range map[FaultKind]string{Throttle: "ThrottlingException", InternalError: "InternalFailure", Unavailable: "ServiceUnavailableException",
		Denied: "AccessDeniedException", ExpiredToken: "ExpiredTokenException", UnrecognizedClient: "UnrecognizedClientException"} {
		s.AddFault(Fault{Kind: kind, Count: 1})
		_, err := c.DescribeLogGroups(ctx, nil)
		if !errors.As(err, &api) || api.ErrorCode() != code {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
