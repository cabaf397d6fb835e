// Package pluginregistry serves one managed plugin from a directory as a registry, so that
// `docker plugin install` and `docker plugin upgrade` work without one. It is read-only. It
// implements what dockerd asks for when it pulls a plugin (OCI Distribution Specification,
// "Pull"; moby, plugin/backend_linux.go and plugin/fetch_linux.go).
//
// The package must not know what the plugin does.
package pluginregistry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	configType   = "application/vnd.docker.plugin.v1+json"
	layerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// blob is something that a registry serves under its digest.
type blob struct {
	MediaType string `json:"mediaType"`
	Size      int    `json:"size"`
	Digest    string `json:"digest"`

	data []byte
}

func newBlob(mediaType string, data []byte) blob {
	return blob{MediaType: mediaType, Size: len(data), Digest: digest(data), data: data}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Registry is an http.Handler that serves one plugin under every repository and tag.
type Registry struct {
	manifest blob
	blobs    map[string]blob // blobs has the configuration and the layer by their digests.
}

// New reads the plugin in dir: config.json and rootfs, as for `docker plugin create`. It keeps
// the compressed root file system in memory.
func New(dir string) (*Registry, error) {
	layer, diffID, err := packRootFS(filepath.Join(dir, "rootfs"))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the plugin's root file system: %w", err)
	}
	config, err := readConfig(filepath.Join(dir, "config.json"), diffID)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the plugin's config.json: %w", err)
	}
	c, l := newBlob(configType, config), newBlob(layerType, layer)
	manifest, err := json.Marshal(struct {
		SchemaVersion int    `json:"schemaVersion"`
		MediaType     string `json:"mediaType"`
		Config        blob   `json:"config"`
		Layers        []blob `json:"layers"`
	}{2, manifestType, c, []blob{l}})
	if err != nil {
		return nil, err
	}
	return &Registry{newBlob(manifestType, manifest), map[string]blob{c.Digest: c, l.Digest: l}}, nil
}

// readConfig returns the plugin's configuration with the digest of its root file system, which
// dockerd compares with the layer.
func readConfig(path, diffID string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, err
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": []string{diffID}}
	return json.Marshal(config)
}

// packRootFS returns the compressed archive of a directory, and the digest of the archive
// before compression. Equal directories give equal bytes.
func packRootFS(root string) (layer []byte, diffID string, err error) {
	var out bytes.Buffer
	plain := sha256.New()
	zip, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	archive := tar.NewWriter(io.MultiWriter(zip, plain))
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		return addFile(archive, root, path, d)
	})
	if err != nil {
		return nil, "", err
	}
	if err := archive.Close(); err != nil {
		return nil, "", err
	}
	if err := zip.Close(); err != nil {
		return nil, "", err
	}
	return out.Bytes(), "sha256:" + hex.EncodeToString(plain.Sum(nil)), nil
}

func addFile(archive *tar.Writer, root, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	h.Name, err = filepath.Rel(root, path)
	if err != nil {
		return err
	}
	if d.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "root", "root" // the files belong to the user who unpacked them
	if err := archive.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(archive, f)
	return err
}

// ServeHTTP answers dockerd's requests.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	path := q.URL.Path
	_, reference, isManifest := strings.Cut(path, "/manifests/")
	_, wanted, isBlob := strings.Cut(path, "/blobs/")
	b, known := r.blobs[wanted]
	switch {
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
	case path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case isBlob && known:
		send(w, q, b)
	case isManifest && (!strings.HasPrefix(reference, "sha256:") || reference == r.manifest.Digest):
		send(w, q, r.manifest)
	default:
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "not found: "+path)
	}
}

func send(w http.ResponseWriter, q *http.Request, b blob) {
	w.Header().Set("Content-Type", b.MediaType)
	w.Header().Set("Content-Length", strconv.Itoa(b.Size))
	w.Header().Set("Docker-Content-Digest", b.Digest)
	if q.Method == http.MethodGet {
		_, _ = w.Write(b.data)
	}
}

// refuse answers with an error in the form of the specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
