// Command yardstick is the program that logspool is compared with: a Docker log driver that
// does what has to be done with each line, in the obvious way, and nothing else. It reads the
// FIFO, appends the bytes to a file, decodes the frames, and posts the lines to CloudWatch
// Logs. It loses lines in a crash and in an outage, it has no docker logs, and its file is of
// no use to anybody. With DISCARD, it only reads.
//
// It is not tuned, and must stay so: a reader who knows Go finds here what he would have
// written himself.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// driver serves Docker's protocol for log drivers.
type driver struct {
	discard bool   // discard says that what is read is thrown away.
	dir     string // dir is the directory of the containers' files.
	service *service

	mu   sync.Mutex
	open map[string]bool // open has the FIFOs that are being read.
}

func main() {
	socket := getenv("PLUGIN_SOCKET", "/run/docker/plugins/yardstick.sock")
	d := &driver{discard: os.Getenv("DISCARD") != "", dir: getenv("STATE_DIR", "/run/docker/logging/.state"),
		service: newService(), open: map[string]bool{}}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		log.Fatal(err)
	}
	_ = os.MkdirAll(filepath.Dir(socket), 0o755)
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	log.Println("yardstick is listening")
	log.Fatal(http.Serve(l, d.handler()))
}

func getenv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func (d *driver) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Implements":["LogDriver"]}`)
	})
	// Otherwise dockerd would keep a copy of each line itself, for docker logs.
	mux.HandleFunc("/LogDriver.Capabilities", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Cap":{"ReadLogs":true}}`)
	})
	mux.HandleFunc("/LogDriver.ReadLogs", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/LogDriver.StopLogging", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Err":""}`)
	})
	mux.HandleFunc("/LogDriver.StartLogging", func(w http.ResponseWriter, r *http.Request) {
		var answer struct{ Err string }
		if err := d.start(r.Body); err != nil {
			answer.Err = err.Error()
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	return mux
}

func (d *driver) start(body io.Reader) error {
	var req struct {
		File string
		Info struct{ ContainerID string }
	}
	if err := json.NewDecoder(body).Decode(&req); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[req.File] {
		return nil
	}
	fifo, err := os.OpenFile(req.File, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	d.open[req.File] = true
	go func() {
		defer fifo.Close()
		if err := d.read(fifo, req.Info.ContainerID); err != nil {
			log.Printf("container %s: %v", req.Info.ContainerID, err)
		}
		d.mu.Lock()
		delete(d.open, req.File)
		d.mu.Unlock()
	}()
	return nil
}
