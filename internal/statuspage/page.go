// Package statuspage shows the state of the plugin in a browser.
//
// The page is rendered on the server, and works without scripts. With scripts it fetches
// itself every few seconds and replaces what has changed. Names, options and errors come from
// the owners of containers, so html/template escapes all of them, and a Content-Security-Policy
// forbids everything but the page's own files.
//
// The package must not know how the plugin works: it shows a status.Report. It neither checks
// who asks nor protects against slow clients, because its server does.
package statuspage

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// policy is the page's Content-Security-Policy. The page has no inline script and no inline
// style.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const (
	// maxRows is how many containers the page shows unless it is asked for all.
	maxRows = 200
	// maxCosts is how many containers and groups the tables of costs show unless the page is
	// asked for all.
	maxCosts = 15
	// maxItems is how many faults and services the page shows.
	maxItems = 20

	// refresh is how often the page updates itself, and refreshAll how often if it shows more
	// than maxRows containers.
	refresh    = 5 * time.Second
	refreshAll = 20 * time.Second
)

// Options configure a page. The zero value is valid.
type Options struct {
	// Usage returns what was ingested. If it is nil, the page has no costs.
	Usage func() status.Usage
	// PricePerGB is the price of 2^30 ingested bytes. If it is 0, the page shows bytes only.
	PricePerGB float64
	// Refresh is how often the page updates itself. 0 means every 5 seconds.
	Refresh time.Duration
}

//go:embed page.html assets
var files embed.FS

// pageTemplate is parsed for the first page, because most plugins serve none.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page.html").Funcs(functions).ParseFS(files, "page.html"))
})

// handler serves the page.
type handler struct {
	Options
	source status.Source
	assets *assets
}

// New returns the handler of the page: GET / and the files below /assets/. It answers from
// what the source has, and holds nothing while it renders or writes.
func New(source status.Source, o Options) http.Handler {
	o.Refresh = cmp.Or(o.Refresh, refresh)
	h := &handler{Options: o, source: source, assets: loadAssets()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.serve)
	mux.HandleFunc("GET /assets/{name}", h.assets.serve)
	return mux
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	query := parseQuery(r.URL.Query())
	// The page is rendered as a whole before it is sent, so that an error is not half a page.
	var b bytes.Buffer
	if err := pageTemplate().Execute(&b, h.view(query)); err != nil {
		http.Error(w, "cannot render the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", policy)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", fmt.Sprint(b.Len()))
	w.Write(b.Bytes()) // An error means that the client is gone.
}
