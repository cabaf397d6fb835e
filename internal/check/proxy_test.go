package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

// amazon serves the world with TLS, as AWS's own host names. bundle is the certificate of its
// authority.
func (w *world) amazon(notAfter time.Time, names ...string) (server *httptest.Server, bundle []byte) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	server = httptest.NewUnstartedServer(w.handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	w.t.Cleanup(server.Close)
	return server, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// tunnel is a proxy that connects every host to one address.
func (w *world) tunnel(to string, refuse int) (address string) {
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || refuse != 0 {
			rw.WriteHeader(max(refuse, http.StatusForbidden))
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		client, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(server, client); server.Close() }()
		io.Copy(client, server)
		client.Close()
	}))
	w.t.Cleanup(proxy.Close)
	return proxy.Listener.Addr().String()
}

var regexpPassword = regexp.MustCompile(`:password`)

var awsNames = []string{"logs.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com"}

// Each step of a connection through a proxy fails with a cause and a remedy of its own.
func TestProxyAndCertificatesAreNamed(t *testing.T) {
	valid := time.Now().Add(24 * time.Hour)
	noAnswer := slices.Concat([]string{"clock", "identity"}, permissions)
	bundle := func(w *world, pem []byte) {
		if err := os.WriteFile(filepath.Join(w.aws, "ca.pem"), pem, 0o600); err != nil {
			w.t.Fatal(err)
		}
		w.env("AWS_CA_BUNDLE", "/.aws/ca.pem")
	}
	for _, c := range []cause{
		{
			name: "proxy and CA are good",
			spoil: func(w *world) {
				server, ca := w.amazon(valid, awsNames...)
				bundle(w, ca)
				w.env("HTTPS_PROXY", "http://user:password@"+w.tunnel(server.Listener.Addr().String(), 0))
			},
		},
		{
			name: "proxy down", spoil: func(w *world) { w.env("HTTPS_PROXY", "http://user:password@127.0.0.1:1") },
			bad: "endpoint", detail: `couldn't connect to the proxy: .*connection refused`, remedy: `start the proxy, or correct HTTPS_PROXY \(http://…@127\.0\.0\.1:1\)`,
			unknown: noAnswer,
		},
		{
			name: "unknown proxy", spoil: func(w *world) { w.env("HTTPS_PROXY", "http://proxy.nowhere.invalid:3128") },
			bad: "endpoint", detail: `couldn't resolve the host name`, remedy: `HTTPS_PROXY \(http://proxy\.nowhere\.invalid:3128\) and the host's DNS`,
			unknown: noAnswer,
		},
		{
			name: "proxy that is no URL", spoil: func(w *world) { w.env("HTTPS_PROXY", "http://me:password@pro xy") },
			bad: "endpoint", detail: `HTTPS_PROXY is not a URL`, remedy: `HTTPS_PROXY=http://HOST:PORT`, unknown: noAnswer,
		},
		{
			name: "proxy whose user looks like a scheme", spoil: func(w *world) { w.env("HTTPS_PROXY", "me:password%zz@proxy:3128") },
			bad: "endpoint", detail: `the proxy's address is not a URL`, remedy: `HTTPS_PROXY=http://HOST:PORT`, unknown: noAnswer,
		},
		{
			name: "proxy that refuses", spoil: func(w *world) { w.env("HTTPS_PROXY", "http://"+w.tunnel("", http.StatusForbidden)) },
			bad: "endpoint", detail: `refuses the connection to logs\.eu-central-1\.amazonaws\.com:443 \(403 Forbidden\)`,
			remedy: `allow logs\.eu-central-1\.amazonaws\.com:443 in the proxy`, unknown: noAnswer,
		},
		{
			name: "proxy that wants a password", spoil: func(w *world) { w.env("HTTPS_PROXY", "http://"+w.tunnel("", http.StatusProxyAuthRequired)) },
			bad: "endpoint", detail: `asks for a user and a password`, remedy: `HTTPS_PROXY=http://`, unknown: noAnswer,
		},
		{
			name: "unknown certificate authority",
			spoil: func(w *world) {
				server, _ := w.amazon(valid, awsNames...)
				w.env("HTTPS_PROXY", "http://"+w.tunnel(server.Listener.Addr().String(), 0))
			},
			bad: "endpoint", detail: `certificate signed by unknown authority`, remedy: `AWS_CA_BUNDLE=/\.aws/ca\.pem`, unknown: noAnswer,
		},
		{
			name: "certificate for another host",
			spoil: func(w *world) {
				server, ca := w.amazon(valid, "other.example.com")
				bundle(w, ca)
				w.env("HTTPS_PROXY", "http://"+w.tunnel(server.Listener.Addr().String(), 0))
			},
			bad: "endpoint", detail: `certificate is valid for other\.example\.com`, remedy: `host name`, unknown: noAnswer,
		},
		{
			name: "expired certificate",
			spoil: func(w *world) {
				server, ca := w.amazon(time.Now().Add(-time.Hour), awsNames...)
				bundle(w, ca)
				w.env("HTTPS_PROXY", "http://"+w.tunnel(server.Listener.Addr().String(), 0))
			},
			bad: "endpoint", detail: `expired`, remedy: `clock`, unknown: noAnswer,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, cwlocal.Options{})
			w.env("AWS_ENDPOINT_URL", "")
			c.spoil(w)
			results := runInProcess(t, *w.Options, w.dir)
			w.checkResults(results)
			c.check(t, results)
			for _, r := range results {
				if regexpPassword.MatchString(r.Detail + r.Remedy) {
					t.Errorf("a password is shown: %+v", r)
				}
			}
		})
	}
}
