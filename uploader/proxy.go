package uploader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// proxyConnect is the Op of an error of a connection to a proxy (net/http, Transport.dialConn).
const proxyConnect = "proxyconnect"

// proxyError says that a request did not get past a proxy.
type proxyError struct {
	proxy   string // proxy is the proxy's URL without user and password.
	setting string // setting is the name of the setting that has the proxy.
	answer  string // answer is the status that the proxy answered, or empty if it cannot be reached.
	err     error  // err is nil if the proxy answered.
}

func (e *proxyError) Error() string {
	if e.answer != "" {
		return fmt.Sprintf("the proxy %s answered %s", e.proxy, e.answer)
	}
	return fmt.Sprintf("the proxy %s cannot be reached: %v", e.proxy, e.err)
}

func (e *proxyError) Unwrap() error { return e.err }

// proxyText returns the URL of a proxy without user and password.
func proxyText(u *url.URL) string { return u.Scheme + "://" + u.Host }

// nameProxy returns the error of a request. If a proxy cannot be reached, it adds which one.
func nameProxy(c *http.Client, r *http.Request, err error) error {
	var oe *net.OpError
	tr, ok := c.Transport.(*http.Transport)
	if !ok || tr.Proxy == nil || !errors.As(err, &oe) || oe.Op != proxyConnect {
		return err
	}
	u, proxyErr := tr.Proxy(r)
	if proxyErr != nil || u == nil {
		return err
	}
	setting := "HTTPS_PROXY"
	if r.URL.Scheme == "http" {
		setting = "HTTP_PROXY"
	}
	return &proxyError{proxy: proxyText(u), setting: setting, err: err}
}

// checkConnect returns an error with the name of a proxy that does not connect to CloudWatch.
// The error of net/http has only the text of the status.
func checkConnect(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{proxy: proxyText(proxy), setting: "HTTPS_PROXY", answer: resp.Status}
}
