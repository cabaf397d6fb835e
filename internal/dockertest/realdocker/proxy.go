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

// Proxy stands between moby's code and a plugin that runs in no mount namespace of its own: it tells
// the plugin where the FIFOs really are. It changes nothing else.
type Proxy struct {
	server http.Server
	out    http.Transport
	done   chan struct{}
}

// NewProxy listens on socket and passes requests on to the plugin's socket, with dir for ToldDir.
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
		FlushInterval: -1, // For ReadLogs, whose answer is a stream.
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host },
	}
	told, real := fmt.Appendf(nil, `{"File":"%s/`, ToldDir), fmt.Appendf(nil, `{"File":"%s/`, filepath.Clean(dir))
	p.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if rest, ok := bytes.CutPrefix(body, told); ok {
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

// Close stops listening and drops what is under way.
func (p *Proxy) Close() {
	p.server.Close()
	<-p.done
	p.out.CloseIdleConnections()
}
