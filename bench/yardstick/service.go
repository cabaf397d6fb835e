package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// service is CloudWatch Logs.
type service struct {
	endpoint, region, group string
	compress                bool
	credentials             aws.Credentials
	signer                  *v4.Signer
}

func newService() *service {
	return &service{
		endpoint: os.Getenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"), region: getenv("AWS_REGION", "eu-central-1"),
		group: getenv("LOGSPOUT_GROUP", "yardstick"), compress: os.Getenv("GZIP") == "on",
		credentials: aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY")},
		signer:      v4.NewSigner(),
	}
}

// create creates a stream and its group.
func (s *service) create(stream string) error {
	for _, op := range []struct {
		name string
		args map[string]string
	}{
		{"CreateLogGroup", map[string]string{"logGroupName": s.group}},
		{"CreateLogStream", map[string]string{"logGroupName": s.group, "logStreamName": stream}},
	} {
		body, err := json.Marshal(op.args)
		if err != nil {
			return err
		}
		err = s.call(op.name, body, false)
		if err != nil && !strings.Contains(err.Error(), "ResourceAlreadyExistsException") {
			return err
		}
	}
	return nil
}

func (s *service) put(b *batch) error {
	body, err := b.finish(s.compress)
	if err != nil {
		return err
	}
	return s.call("PutLogEvents", body, s.compress)
}

// call makes a request.
func (s *service) call(operation string, body []byte, compressed bool) error {
	req, err := http.NewRequest(http.MethodPost, s.endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Logs_20140328."+operation)
	if compressed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	hash := sha256.Sum256(body)
	if err := s.signer.SignHTTP(context.Background(), s.credentials, req, hex.EncodeToString(hash[:]), "logs", s.region, time.Now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", operation, resp.Status, answer)
	}
	return err
}
