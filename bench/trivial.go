package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// The trivial client is what the drain of a backlog is compared with. It sends requests that it
// has built before: each connection posts one signed batch again and again. Nothing can send
// faster, so it shows what the stand-in accepts on the machine.
//
// It can also do the least that a client of lines must do: read them from a file, escape them,
// compress them if it should, sign the request and post it. It has no frames to decode, no
// checksums, no cursor, no order between the connections, and it tries nothing again.

// trivialSettings are the settings of the trivial client's process.
type trivialSettings struct {
	URL         string
	File        string
	Lines       int // Lines is how many lines of lineSize the file has.
	Connections int
	Gzip        bool
	// Prepared says that each connection builds one request, and sends it until it has sent as
	// many lines as its part of the file has.
	Prepared bool
}

// trivialResult is what the trivial client prints.
type trivialResult struct {
	Took, CPU time.Duration
}

// runTrivialClient is the trivial client's process.
func runTrivialClient(text []byte) error {
	var s trivialSettings
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	client := &trivialClient{trivialSettings: s, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.Connections, DisableCompression: true}}}
	if err := client.create(); err != nil {
		return err
	}
	result, err := client.send()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

type trivialClient struct {
	trivialSettings
	http *http.Client
}

// send sends all lines.
func (c *trivialClient) send() (r trivialResult, err error) {
	before, begun := ownCPU(), time.Now()
	var g errgroup.Group
	for i := range c.Connections {
		from, to := c.Lines*i/c.Connections, c.Lines*(i+1)/c.Connections
		g.Go(func() error { return c.sendPart(from, to) })
	}
	err = g.Wait()
	return trivialResult{Took: time.Since(begun), CPU: ownCPU() - before}, err
}

// sendPart sends some lines of the file.
func (c *trivialClient) sendPart(from, to int) error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	part := io.NewSectionReader(file, int64(from)*lineBytes, int64(to-from)*lineBytes)
	r := bufio.NewReaderSize(part, 256<<10)
	b := newTrivialBatch()
	var req *http.Request
	var body []byte
	for sent := from; sent < to; sent += b.lines {
		if req == nil || !c.Prepared {
			if err := b.fill(r); err != nil {
				return err
			}
			body = b.body
			if c.Gzip {
				body = b.compress()
			}
			if req, err = c.request("PutLogEvents", body, c.Gzip); err != nil {
				return err
			}
		}
		if err := c.post(req, body); err != nil {
			return err
		}
	}
	return nil
}

// trivialBatch is the body of a request.
type trivialBatch struct {
	body   []byte
	lines  int
	zipped bytes.Buffer
	gzip   *gzip.Writer
}

func newTrivialBatch() *trivialBatch {
	b := &trivialBatch{body: make([]byte, 0, 2<<20)}
	b.gzip, _ = gzip.NewWriterLevel(&b.zipped, gzip.BestSpeed) // the level is a constant
	return b
}

// fill makes the body of as many lines as a batch may have.
func (b *trivialBatch) fill(r *bufio.Reader) error {
	const maxEvents, maxBytes, perEvent = 10_000, 1 << 20, 26 // PutLogEvents
	now := time.Now().UnixMilli()
	b.body = fmt.Appendf(b.body[:0], `{"logGroupName":%q,"logStreamName":"trivial","logEvents":[`, logGroup)
	b.lines = 0
	for size := 0; b.lines < maxEvents && size+lineSize+perEvent <= maxBytes; b.lines++ {
		text, err := r.ReadSlice('\n')
		if err == io.EOF && len(text) == 0 {
			break
		} else if err != nil {
			return err
		}
		if b.lines > 0 {
			b.body = append(b.body, ',')
		}
		b.body = strconv.AppendInt(append(b.body, `{"timestamp":`...), now, 10)
		b.body = appendEscaped(append(b.body, `,"message":"`...), text[:len(text)-1])
		b.body = append(b.body, `"}`...)
		size += len(text) - 1 + perEvent
	}
	b.body = append(b.body, "]}"...)
	return nil
}

// compress returns the compressed body. It is valid until the next call.
func (b *trivialBatch) compress() []byte {
	b.zipped.Reset()
	b.gzip.Reset(&b.zipped)
	_, _ = b.gzip.Write(b.body) // a buffer in memory takes everything
	_ = b.gzip.Close()
	return b.zipped.Bytes()
}

// appendEscaped appends text as it is inside a JSON string.
func appendEscaped(to, text []byte) []byte {
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c < ' ':
			to = fmt.Appendf(to, `\u%04x`, c)
		default:
			to = append(to, c)
		}
	}
	return to
}

// request returns a signed request.
func (c *trivialClient) request(operation string, body []byte, zipped bool) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, c.URL+"/", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Logs_20140328."+operation)
	if zipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	sign(req, body, time.Now())
	return req, nil
}

// post sends a request. It may send it again.
func (c *trivialClient) post(req *http.Request, body []byte) error {
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}

// create makes the log group and the stream.
func (c *trivialClient) create() error {
	for _, op := range [][2]string{
		{"CreateLogGroup", fmt.Sprintf(`{"logGroupName":%q}`, logGroup)},
		{"CreateLogStream", fmt.Sprintf(`{"logGroupName":%q,"logStreamName":"trivial"}`, logGroup)},
	} {
		req, err := c.request(op[0], []byte(op[1]), false)
		if err != nil {
			return err
		}
		if err := c.post(req, []byte(op[1])); err != nil {
			return fmt.Errorf("%s: %w", op[0], err)
		}
	}
	return nil
}

// sign signs a request with AWS Signature Version 4.
func sign(req *http.Request, body []byte, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	req.Header.Set("X-Amz-Date", stamp)
	payload := sha256.Sum256(body)
	target := req.Header.Get("X-Amz-Target")
	canonical := sha256.Sum256([]byte(strings.Join([]string{req.Method, "/", "",
		"host:" + req.URL.Host, "x-amz-date:" + stamp, "x-amz-target:" + target, "",
		"host;x-amz-date;x-amz-target", hex.EncodeToString(payload[:])}, "\n")))
	scope := stamp[:8] + "/" + region + "/logs/aws4_request"
	key := []byte("AWS4" + secretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(canonical[:]))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=host;x-amz-date;x-amz-target, Signature=%x",
		accessKey, scope, signature))
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// ownCPU returns the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
