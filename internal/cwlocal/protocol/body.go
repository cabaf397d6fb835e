package protocol

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// maxBody bounds the size of a request's body in bytes, before and after decompression. A
// valid batch is smaller: a mebibyte of control characters takes six mebibytes as \u00XX,
// and the other members of 10,000 events take less than one.
const maxBody = 8 << 20

var errBodyTooLarge = &Error{Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLargeException",
	Message: "Request body is larger than 8388608 bytes"}

// scratch is the memory for reading a body. It is pooled, so that benchmarks do not measure
// the stand-in's allocations and garbage collection.
type scratch struct {
	wire, body bytes.Buffer
	gzip       gzip.Reader
	arena      []byte // arena is memory for a reader's arena.
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// readWire reads the body as it was sent. The body is valid until the scratch is used
// again. The error comes from the connection.
func (s *scratch) readWire(req *http.Request) ([]byte, *Error, error) {
	if req.ContentLength > maxBody {
		return nil, errBodyTooLarge, nil
	}
	s.wire.Reset()
	s.wire.Grow(int(max(req.ContentLength, 0)) + bytes.MinRead)
	n, err := s.wire.ReadFrom(io.LimitReader(req.Body, maxBody+1))
	if err != nil {
		return nil, nil, err
	}
	if n > maxBody {
		return nil, errBodyTooLarge, nil
	}
	return s.wire.Bytes(), nil, nil
}

// decompress decodes the body according to its Content-Encoding: gzip or none. The result
// is valid as long as raw is.
func (s *scratch) decompress(req *http.Request, raw []byte) ([]byte, *Error) {
	switch enc := req.Header.Values("Content-Encoding"); {
	case len(enc) == 0:
		return raw, nil
	case len(enc) > 1 || enc[0] != "gzip":
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Code: "UnsupportedMediaTypeException",
			Message: "Content-Encoding is not gzip: " + enc[0]}
	}
	if err := s.gzip.Reset(bytes.NewReader(raw)); err != nil {
		return nil, serialization("Could not decompress the request body: %v", err)
	}
	s.body.Reset()
	s.body.Grow(min(8*len(raw), maxBody) + bytes.MinRead)
	n, err := s.body.ReadFrom(io.LimitReader(&s.gzip, maxBody+1))
	switch {
	case err != nil:
		return nil, serialization("Could not decompress the request body: %v", err)
	case n > maxBody:
		return nil, errBodyTooLarge
	}
	return s.body.Bytes(), nil
}
