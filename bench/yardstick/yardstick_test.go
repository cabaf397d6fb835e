package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// TestLinesArrive: the yardstick delivers each line, unless it discards them all.
func TestLinesArrive(t *testing.T) {
	for name, env := range map[string]map[string]string{"plain": {}, "gzip": {"GZIP": "on"}, "discard": {"DISCARD": "1"}} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan cwlocal.Event, 100)
			service := cwlocal.New(cwlocal.Options{Keys: map[string]string{"AKID": "secret"},
				OnAccepted: func(_, _, _ string, events []cwlocal.Event) {
					for _, e := range events {
						arrived <- e
					}
				}})
			web := httptest.NewServer(service)
			defer web.Close()
			env["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"], env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"] = web.URL, "AKID", "secret"
			for k, v := range env {
				t.Setenv(k, v)
			}
			dir := t.TempDir()
			d := &driver{discard: env["DISCARD"] != "", dir: dir, service: newService(), open: map[string]bool{}}
			socket := filepath.Join(dir, "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: d.handler()}
			go server.Serve(l)
			defer server.Close()

			docker, err := dockertest.NewDaemon(dockertest.Options{Socket: socket, Dir: filepath.Join(dir, "fifos")})
			if err != nil {
				t.Fatal(err)
			}
			defer docker.Kill()
			c, err := docker.Start(t.Context(), dockertest.Info{ContainerID: dockertest.NewID(), ContainerName: "/c", ContainerCreated: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			lines := []string{`plain`, `a "quote" \ and ` + "\ttab\x01", "end"}
			for _, line := range append(lines, "") {
				if err := c.Write(dockertest.Stdout, line+"\n"); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if env["DISCARD"] != "" {
				if n := len(service.Streams()); n != 0 {
					t.Errorf("%d streams were created", n)
				}
				return
			}
			for _, want := range lines {
				select {
				case e := <-arrived:
					if e.Message != want {
						t.Errorf("got %q, want %q", e.Message, want)
					}
				case <-time.After(time.Minute):
					t.Fatalf("%q has not arrived", want)
				}
			}
			for _, r := range service.Refusals() {
				t.Errorf("refused: %+v", r)
			}
		})
	}
}
