package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/config"
)

// FuzzRequest sends any body to each endpoint. The answer has the protocol's form, nothing is
// created outside the state directory, and the driver continues to work.
func FuzzRequest(f *testing.F) {
	dir := f.TempDir()
	settings, problems := config.Load([]string{"STATE_DIR=" + filepath.Join(dir, "state"), "PLUGIN_SOCKET=" + filepath.Join(dir, "s")})
	if problems != nil {
		f.Fatal(problems)
	}
	d, err := New(Options{
		Settings: settings, Deliverer: newFakeDeliverer(), Locator: fakeLocator{}, FIFODir: filepath.Join(dir, "fifos"),
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	d.Start()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		f.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Handler().Serve(l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "s"))
	}}
	f.Cleanup(func() {
		transport.CloseIdleConnections()
		l.Close()
		<-served
		d.StopIntake()
		d.Close()
	})
	paths := []string{"/LogDriver.StartLogging", "/LogDriver.StopLogging", "/LogDriver.Capabilities", "/Plugin.Activate", "/LogDriver.ReadLogs"}
	for i, body := range []string{
		``, `{`, `null`, `[]`, `{"File":"` + dir + `/fifos/x","Info":{"ContainerID":"x","Config":{"group":"{{.Name}}"}}}`,
		`{"File":"/run/docker/logging/../x","Info":{"ContainerID":"../../etc","ContainerEnv":["LOGSPOUT=ignore"]}}`,
		`{"Info":{"ContainerID":"x"},"Config":{"Tail":-1,"Follow":true,"Since":"2030-01-01T00:00:00Z"}}`,
		`{"Info":{"ContainerID":"x","Config":{"history-size":"0"}},"Config":{"Tail":9223372036854775807}}`,
		`{"File":1,"Info":{"Config":{"delay":null},"ContainerLabels":null}}`, "{\"File\":\"\\u0000\"}",
	} {
		f.Add(uint8(i), []byte(body))
		f.Add(uint8(4), []byte(body))
	}
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		r, err := http.NewRequest(http.MethodPost, "http://plugin"+paths[int(path)%len(paths)], bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(r)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		defer answer.Body.Close()
		p, err := io.ReadAll(answer.Body)
		reading := paths[int(path)%len(paths)] == "/LogDriver.ReadLogs"
		switch status := answer.StatusCode; {
		case err == nil && reading && status == http.StatusOK && len(p) == 0: // nothing is known of any container
		case err != nil || !json.Valid(p) || bytes.Count(p, []byte("\n")) != 1:
			t.Errorf("answered %q, %v", p, err)
		case reading && status == http.StatusInternalServerError:
		case reading && status == http.StatusOK, status != http.StatusOK && status != http.StatusBadRequest:
			t.Errorf("status %d", status)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "state" && e.Name() != "s" {
				t.Errorf("%s came to be", e.Name())
			}
		}
	})
}
