package statusserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// tcp answers one request at STATUS_ADDR.
func tcp(r *status.Report, method, path string, header ...string) *httptest.ResponseRecorder {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "page %s", r.URL.Path) })
	h := handler(Options{
		Source: source{r}, Addr: "status.example.com:9465", Host: "Node1", MaxAge: status.DefaultMaxAge,
		Page: page, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "metrics") }),
	})
	req := httptest.NewRequest(method, path, nil)
	req.Host = "127.0.0.1:9465"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestAddressServesPageMetricsAndProbes(t *testing.T) {
	for path, want := range map[string]string{
		"/": "page /", "/assets/x.css": "page /assets/x.css", "/metrics": "metrics", "/healthz": "delivering\n", "/readyz": "ready\n",
		"/status": "page /status", "/debug/pprof/": "page /debug/pprof/", // only root may have these, on the socket
	} {
		w := tcp(report(), "GET", path)
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: status %d, %q", path, w.Code, w.Body)
		}
		for name := range securityHeaders {
			if w.Header().Get(name) == "" {
				t.Errorf("%s has no %s", path, name)
			}
		}
		if cors := w.Header().Get("Access-Control-Allow-Origin"); cors != "" {
			t.Errorf("%s may be read by %s", path, cors)
		}
	}
	h := handler(Options{Source: source{report()}})
	for _, path := range []string{"/", "/metrics"} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest("GET", path, nil)
		req.Host = "localhost"
		if h.ServeHTTP(w, req); w.Code != 404 {
			t.Errorf("%s without a handler: status %d", path, w.Code)
		}
	}
}

func TestAddressAnswersOnlyGetAndHead(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"} {
		w := tcp(report(), method, "/")
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%s: status %d, %q", method, w.Code, w.Body)
		}
	}
	if w := tcp(report(), "HEAD", "/metrics"); w.Code != 200 {
		t.Errorf("HEAD: status %d", w.Code)
	}
}

// A site that gives its name the address of this host cannot read the status.
func TestOnlyHostsOfThisMachineAreServed(t *testing.T) {
	for host, allowed := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:9465": true, "10.1.2.3:80": true, "[::1]:9465": true, "[::1]": true, "[fe80::1%25eth0]:1": true,
		"localhost": true, "LocalHost:9465": true, "localhost.": true, "node1:9465": true, "NODE1": true, "status.example.com": true,
		"": true, // not a browser

		"evil.example.com": false, "evil.example.com:9465": false, "localhost.evil.example.com": false, "127.0.0.1.evil.example.com": false,
		"node1.evil.example.com": false, ":9465": false, ".": false, "<script>": false, "localhost\n": false, "0x7f.1": false,
	} {
		want := http.StatusMisdirectedRequest
		if allowed {
			want = http.StatusOK
		}
		w := tcp(report(), "GET", "/", "Host", host)
		if w.Code != want || !allowed && strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%q: status %d, want %d: %q", host, w.Code, want, w.Body)
		}
	}
}

func TestPagesOfOtherSitesAreNotAnswered(t *testing.T) {
	for _, tc := range []struct {
		header []string
		status int
	}{
		{nil, 200},
		{[]string{"Origin", "http://127.0.0.1:9465"}, 200},
		{[]string{"Origin", "http://127.0.0.1:8080"}, 403},
		{[]string{"Origin", "https://evil.example.com"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Origin", "http://%zz"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, 200},
		{[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200}, // a link
		{[]string{"Sec-Fetch-Site", "nonsense"}, 403},
	} {
		if w := tcp(report(), "GET", "/", tc.header...); w.Code != tc.status {
			t.Errorf("%q: status %d, want %d", tc.header, w.Code, tc.status)
		}
	}
}

func TestProbesSayWhy(t *testing.T) {
	r := report()
	r.Region = ""
	r.Containers[0].Name = "a\nb\x1b[31m"
	r.Containers[0].Undelivered = status.Backlog{Bytes: 7, Oldest: r.Time.Add(-6 * time.Minute)}
	for path, want := range map[string]string{
		"/healthz": `a b\x1b[31m: 7 bytes are undelivered, the oldest for 6m0s: no AWS region is known; set AWS_REGION` + "\n",
		"/readyz":  "no AWS region is known; set AWS_REGION\n",
	} {
		w := tcp(r, "GET", path)
		if w.Code != 503 || w.Body.String() != want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: status %d, %q", path, w.Code, w.Body)
		}
	}
}

// freeAddr returns an address that nobody uses. No client of another program has an address of
// this kind, as 127.0.0.1.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.9.4.65:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, req)
}

// A port that is in use is a fault. The status is served when the port is free.
func TestAddressIsServedWhenItIsFree(t *testing.T) {
	other, err := net.Listen("tcp", "127.9.4.65:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := other.Addr().String()
	servers, log := startServers(t, Options{StateDir: stateDir(t), Addr: addr})
	log.wait(t, "cannot listen at STATUS_ADDR")
	if faults := log.set.Ongoing(); len(faults) != 1 || !strings.Contains(faults[0].Attrs["err"], "in use") ||
		faults[0].Attrs["addr"] != addr || !strings.Contains(faults[0].Attrs["hint"], "other program") {
		t.Errorf("faults: %+v", faults)
	}
	other.Close()
	log.wait(t, "STATUS_ADDR is served again")
	if code, body := get(t, "http://"+addr+"/healthz"); code != 200 {
		t.Errorf("status %d: %s", code, body)
	}
	if faults := log.set.Ongoing(); len(faults) > 0 {
		t.Errorf("the fault remains: %+v", faults)
	}
	servers.Stop()
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the address is served after the stop")
	}
}

func TestAddressThatTheHostDoesNotHaveIsAFault(t *testing.T) {
	_, log := startServers(t, Options{StateDir: stateDir(t), Addr: "192.0.2.1:9465"})
	log.wait(t, "cannot listen at STATUS_ADDR")
	log.wait(t, "the host does not have the address")
}

func TestAddressThatOtherHostsReachIsAWarning(t *testing.T) {
	_, port, _ := net.SplitHostPort(freeAddr(t))
	_, log := startServers(t, Options{StateDir: stateDir(t), Addr: "0.0.0.0:" + port})
	log.wait(t, "level=WARN msg=\"other hosts may reach the status page, which asks for no password\"")
}

func TestHugeHeadersAreRefused(t *testing.T) {
	addr := freeAddr(t)
	_, log := startServers(t, Options{StateDir: stateDir(t), Addr: addr})
	log.wait(t, "the status page and the metrics are served")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 1<<20))
	}()
	answer, _ := io.ReadAll(c) // the server may reset the connection after its answer
	if !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") && len(answer) > 0 {
		t.Errorf("%.100q", answer)
	}
}

// pipes is a listener whose clients wait in a queue, as in the kernel.
type pipes struct {
	net.Listener
	queue  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.queue:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error { close(p.closed); return nil }

// A client takes a descriptor only when one of the connections is free.
func TestConnectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipes{queue: make(chan net.Conn, 4), closed: make(chan struct{})}
		for range 4 {
			c, _ := net.Pipe()
			l.queue <- c
		}
		limited := limitConns(l, 2)
		var open []net.Conn
		var ended error
		go func() {
			for {
				c, err := limited.Accept()
				if err != nil {
					ended = err
					return
				}
				open = append(open, c)
			}
		}()
		check := func(when string, want int) {
			t.Helper()
			if synctest.Wait(); len(open) != want {
				t.Errorf("%s: %d connections were accepted, want %d", when, len(open), want)
			}
		}
		check("at first", 2)
		first := open[0]
		first.Close()
		first.Close() // frees one slot, not two
		check("after one was closed", 3)
		limited.Close()
		if synctest.Wait(); !errors.Is(ended, net.ErrClosed) {
			t.Errorf("Accept returned %v", ended)
		}
	})
}

// The servers end with the plugin, even while a client does not read its answer.
func TestStopDoesNotWaitForClients(t *testing.T) {
	addr := freeAddr(t)
	asked, release := make(chan struct{}), make(chan struct{})
	page := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(asked); <-release })
	servers, log := startServers(t, Options{StateDir: stateDir(t), Addr: addr, Page: page})
	log.wait(t, "the status page and the metrics are served")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-asked
	servers.Stop()
	if err := <-answered; err == nil {
		t.Error("the answer is complete")
	}
	close(release)
}
