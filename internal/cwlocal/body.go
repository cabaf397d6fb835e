package cwlocal

import (
	"bytes"
	"io"
	"net/http"

	"github.com/klauspost/compress/gzip"
)

// maxBody bounds a request's body, compressed or not, in bytes. A legal batch stays below it: a
// mebibyte of control characters takes six as \u00XX, and its 10,000 events less than one more.
const maxBody = 8 << 20

var errBodyTooLarge = &apiError{status: http.StatusRequestEntityTooLarge, code: "RequestEntityTooLargeException",
	message: "Request body is larger than 8388608 bytes"}

// readWire reads the body as it was sent. The error is the connection's.
func readWire(r *http.Request) ([]byte, *apiError, error) {
	if r.ContentLength > maxBody {
		return nil, errBodyTooLarge, nil
	}
	var b bytes.Buffer
	b.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, nil, err
	}
	if n > maxBody {
		return nil, errBodyTooLarge, nil
	}
	return b.Bytes(), nil, nil
}

// decompress undoes the body's Content-Encoding: gzip or none.
func decompress(r *http.Request, raw []byte) ([]byte, *apiError) {
	switch enc := r.Header.Values("Content-Encoding"); {
	case len(enc) == 0:
		return raw, nil
	case len(enc) > 1 || enc[0] != "gzip":
		return nil, &apiError{status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaTypeException",
			message: "Content-Encoding is not gzip: " + enc[0]}
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, serialization("Could not decompress the request body: %v", err)
	}
	var b bytes.Buffer
	b.Grow(min(8*len(raw), maxBody) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(z, maxBody+1))
	switch {
	case err != nil:
		return nil, serialization("Could not decompress the request body: %v", err)
	case n > maxBody:
		return nil, errBodyTooLarge
	}
	return b.Bytes(), nil
}
