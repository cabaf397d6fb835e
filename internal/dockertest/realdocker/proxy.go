package realdocker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
)

// Proxy passes requests of moby's code on to a plugin that has no mount namespace of its
// own. It replaces FIFODir by the real directory of the FIFOs, and changes nothing else.
type Proxy struct {
	server http.Server
	out    http.Transport
	done   chan struct{}
}

// NewProxy listens on socket and passes requests on to the socket plugin, with dir in the
// place of FIFODir.
func NewProxy(socket, plugin, dir string) (*Proxy, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	p := &Proxy{done: make(chan struct{})}
	p.out.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", plugin)
	}
	forward := &httputil.ReverseProxy{
		Transport:     &p.out,
		FlushInterval: -1, // the answer to ReadLogs is a stream
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host },
	}
	sent, real := fmt.Appendf(nil, `{"File":"%s/`, FIFODir), fmt.Appendf(nil, `{"File":"%s/`, filepath.Clean(dir))
	p.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if rest, ok := bytes.CutPrefix(body, sent); ok {
			body = append(real, rest...)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		forward.ServeHTTP(w, r)
	})
	go func() {
		defer close(p.done)
		p.server.Serve(l)
	}()
	return p, nil
}

// Close stops listening and aborts the requests in flight.
func (p *Proxy) Close() {
	p.server.Close()
	<-p.done
	p.out.CloseIdleConnections()
}
