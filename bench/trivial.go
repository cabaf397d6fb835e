package main

import (
	"bufio"
	"bytes"
	"context"
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

// The trivial client sends a file of lines to CloudWatch Logs. It reads the lines, escapes
// them, compresses them if it should, signs the request and posts it, over some connections
// of which each sends a part of the file. It has no frames to decode, no checksums, no cursor,
// no order between the connections, and it tries nothing again.
//
// That is the least that a client of lines can do. A client that only posts the same prepared
// request again and again measures the stand-in, so it is shown, but is not the yardstick.

// trivialSettings are the settings of the trivial client's process.
type trivialSettings struct {
	URL         string
	File        string
	Size        int64 // Size is the size of the file, which has lines of lineSize.
	Connections int
	Gzip        bool
	// Prepared says that the client makes one request and sends it as often as it takes to
	// send as many lines as the file has.
	Prepared bool
}

// trivialResult is what the trivial client prints.
type trivialResult struct {
	Lines     int
	Took, CPU time.Duration
}

// runTrivialClient is the trivial client's process.
func runTrivialClient(text []byte) error {
	var s trivialSettings
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	client := &trivialClient{trivialSettings: s, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.Connections, DisableCompression: true}}}
	for _, op := range []string{"CreateLogGroup", "CreateLogStream"} {
		body := fmt.Sprintf(`{"logGroupName":%q,"logStreamName":"trivial"}`, logGroup)
		if op == "CreateLogGroup" {
			body = fmt.Sprintf(`{"logGroupName":%q}`, logGroup)
		}
		if err := client.post(op, []byte(body), false); err != nil {
			return err
		}
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
	lines := c.Size / int64(len(line))
	before, begun := ownCPU(), time.Now()
	var g errgroup.Group
	for i := range int64(c.Connections) {
		from, to := lines*i/int64(c.Connections), lines*(i+1)/int64(c.Connections)
		g.Go(func() error { return c.sendPart(from, to) })
	}
	err = g.Wait()
	return trivialResult{Lines: int(lines), Took: time.Since(begun), CPU: ownCPU() - before}, err
}

// sendPart sends some lines of the file.
func (c *trivialClient) sendPart(from, to int64) error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	size := int64(len(line))
	r := bufio.NewReaderSize(io.NewSectionReader(file, from*size, (to-from)*size), 256<<10)
	b := newTrivialBatch()
	for sent := from; sent < to; {
		if !c.Prepared || b.lines == 0 {
			if err := b.fill(r); err != nil {
				return err
			}
		}
		body := b.body
		if c.Gzip && (!c.Prepared || sent == from) {
			b.compress()
		}
		if c.Gzip {
			body = b.zipped.Bytes()
		}
		if err := c.post("PutLogEvents", body, c.Gzip); err != nil {
			return err
		}
		sent += int64(b.lines)
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

func (b *trivialBatch) compress() {
	b.zipped.Reset()
	b.gzip.Reset(&b.zipped)
	_, _ = b.gzip.Write(b.body) // a buffer in memory takes everything
	_ = b.gzip.Close()
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

func (c *trivialClient) post(operation string, body []byte, zipped bool) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.URL+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Logs_20140328."+operation)
	if zipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	sign(req, body, time.Now())
	resp, err := c.http.Do(req)
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
