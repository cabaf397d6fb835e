//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// registry implements the part of the distribution API (OCI Distribution Specification)
// that is needed to push a plugin and to upgrade to it. It keeps everything in memory, and
// checks the digests.
type registry struct {
	mu        sync.Mutex
	blobs     map[string][]byte   // by digest
	manifests map[string]manifest // by repository and tag or digest
	uploads   map[string][]byte   // by path
}

type manifest struct {
	mediaType, digest string
	data              []byte
}

// newRegistry starts a registry on a loopback address, for which dockerd uses HTTP, and
// returns the address.
func newRegistry(t *testing.T) (address string) {
	r := &registry{blobs: map[string][]byte{}, manifests: map[string]manifest{}, uploads: map[string][]byte{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	path := q.URL.Path
	name, reference, isManifest := strings.Cut(path, "/manifests/")
	_, digest, isBlob := strings.Cut(path, "/blobs/")
	switch {
	case path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case strings.Contains(path, "/blobs/uploads/"):
		r.upload(w, q, body)
	case isBlob:
		data, ok := r.blobs[digest]
		answer(w, q, ok, manifest{"application/octet-stream", digest, data})
	case isManifest && q.Method == http.MethodPut:
		m := manifest{q.Header.Get("Content-Type"), digestOf(body), body}
		r.manifests[name+"@"+reference], r.manifests[name+"@"+m.digest] = m, m
		w.Header().Set("Docker-Content-Digest", m.digest)
		w.WriteHeader(http.StatusCreated)
	case isManifest:
		m, ok := r.manifests[name+"@"+reference]
		answer(w, q, ok, m)
	default:
		http.NotFound(w, q)
	}
}

func answer(w http.ResponseWriter, q *http.Request, ok bool, m manifest) {
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": "NOT_FOUND", "message": q.URL.Path}}})
		return
	}
	w.Header().Set("Content-Type", m.mediaType)
	w.Header().Set("Docker-Content-Digest", m.digest)
	w.Header().Set("Content-Length", fmt.Sprint(len(m.data)))
	if q.Method != http.MethodHead {
		_, _ = w.Write(m.data)
	}
}

// upload receives a blob: POST begins it, PATCH appends to it, and PUT ends it.
func (r *registry) upload(w http.ResponseWriter, q *http.Request, body []byte) {
	path := q.URL.Path
	if q.Method == http.MethodPost {
		path += fmt.Sprint(len(r.uploads))
		r.uploads[path] = nil
	}
	data := append(r.uploads[path], body...)
	r.uploads[path] = data
	w.Header().Set("Location", path)
	w.Header().Set("Docker-Upload-UUID", path[strings.LastIndexByte(path, '/')+1:])
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(data)-1)))
	if q.Method != http.MethodPut {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	digest := q.URL.Query().Get("digest")
	if digest != digestOf(data) {
		http.Error(w, "the blob is not what its digest says", http.StatusBadRequest)
		return
	}
	r.blobs[digest] = data
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
}
