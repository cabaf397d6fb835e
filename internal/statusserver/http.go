package statusserver

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
)

// onlyRead answers requests that are not GET or HEAD with one line.
func onlyRead(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the method is not allowed: use GET", http.StatusMethodNotAllowed)
			return
		}
		h(w, r)
	}
}

// securityHeaders are on every answer at STATUS_ADDR. A page of another origin can neither
// read nor frame the status, and injected markup cannot load or run anything. There are no
// CORS headers, on purpose. A handler may replace a header.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cache-Control":                "no-store",
}

// handler serves the page, the metrics and the probes.
func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", probe("delivering", func(r *status.Report) (bool, []string) { return r.Health(o.MaxAge) }, o.Source))
	mux.HandleFunc("/readyz", probe("ready", (*status.Report).Ready, o.Source))
	mux.Handle("/metrics", orNotFound(o.Metrics))
	mux.Handle("/", orNotFound(o.Page))
	hosts := allowedHosts(o.Addr, o.Host)
	return onlyRead(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range securityHeaders {
			w.Header().Set(name, value)
		}
		switch {
		case !hosts.allow(r.Host):
			http.Error(w, "the host "+oneline.Quote(r.Host, maxShown)+" is not served here: use an IP address, localhost, the host's name or the name in STATUS_ADDR",
				http.StatusMisdirectedRequest)
		case crossOrigin(r):
			http.Error(w, "requests of other sites are not answered", http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// maxShown is how much of a client's text an answer repeats.
const maxShown = 80

func orNotFound(h http.Handler) http.Handler {
	if h == nil {
		return http.NotFoundHandler()
	}
	return h
}

// probe answers with status 200 and one word, or with 503 and one line for each reason.
func probe(good string, judge func(*status.Report) (bool, []string), s status.Source) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		ok, reasons := judge(s.Report())
		if ok {
			fmt.Fprintln(w, good)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		for _, reason := range reasons {
			fmt.Fprintln(w, oneline.Text(reason, maxReason))
		}
	}
}

// maxReason is the length of one line of a probe's answer.
const maxReason = 2 << 10

// hosts are the names under which the status is served. A page of another site can give its own
// name the address of this host (DNS rebinding). The browser then takes the status for a part
// of that site, but sends the site's name in Host.
type hosts map[string]bool

// allowedHosts returns the host of the address addr, the machine's name and localhost.
func allowedHosts(addr, machine string) hosts {
	host, _, _ := net.SplitHostPort(addr) // config has checked it
	return hosts{"localhost": true, normal(host): true, normal(machine): true}
}

// allow reports whether a request with this Host is served. A site cannot have an IP address
// as its name. A request without a Host does not come from a browser.
func (h hosts) allow(host string) bool {
	if host == "" {
		return true
	}
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = normal(name)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name != "" && h[name]
}

func normal(host string) string {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// crossOrigin reports whether a browser sends the request for a page of another site. A link
// to the status is allowed: the other site cannot see where it leads.
func crossOrigin(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !link
}

// newServer returns a server with limits that no client can stretch. writeTime is how long an
// answer may take.
func newServer(h http.Handler, writeTime time.Duration) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      writeTime,
		IdleTimeout:       15 * time.Second,
		MaxHeaderBytes:    8 << 10,

		DisableGeneralOptionsHandler: true,
	}
}
