package protocol

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
)

// contentType is the media type of awsJson 1.1, which CloudWatch Logs uses for requests and
// responses.
const contentType = "application/x-amz-json-1.1"

// A Response is a whole HTTP response.
type Response struct {
	Status      int
	ContentType string
	Body        []byte
}

// ErrorResponse encodes an error in the protocol of the request: awsJson or STS's XML.
func (r *Request) ErrorResponse(e *Error) Response {
	if r.STS {
		return stsErrorResponse(e, r.ID)
	}
	if e.xmlPage {
		return Response{e.Status, "text/xml", []byte("<" + e.Code + "/>\n")}
	}
	m := map[string]string{"__type": e.Code, "message": e.Message}
	for k, v := range e.Extra {
		m[k] = v
	}
	return Response{e.Status, contentType, EncodeJSON(m)}
}

// ResultResponse encodes the result of an operation that succeeded. The body is empty if
// the result is nil. The results of STS are an *AssumedRole and a *CallerIdentity.
func (r *Request) ResultResponse(result any) Response {
	switch result := result.(type) {
	case *AssumedRole:
		return result.response(r.ID)
	case *CallerIdentity:
		return result.response(r.ID)
	case nil:
		return Response{http.StatusOK, contentType, nil}
	}
	return Response{http.StatusOK, contentType, EncodeJSON(result)}
}

// Write sends the response to the request with that ID.
func (r Response) Write(w http.ResponseWriter, requestID string) {
	h := w.Header()
	h.Set("x-amzn-RequestId", requestID)
	h.Set("Content-Type", r.ContentType)
	h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	w.WriteHeader(r.Status)
	w.Write(r.Body)
}

// EncodeJSON encodes v as compact JSON that leaves <, > and & as they are. It panics if v
// cannot be encoded.
func EncodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // all encoded types are the stand-in's own
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func xmlResponse(status int, v any) Response {
	var b bytes.Buffer
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		panic(err) // all encoded types are the stand-in's own
	}
	return Response{status, "text/xml", b.Bytes()}
}
