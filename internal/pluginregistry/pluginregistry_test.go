package pluginregistry

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// pluginDir makes a directory as docker plugin create takes it.
func pluginDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "rootfs", "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"config.json": `{"entrypoint":["/p"]}`, "rootfs/p": "program"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestServesWhatDockerdPulls: the manifest names the configuration and the layer by the digests
// and the sizes of what is served for them.
func TestServesWhatDockerdPulls(t *testing.T) {
	r, err := New(pluginDir(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	get := func(path string) []byte {
		t.Helper()
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || path != "/v2/" && answer.Header.Get("Docker-Content-Digest") != digest(body) {
			t.Fatalf("GET %s: %s, %v, %v", path, answer.Status, answer.Header, err)
		}
		return body
	}
	get("/v2/")
	manifest := get("/v2/logspool/manifests/1.0")
	if string(get("/v2/logspool/manifests/"+digest(manifest))) != string(manifest) {
		t.Error("the digest names another manifest than the tag")
	}
	var m struct {
		Config blob
		Layers []blob
	}
	if err := json.Unmarshal(manifest, &m); err != nil || len(m.Layers) != 1 {
		t.Fatalf("%v: %s", err, manifest)
	}
	for _, b := range append(m.Layers, m.Config) {
		if body := get("/v2/logspool/blobs/" + b.Digest); digest(body) != b.Digest || len(body) != b.Size {
			t.Errorf("%+v has %d bytes", b, len(body))
		}
	}
}

// TestIsReadOnly: a registry refuses uploads, and what it does not have, with an error in the
// form of the specification.
func TestIsReadOnly(t *testing.T) {
	r, err := New(pluginDir(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPost, "/v2/logspool/blobs/uploads/", http.StatusMethodNotAllowed},
		{http.MethodPut, "/v2/logspool/manifests/1.0", http.StatusMethodNotAllowed},
		{http.MethodDelete, "/v2/logspool/manifests/1.0", http.StatusMethodNotAllowed},
		{http.MethodGet, "/v2/logspool/blobs/" + digest(nil), http.StatusNotFound},
		{http.MethodGet, "/v2/logspool/manifests/" + digest(nil), http.StatusNotFound},
		{http.MethodGet, "/", http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(k.method, k.path, nil))
		var answer struct{ Errors []struct{ Code string } }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != k.status || len(answer.Errors) != 1 || answer.Errors[0].Code == "" {
			t.Errorf("%s %s: %d, %s, %v", k.method, k.path, w.Code, w.Body, err)
		}
	}
}

// TestMissingPluginIsRefused: a directory without a plugin is one clear error.
func TestMissingPluginIsRefused(t *testing.T) {
	for _, name := range []string{"config.json", "rootfs"} {
		dir := pluginDir(t)
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := New(dir); err == nil {
			t.Errorf("a plugin without %s was accepted", name)
		}
	}
}
