package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/cwlocal"
)

// user returns another client of the service, such as one that deletes a log group.
func user(endpoint string, by cloudwatchlogs.HTTPClient) *cloudwatchlogs.Client {
	return cloudwatchlogs.New(cloudwatchlogs.Options{
		Region: region, BaseEndpoint: aws.String(endpoint), HTTPClient: by,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	})
}

// recorder keeps the last request, so that it can be sent again.
type recorder struct {
	http *http.Client
	last *http.Request
	body []byte
}

func (r *recorder) Do(req *http.Request) (resp *http.Response, err error) {
	if req.Body != nil {
		if r.body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(r.body))
	}
	r.last = req.Clone(context.Background())
	return r.http.Do(req)
}

// trivialRate returns how many bytes of lines the stand-in accepts in a second from a
// trivial client, which sends the same signed request again and again.
func trivialRate(ctx context.Context, lineSize int) (perSecond float64, err error) {
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{accessKey: secretKey}, Keep: cwlocal.KeepNone})
	if err != nil {
		return 0, err
	}
	defer service.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	rec := &recorder{http: client}
	u := user(service.URL(), rec)
	if _, err := u.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("g")}); err != nil {
		return 0, err
	}
	if _, err := u.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s")}); err != nil {
		return 0, err
	}
	// A batch has at most 1,048,576 bytes, and each event counts 26 bytes more than its
	// message (PutLogEvents).
	batch := make([]types.InputLogEvent, 1<<20/(lineSize+26))
	message := string(bytes.Repeat([]byte{'x'}, lineSize))
	for i := range batch {
		batch[i] = types.InputLogEvent{Message: &message, Timestamp: aws.Int64(time.Now().UnixMilli())}
	}
	if _, err := u.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{
		LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), LogEvents: batch}); err != nil {
		return 0, err
	}
	const senders, each = 4, 30
	begun := time.Now()
	var g errgroup.Group
	for range senders {
		g.Go(func() error {
			for range each {
				req := rec.last.Clone(ctx)
				req.Body = io.NopCloser(bytes.NewReader(rec.body))
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return float64(senders*each*len(batch)*lineSize) / time.Since(begun).Seconds(), nil
}
