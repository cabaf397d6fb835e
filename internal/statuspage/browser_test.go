//go:build e2e

package statuspage

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/logspool/logspool/internal/status"
)

// patience is how long a test waits for something in the browser.
const patience = 30 * time.Second

// chromium starts a headless Chromium for all tests. It is Debian's package.
var chromium = sync.OnceValues(func() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1280, 900))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses root.
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(ctx)
	stopChromium = func() { cancel(); stop() }
	return ctx, chromedp.Do(ctx)
})

var stopChromium = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopChromium()
	os.Exit(code)
}

// tab is a tab of the browser. It fails its test if the page logs an error, breaks its own
// policy, or opens a dialog.
type tab struct {
	*testing.T
	ctx context.Context
}

func newTab(t *testing.T) tab {
	t.Helper()
	browser, err := chromium()
	if err != nil {
		if os.Getenv("LOGSPOOL_E2E") == "required" {
			t.Fatalf("%v: install Debian's package chromium", err)
		}
		t.Skipf("%v: install Debian's package chromium", err)
	}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithListener(func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the script failed: %+v", ev.ExceptionDetails)
		case *runtime.EventConsoleAPICalled:
			t.Errorf("the page called console.%s", ev.Type)
		case *log.EventEntryAdded:
			// A test that makes the plugin not answer expects failed requests.
			if ev.Entry.Source != log.EntrySourceNetwork {
				t.Errorf("the browser logged: %s: %s", ev.Entry.Source, ev.Entry.Text)
			}
		case *page.EventJavascriptDialogOpening:
			t.Errorf("a dialog opened: %s", ev.Message)
		}
	}))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	// The first call must not have a time limit, because it would be the browser's.
	ctx, cancelTime := context.WithTimeout(ctx, 2*patience)
	t.Cleanup(cancelTime)
	b := tab{t, ctx}
	call(b, log.Enable, cdp.Empty{})
	return b
}

func (t tab) open(address string) {
	t.Helper()
	if err := chromedp.Do(t.ctx, chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
}

// call sends a command to the browser.
func call[P, R any](t tab, command cdp.Command[P, R], params P) R {
	t.Helper()
	result, err := chromedp.Call(t.ctx, command, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// js runs JavaScript.
func (t tab) js(code string) {
	t.Helper()
	if err := chromedp.Do(t.ctx, chromedp.Evaluate[chromedp.Void](code+"; undefined")); err != nil {
		t.Fatal(err)
	}
}

// eval returns the value of a JavaScript expression.
func eval[T any](t tab, expression string) T {
	t.Helper()
	value, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// waitFor waits until a JavaScript expression is true.
func (t tab) waitFor(expression string) {
	t.Helper()
	if err := chromedp.Do(t.ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience))); err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
}

// waitUntil waits until something is true outside of the browser.
func (t tab) waitUntil(what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-t.ctx.Done():
			t.Fatalf("%s: %v", what, t.ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// viewport makes the tab as large as the window of a desktop.
func (t tab) viewport(width, height int64) {
	t.Helper()
	if err := chromedp.Do(t.ctx, chromedp.EmulateViewport(width, height)); err != nil {
		t.Fatal(err)
	}
}

// phone makes the tab as wide as a small phone.
func (t tab) phone() {
	t.Helper()
	if err := chromedp.Do(t.ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile, chromedp.EmulateScale(2))); err != nil {
		t.Fatal(err)
	}
}

func (t tab) colours(scheme string) {
	t.Helper()
	call(t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// server serves a page as the plugin does.
type server struct {
	*httptest.Server
	sample *sample
	// silent makes the server answer with an error, and served counts the pages.
	silent atomic.Bool
	served atomic.Int64
}

func serve(t tab, r *status.Report, o Options) *server {
	t.Helper()
	s := &server{sample: &sample{report: r}}
	if o.Usage == nil {
		o.Usage = sampleUsage
	}
	o.PricePerGB = 0.63
	handler := New(s.sample, o)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.silent.Load() {
			http.Error(w, "stopped", http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/" {
			s.served.Add(1)
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

const (
	names    = `[...document.querySelectorAll('.containers tbody bdi')].filter(e => e.closest('th')).map(e => e.textContent).join(' ')`
	wide     = `[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 360).slice(0, 5).map(e => e.outerHTML.slice(0, 80))`
	overflow = `document.documentElement.scrollWidth - document.documentElement.clientWidth`
)

func TestBrowserSortsWithoutReload(t *testing.T) {
	b := newTab(t)
	s := serve(b, troubledReport(), Options{Refresh: time.Hour})
	b.open(s.URL)
	if got, want := eval[string](b, names), "worker api-1 api-2 audit cart nginx postgres"; got != want {
		t.Errorf("the containers are %s, want those with errors first: %s", got, want)
	}
	b.js(`
		window.same = true;
		window.scrollTo(0, 120);
		[...document.querySelectorAll('td a')].find(a => a.textContent === 'nginx-error').focus({preventScroll: true})`)
	b.js(`document.getElementById('sort-lines').click()`)
	b.waitFor(`document.querySelector('[aria-sort] a').id === 'sort-lines'`)
	if got, want := eval[string](b, names), "nginx api-1 api-2 cart postgres worker audit"; got != want {
		t.Errorf("by lines per second, the containers are %s, want %s", got, want)
	}
	if got := eval[string](b, `document.activeElement.textContent`); got != "nginx-error" {
		t.Errorf("a row has moved, and the focus is now on %q", got)
	}
	b.js(`document.getElementById('sort-name').click()`)
	b.waitFor(`document.querySelector('[aria-sort] a').id === 'sort-name'`)
	b.js(`document.getElementById('sort-name').click()`)
	b.waitFor(`document.querySelector('[aria-sort]').getAttribute('aria-sort') === 'descending'`)
	if got, want := eval[string](b, names), "worker postgres nginx cart audit api-2 api-1"; got != want {
		t.Errorf("by name, descending, the containers are %s, want %s", got, want)
	}
	if !eval[bool](b, `window.same === true && window.scrollY === 120`) {
		t.Error("sorting has loaded or scrolled the page")
	}
	if got := eval[string](b, `location.search`); got != "?sort=name&desc" {
		t.Errorf("the address ends in %q", got)
	}
	b.js(`history.back()`)
	b.waitFor(`document.querySelector('[aria-sort]').getAttribute('aria-sort') === 'ascending'`)
}

func TestBrowserUpdatesInPlace(t *testing.T) {
	b := newTab(t)
	s := serve(b, healthyReport(), Options{Refresh: time.Second})
	b.viewport(1000, 500)
	b.open(s.URL + "/?sort=lines&desc")
	b.js(`
		window.row = document.querySelector('.containers tbody tr');
		document.getElementById('sort-group').focus({preventScroll: true});
		getSelection().selectAllChildren(row.querySelector('bdi'));
		window.scrollTo(0, 90)`)
	r := troubledReport()
	r.Time = r.Time.Add(5 * time.Second)
	s.sample.set(r)
	b.waitFor(`document.getElementById('updated').textContent === '14:32:13' && document.querySelector('.headline.bad')`)
	if got := eval[string](b, `document.title`); !strings.HasPrefix(got, "Not delivering") {
		t.Errorf("the title is %q", got)
	}
	for what, kept := range map[string]string{
		"the row of a container":      `row.isConnected && row.querySelector('bdi').textContent === 'nginx'`,
		"the focus":                   `document.activeElement.id === 'sort-group'`,
		"the selection":               `String(getSelection()) === 'nginx'`,
		"the position of the window":  `window.scrollY === 90`,
		"the order of the containers": `document.querySelector('[aria-sort] a').id === 'sort-lines'`,
	} {
		if !eval[bool](b, kept) {
			t.Errorf("an update has lost %s", what)
		}
	}
	r = healthyReport()
	r.Time, r.Containers = r.Time.Add(10*time.Second), r.Containers[1:2]
	s.sample.set(r)
	b.waitFor(`document.getElementById('updated').textContent === '14:32:18'`)
	if got := eval[string](b, names); got != "api-2" {
		t.Errorf("one container is left, but the table has %q", got)
	}
}

func TestBrowserSaysThatThePluginDoesNotAnswer(t *testing.T) {
	b := newTab(t)
	s := serve(b, healthyReport(), Options{Refresh: time.Second})
	b.open(s.URL)
	s.silent.Store(true)
	b.waitFor(`!document.getElementById('notice').hidden && document.getElementById('notice').textContent.includes('does not answer')`)
	if got := eval[string](b, names); got == "" {
		t.Error("the last state is not shown any more")
	}
	s.silent.Store(false)
	b.waitFor(`document.getElementById('notice').hidden`)
}

func TestBrowserDoesNotUpdateHiddenTab(t *testing.T) {
	b := newTab(t)
	s := serve(b, healthyReport(), Options{Refresh: time.Hour})
	// The timers of the page, in place of time. The test itself has shorter ones.
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
			window.timers = new Set();
			const set = setTimeout, clear = clearTimeout;
			window.setTimeout = (f, ms) => { const id = set(f, ms); if (ms === 3600000) timers.add(id); return id; };
			window.clearTimeout = (id) => { timers.delete(id); clear(id); };
			window.visible = 'visible';
			Object.defineProperty(document, 'visibilityState', {get: () => visible});
			window.see = (v) => { visible = v; document.dispatchEvent(new Event('visibilitychange')); };`})
	b.open(s.URL)
	b.waitFor(`timers.size === 1`)
	if n := eval[int](b, `see('hidden'), timers.size`); n != 0 {
		t.Errorf("a hidden page has %d timers", n)
	}
	before := s.served.Load()
	b.js(`see('visible')`)
	b.waitFor(`timers.size === 1`)
	if n := s.served.Load() - before; n != 1 {
		t.Errorf("a page that is visible again was fetched %d times", n)
	}
	r := healthyReport()
	r.Time = r.Time.Add(time.Second)
	s.sample.set(r)
	b.js(`see('visible'); see('hidden')`)
	b.waitFor(`document.getElementById('updated').textContent === '14:32:09'`)
	if n := eval[int](b, `timers.size`); n != 0 {
		t.Errorf("a page that was hidden during an update has %d timers", n)
	}
}

// Without scripts, the page loads itself again, and its links sort.
func TestBrowserWorksWithoutScripts(t *testing.T) {
	b := newTab(t)
	s := serve(b, troubledReport(), Options{Refresh: time.Second})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open(s.URL + "/?sort=age&desc")
	b.waitUntil("the page does not load itself again", func() bool { return s.served.Load() >= 3 })
	head, err := chromedp.Run(b.ctx, chromedp.AttributeValue(chromedp.CSS("#sort-lines"), "href"))
	if err != nil {
		t.Fatal(err)
	}
	if href := head.Value; href != "./?sort=lines&desc" {
		t.Errorf("the link that sorts leads to %q", href)
	}
}

func TestBrowserFitsPhone(t *testing.T) {
	for name, r := range map[string]*status.Report{
		"healthy": healthyReport(), "troubled": troubledReport(), "empty": {Time: sampleTime}, "hostile": hostileReport(), "many": manyContainers(1000),
	} {
		t.Run(name, func(t *testing.T) {
			b := newTab(t)
			s := serve(b, r, Options{Refresh: time.Hour})
			b.phone()
			b.open(s.URL)
			if by := eval[int](b, overflow); by > 0 {
				t.Errorf("the page is %d pixels wider than the phone: %v", by, eval[[]string](b, wide))
			}
		})
	}
}

// The text of both colour schemes has the contrast that WCAG asks for (level AA).
func TestBrowserTextHasContrast(t *testing.T) {
	for _, dark := range []bool{false, true} {
		b := newTab(t)
		s := serve(b, troubledReport(), Options{Refresh: time.Hour})
		if dark {
			b.colours("dark")
		}
		b.open(s.URL)
		if got := eval[bool](b, `(getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number).reduce((a, b) => a + b) < 200)`); got != dark {
			t.Errorf("the page is dark: %v, but should be: %v", got, dark)
		}
		for _, poor := range eval[[]string](b, `(() => {
			const parse = (c) => c.match(/[\d.]+/g).map(Number);
			const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
			const poor = new Set();
			const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
			while (walk.nextNode()) {
				const e = walk.currentNode.parentElement;
				if (!walk.currentNode.nodeValue.trim() || e.closest('[hidden]')) continue;
				let back = e;
				while (back && parse(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
				const a = light(parse(getComputedStyle(e).color)), b = light(parse(getComputedStyle(back).backgroundColor));
				const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
				if (ratio < 4.5) poor.add(e.className + ' ' + e.nodeName + ': ' + ratio.toFixed(1));
			}
			return [...poor];
		})()`) {
			t.Errorf("dark %v: too little contrast: %s", dark, poor)
		}
	}
}

func TestBrowserShowsHostileNamesAsText(t *testing.T) {
	for _, address := range []string{"/", "/?sort=name&all", "/?sort=%3Cscript%3Ealert(1)%3C/script%3E&desc"} {
		b := newTab(t)
		r := hostileReport()
		s := serve(b, r, Options{Refresh: time.Second, Usage: hostileUsage})
		b.open(s.URL + address)
		// The names go through the script, too.
		b.waitUntil("the page does not update itself", func() bool { return s.sample.reports() >= 3 })
		b.waitFor(`document.getElementById('notice').hidden`)
		if n := eval[int](b, `document.querySelectorAll('script').length`); n != 1 {
			t.Errorf("%s: the page has %d scripts", address, n)
		}
		if n := eval[int](b, `[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => /^(on|style$|srcdoc$)/.test(a.name)).length`); n != 0 {
			t.Errorf("%s: %d attributes came from names", address, n)
		}
		links := eval[[]string](b, `[...document.querySelectorAll('#page a')].map(a => a.protocol + a.hostname).filter(h => !/^http:127\.0\.0\.1$|^https:[a-z0-9-]+\.console\.aws\.amazon\.com$/.test(h))`)
		if len(links) != 0 {
			t.Errorf("%s: links lead to %q", address, links)
		}
		if !eval[bool](b, `document.querySelector('.containers tbody').textContent.includes('<script>alert(1)</script>')`) {
			t.Errorf("%s: a name is not shown as it is", address)
		}
	}
}

func TestBrowserShowsManyContainers(t *testing.T) {
	b := newTab(t)
	s := serve(b, manyContainers(1000), Options{Refresh: time.Hour})
	b.open(s.URL + "/?sort=name")
	rows := `document.querySelectorAll('.containers tbody tr').length`
	if n := eval[int](b, rows); n != maxRows {
		t.Errorf("%d containers are shown", n)
	}
	b.js(`[...document.querySelectorAll('a')].find(a => a.textContent === 'Show all').click()`)
	b.waitFor(rows + ` === 1000`)
	if got := eval[string](b, `document.querySelector('.containers tbody tr:last-child th').textContent`); !strings.Contains(got, fmt.Sprintf("container-%04d", 999)) {
		t.Errorf("the last container is %q", got)
	}
}
