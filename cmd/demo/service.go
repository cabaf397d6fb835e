package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

const (
	region    = "eu-central-1"
	pluginKey = "AKIDEXAMPLE"
	readerKey = "AKIDREADER" // the outage does not affect it
	keySecret = "not-a-secret"

	// poll is the time between two reads of a stream.
	poll = 200 * time.Millisecond
)

// reader reads what has arrived, with the AWS SDK, as a user can.
type reader struct{ client *cloudwatchlogs.Client }

func newReader(endpoint string) *reader {
	return &reader{cloudwatchlogs.New(cloudwatchlogs.Options{
		Region:       region,
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(readerKey, keySecret, ""),
	})}
}

// event is one event of a stream.
type event struct {
	at      time.Time
	message string
}

// next returns the events of a stream after the token, or from its beginning if token is
// nil, and the token for the next call. A stream that does not exist yet has no events.
func (r *reader) next(ctx context.Context, a address, token *string) ([]event, *string, error) {
	page, err := r.client.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: &a.group, LogStreamName: &a.stream, StartFromHead: aws.Bool(true), NextToken: token,
	})
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return nil, token, nil
	}
	if err != nil {
		return nil, token, err
	}
	var events []event
	for _, e := range page.Events {
		events = append(events, event{time.UnixMilli(aws.ToInt64(e.Timestamp)), aws.ToString(e.Message)})
	}
	return events, page.NextForwardToken, nil
}

// all returns everything that the service has.
func (r *reader) all(ctx context.Context) (contents, error) {
	all := contents{}
	groups := cloudwatchlogs.NewDescribeLogGroupsPaginator(r.client, &cloudwatchlogs.DescribeLogGroupsInput{})
	for groups.HasMorePages() {
		page, err := groups.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range page.LogGroups {
			if err := r.group(ctx, aws.ToString(g.LogGroupName), all); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func (r *reader) group(ctx context.Context, group string, all contents) error {
	streams := cloudwatchlogs.NewDescribeLogStreamsPaginator(r.client, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: &group})
	for streams.HasMorePages() {
		page, err := streams.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, s := range page.LogStreams {
			a := address{group, aws.ToString(s.LogStreamName)}
			all[a] = nil
			// On the last page, the service returns the token of the request.
			for token := (*string)(nil); ; {
				events, after, err := r.next(ctx, a, token)
				if err != nil {
					return err
				}
				for _, e := range events {
					all[a] = append(all[a], e.message)
				}
				if token != nil && aws.ToString(after) == *token {
					break
				}
				token = after
			}
		}
	}
	return nil
}

// follow prints the events of a stream as they arrive, until all are there. It returns an
// error if none arrives within patience.
func follow(ctx context.Context, r *reader, to delivery, patience time.Duration, out io.Writer) error {
	fmt.Fprintf(out, "\n   group %s, stream %s\n", to.group, to.stream)
	var token *string
	have, moved := 0, time.Now()
	for {
		events, after, err := r.next(ctx, to.address, token)
		if err != nil {
			return err
		}
		token = after
		for _, e := range events {
			fmt.Fprintf(out, "     %s  %s\n", e.at.Format("15:04:05.000"), shortened(e.message))
			have++
			moved = time.Now()
		}
		if have >= len(to.lines) {
			return nil
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("group %s, stream %s: %d of %d lines arrived, and no more in %v", to.group, to.stream, have, len(to.lines), patience)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(poll):
		}
	}
}

// shortened returns the message, or the beginning of a long one and its length.
func shortened(message string) string {
	if len(message) <= 100 {
		return message
	}
	return fmt.Sprintf("%.40s… (one event, %d bytes)", message, len(message))
}
