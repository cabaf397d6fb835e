package statuspage

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/status"
)

func get(t *testing.T, h http.Handler, method, address string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, address, nil))
	r := w.Result()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

func newPage(r *status.Report) http.Handler {
	return New(&sample{report: r}, Options{Usage: sampleUsage, PricePerGB: 0.5})
}

func TestPageAnswersGetOfItsPathsOnly(t *testing.T) {
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"GET", "/?sort=age&desc&all", 200}, {"GET", "/?sort=nothing", 200}, {"GET", "/?%zz", 200},
		{"POST", "/", 405}, {"DELETE", "/", 405}, {"POST", "/assets/page.css", 405},
		{"GET", "/assets/page.css", 200}, {"GET", "/assets/page.js", 200}, {"GET", "/assets/icon.svg", 200},
		{"GET", "/assets/", 404}, {"GET", "/assets/page.html", 404}, {"GET", "/index.html", 404}, {"GET", "/page.html", 404},
		{"GET", "/assets/..%2fpage.html", 404},
	} {
		if r, _ := get(t, newPage(healthyReport()), c.method, c.path); r.StatusCode != c.want {
			t.Errorf("%s %s: %s, want %d", c.method, c.path, r.Status, c.want)
		}
	}
}

func TestPageShowsReport(t *testing.T) {
	_, body := get(t, newPage(troubledReport()), "GET", "/")
	for _, want := range []string{
		"Not delivering 1 of 7 containers since 03:12 UTC:", "Allow logs:PutLogEvents on the log group /shop/jobs.",
		"48,211", "9 MiB", "11 h 20 min", ">12</span>", "too_old", "nginx-error", "stderr",
		"throttled", "arn:aws-us-gov:iam::210987654321:role/audit", "ThrottlingException: Rate exceeded.",
		"1.572 GiB of 4 GiB", "61 of 1024", "v0.9.0", "3 d 3 h", "14:32:08", "eu-central-1",
		"11.06 GiB", "$5.53", "$480.", "$0.50 a GB",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestPageShowsEmptyReport(t *testing.T) {
	r, body := get(t, New(&sample{report: &status.Report{Time: sampleTime, Reattached: true, Region: "r1", Identity: "arn:x"}}, Options{}), "GET", "/?all")
	if r.StatusCode != 200 || !strings.Contains(body, "Ready. No container uses the plugin now.") {
		t.Errorf("%s: %s", r.Status, body)
	}
	if strings.Contains(body, "Cost") {
		t.Error("the page has costs, but nobody counts them")
	}
}

// A policy that forbids inline scripts and styles must not break the page.
func TestPageHasNoInlineScriptsAndStyles(t *testing.T) {
	r, body := get(t, newPage(troubledReport()), "GET", "/?all")
	for _, forbidden := range []string{"<style", " style=", "<script>", "javascript:", "<form", "<iframe"} {
		if strings.Contains(body, forbidden) {
			t.Errorf("the page has %s", forbidden)
		}
	}
	if m := regexp.MustCompile(`\son[a-z]+=`).FindString(body); m != "" {
		t.Errorf("the page has %s", m)
	}
	if !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'; script-src 'self';") {
		t.Errorf("the policy is %q", r.Header.Get("Content-Security-Policy"))
	}
	for _, m := range regexp.MustCompile(`(?:src|<link[^>]*href)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		if !strings.HasPrefix(m[1], "assets/") {
			t.Errorf("the page loads %s", m[1])
		}
	}
}

func TestPageEscapesEveryText(t *testing.T) {
	h := New(&sample{report: hostileReport()}, Options{Usage: hostileUsage, PricePerGB: 0.5})
	for _, address := range []string{"/", "/?all&sort=stream", "/?sort=<script>alert(1)</script>"} {
		_, body := get(t, h, "GET", address)
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") || strings.Contains(body, "\u202e") || strings.Contains(body, "\x1b") {
			t.Errorf("%s: a text is not escaped", address)
		}
		if n := strings.Count(body, "<script"); n != 1 {
			t.Errorf("%s: the page has %d scripts", address, n)
		}
		if !strings.HasSuffix(body, "</html>\n") {
			t.Errorf("%s: the page is not complete", address)
		}
	}
}

func TestPageShowsNoPassword(t *testing.T) {
	for _, endpoint := range []string{"https://user:s3cret@proxy.example:8443", "https://user:s3cret@proxy.example:port"} {
		r := healthyReport()
		r.Services[0].Endpoint = endpoint
		_, body := get(t, newPage(r), "GET", "/")
		if strings.Contains(body, "s3cret") || !strings.Contains(body, "proxy.example:") {
			t.Errorf("the page shows the password of %s, or not its host", endpoint)
		}
	}
}

func TestPageIsBounded(t *testing.T) {
	s := &sample{report: manyContainers(1000)}
	for range 5000 {
		s.report.Faults = append(s.report.Faults, troubledReport().Faults[0])
		s.report.Services = append(s.report.Services, troubledReport().Services[0])
	}
	h := New(s, Options{})
	_, body := get(t, h, "GET", "/?sort=lines&desc")
	if n := strings.Count(body, `data-key="c-`); n != maxRows {
		t.Errorf("the page has %d containers", n)
	}
	if n := strings.Index(body, "container-0090"); n < 0 {
		t.Error("the page lacks a container that comes first in its order")
	}
	if len(body) > 500_000 {
		t.Errorf("the page has %d bytes", len(body))
	}
	if !strings.Contains(body, `href="./?sort=lines&amp;desc&amp;all"`) {
		t.Error("no link leads to all containers in the same order")
	}
	_, all := get(t, h, "GET", "/?all")
	if n := strings.Count(all, `data-key="c-`); n != 1000 {
		t.Errorf("the page with all has %d containers", n)
	}
	if len(all) > 2_500_000 {
		t.Errorf("the page with all has %d bytes", len(all))
	}
}

// A page with 1,000 containers takes the same time whatever it is asked for.
func BenchmarkPage(b *testing.B) {
	h := newPage(manyContainers(1000))
	for _, address := range []string{"/", "/?all"} {
		b.Run(address, func(b *testing.B) {
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", address, nil))
			}
		})
	}
}

// slowWriter is a client that reads nothing until it may.
type slowWriter struct {
	*httptest.ResponseRecorder
	writing chan<- struct{}
	read    <-chan struct{}
}

func (w slowWriter) Write(p []byte) (int, error) {
	w.writing <- struct{}{}
	<-w.read
	return w.ResponseRecorder.Write(p)
}

// A client that does not read holds up nobody: the source is asked, and other clients are served.
func TestPageHoldsNothingForSlowClient(t *testing.T) {
	s := &sample{report: healthyReport()}
	h := New(s, Options{})
	writing, read, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(slowWriter{httptest.NewRecorder(), writing, read}, httptest.NewRequest("GET", "/", nil))
	}()
	<-writing
	s.set(troubledReport())
	if _, body := get(t, h, "GET", "/"); !strings.Contains(body, "Not delivering") {
		t.Error("another client does not get the newest report")
	}
	close(read)
	<-done
}

func TestAssetsAreKeptWhileTheyAreTheSame(t *testing.T) {
	h := newPage(healthyReport())
	_, body := get(t, h, "GET", "/")
	for _, m := range regexp.MustCompile(`"(assets/[^"]*)"`).FindAllStringSubmatch(body, -1) {
		r, content := get(t, h, "GET", "/"+m[1])
		if r.StatusCode != 200 || content == "" || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %s, %v", m[1], r.Status, r.Header)
		}
		if r.Header.Get("Content-Type") == "" || strings.Contains(r.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s has the type %q", m[1], r.Header.Get("Content-Type"))
		}
	}
	if r, _ := get(t, h, "GET", "/assets/page.css?v=older"); r.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("another version of a file may be kept: %v", r.Header)
	}
}
