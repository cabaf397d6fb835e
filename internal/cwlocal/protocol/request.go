// Package protocol is the wire side of the stand-in: it reads and checks what clients send
// to CloudWatch Logs and STS, and encodes what they get back. That is HTTP, awsJson 1.1 and
// STS's query protocol, Signature Version 4, compression, the members of each operation,
// and error responses.
//
// It holds no state. It must not know the rules of the service beyond the form of a
// request, the account's groups, streams and keys, or faults.
package protocol

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	targetPrefix = "Logs_20140328."

	logsService = "logs"
	stsService  = "sts"

	unknownOperation = "unknown"
)

// A Request is one request of a client. Read fills it in. When Read refuses the request,
// the fields that it had read by then are set.
type Request struct {
	ID        string
	Operation string // Operation is "unknown" until it has been read.
	STS       bool   // STS says that the request is for STS, whose protocol is not awsJson.
	Auth      Authorization
	Input     Input

	SessionToken string // SessionToken is the value of the header X-Amz-Security-Token.
	EMF          bool   // EMF says that the header x-amzn-logs-format is json/emf.
	Gzip         bool   // Gzip says that the body was compressed.
	WireBytes    int    // WireBytes is the size of the body as it was sent.
	BodyBytes    int    // BodyBytes is the size of the body after decompression.
}

// NewRequest starts a Request with a new ID.
func NewRequest(req *http.Request) *Request {
	return &Request{
		ID:           newRequestID(),
		Operation:    unknownOperation,
		SessionToken: req.Header.Get("X-Amz-Security-Token"),
		EMF:          strings.EqualFold(req.Header.Get("x-amzn-logs-format"), "json/emf"),
	}
}

// Read reads the request and checks everything that needs no state of the account: the form
// of the call, the signature with a key that find returns, the encoding, and the types of
// the members. The error is not nil if the body could not be read to its end.
func (r *Request) Read(req *http.Request, now time.Time, find FindKey) (*Error, error) {
	t := scratches.Get().(*scratch)
	defer scratches.Put(t)
	raw, refused, err := t.readWire(req)
	r.WireBytes = len(raw)
	if refused != nil || err != nil {
		return refused, err
	}
	service := logsService
	if r.STS = isSTS(req); r.STS {
		service = stsService
	} else if refused := r.readTarget(req); refused != nil {
		return refused, nil
	}
	if r.Auth, refused = parseAuthorization(req, service, now); refused != nil {
		return refused, nil
	}
	if refused := r.Auth.authenticate(req, raw, find); refused != nil {
		return refused, nil
	}
	if r.STS {
		r.BodyBytes = len(raw)
		return r.readQuery(raw), nil
	}
	body, refused := t.decompress(req, raw)
	if refused != nil {
		return refused, nil
	}
	r.BodyBytes, r.Gzip = len(body), req.Header.Get("Content-Encoding") != ""
	r.Input, refused = decodeInput(body, operations[r.Operation], &t.arena)
	return refused, nil
}

// readTarget reads which operation of CloudWatch Logs is called.
func (r *Request) readTarget(req *http.Request) *Error {
	sent := req.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(sent)
	if err != nil || media != contentType || req.Method != http.MethodPost || req.URL.Path != "/" {
		return &Error{Status: http.StatusNotFound, Code: "UnknownOperationException", xmlPage: true,
			Message: fmt.Sprintf("got %s %s with Content-Type %q, want POST / with %s",
				req.Method, req.URL.Path, sent, contentType)}
	}
	target := req.Header.Get("X-Amz-Target")
	op, ok := strings.CutPrefix(target, targetPrefix)
	if _, known := operations[op]; !ok || !known {
		return Refuse("UnknownOperationException", "cwlocal does not know the operation in X-Amz-Target %q", target)
	}
	r.Operation = op
	return nil
}
