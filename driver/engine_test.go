package driver

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

// TestEngineReturnsHostname: the engine returns the container's host name. Without a
// mounted socket the error is errNoEngine.
func TestEngineReturnsHostname(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	served := make(chan error, 1)
	go func() {
		served <- http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/containers/web/json" {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write([]byte(`{"Config":{"Hostname":"shop"}}`))
		}))
	}()
	defer func() { l.Close(); <-served }()
	if name, err := newEngine(socket).hostname(t.Context(), "web"); name != "shop" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	if _, err := newEngine(socket).hostname(t.Context(), "other"); err == nil || errors.Is(err, errNoEngine) {
		t.Errorf("an unknown container: %v", err)
	}
	for _, socket := range []string{"", "/dev/null", "/nowhere"} {
		if _, err := newEngine(socket).hostname(t.Context(), "web"); !errors.Is(err, errNoEngine) {
			t.Errorf("%q: %v", socket, err)
		}
	}
}
