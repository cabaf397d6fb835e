package cwlocal

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// contentType is that of awsJson 1.1, the service's protocol, both ways.
const contentType = "application/x-amz-json-1.1"

const targetPrefix = "Logs_20140328."

// An apiError is a refusal with the service's code, message and HTTP status.
type apiError struct {
	status   int
	code     string
	message  string
	extra    map[string]string // further members of the answer
	expected bool              // a client that breaks no rule meets it too
	page     bool              // answered by the front, which does not speak awsJson
}

func refuse(code, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: code, message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *apiError {
	return refuse("InvalidParameterException", format, args...)
}

func serialization(format string, args ...any) *apiError {
	return refuse("SerializationException", format, args...)
}

// The refusals that an honest client meets in its daily work. The service writes some of them with
// a full stop and some without.
var (
	errNoGroup      = &apiError{status: 400, code: "ResourceNotFoundException", message: "The specified log group does not exist.", expected: true}
	errNoStream     = &apiError{status: 400, code: "ResourceNotFoundException", message: "The specified log stream does not exist.", expected: true}
	errGroupExists  = &apiError{status: 400, code: "ResourceAlreadyExistsException", message: "The specified log group already exists", expected: true}
	errStreamExists = &apiError{status: 400, code: "ResourceAlreadyExistsException", message: "The specified log stream already exists", expected: true}
	errThrottled    = &apiError{status: 400, code: "ThrottlingException", message: "Rate exceeded", expected: true}
)

var errBadToken = invalid("The specified nextToken is invalid.")

// checkTarget reads what the call is for.
func (c *call) checkTarget() *apiError {
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || media != contentType || c.r.Method != http.MethodPost || c.r.URL.Path != "/" {
		return &apiError{status: http.StatusNotFound, code: "UnknownOperationException", page: true,
			message: fmt.Sprintf("%s %s with Content-Type %q: a call is a POST to / with %s", c.r.Method, c.r.URL.Path, c.r.Header.Get("Content-Type"), contentType)}
	}
	target := c.r.Header.Get("X-Amz-Target")
	op, ok := strings.CutPrefix(target, targetPrefix)
	if ok {
		c.operation, ok = operations[op]
	}
	if !ok {
		return refuse("UnknownOperationException", "X-Amz-Target %q is none of the operations here", target)
	}
	c.op = op
	return nil
}

// An answer is what goes back, whole.
type answer struct {
	status      int
	contentType string
	body        []byte
}

func (c *call) errorAnswer(e *apiError) answer {
	if c.sts {
		return stsErrorAnswer(e, c.id)
	}
	if e.page {
		return answer{e.status, "text/xml", []byte("<" + e.code + "/>\n")}
	}
	m := map[string]string{"__type": e.code, "message": e.message}
	for k, v := range e.extra {
		m[k] = v
	}
	return answer{e.status, contentType, encode(m)}
}

// resultAnswer is the answer of an operation that succeeded. Those without a result answer nothing.
func resultAnswer(out any) answer {
	if out == nil {
		return answer{http.StatusOK, contentType, nil}
	}
	return answer{http.StatusOK, contentType, encode(out)}
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // every type encoded here is our own
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (c *call) write(a answer) {
	h := c.w.Header()
	h.Set("x-amzn-RequestId", c.id)
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	c.w.WriteHeader(a.status)
	c.w.Write(a.body)
}

// newRequestID is a UUID of version 4, as the service's are.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
