package dockertest

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Recorder is a minimal logging plugin: it answers the requests, reads each FIFO to its
// end and keeps everything. With it, tests check what dockerd, or a stand-in for it,
// does. Answer must be set before the first request.
type Recorder struct {
	// Answer is called first if it is not nil, and answers the request unless it returns
	// the status 0.
	Answer func(method string, body []byte) (status int, answer string)

	dir    string
	server http.Server
	// group counts the server and the readers of the FIFOs.
	group sync.WaitGroup

	// mu guards requests and streams.
	mu       sync.Mutex
	requests []Request
	// streams is keyed by the FIFO's base name.
	streams map[string]*stream
}

// Request is a request that a Recorder has received.
type Request struct {
	Method string // Method is the plugin's method, such as "LogDriver.StartLogging".
	Header http.Header
	Body   string
}

// stream is what was read from one FIFO.
type stream struct {
	read []byte
	err  error
	done chan struct{} // done is closed at the end of the stream, after which nothing changes.
}

// NewRecorder returns a Recorder that listens on socket. It looks for FIFOs in dir, and
// ignores the directory in StartLogging, as a plugin must that has dir mounted elsewhere.
func NewRecorder(socket, dir string) (*Recorder, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	r := &Recorder{dir: dir, streams: map[string]*stream{}}
	r.server.Handler = r
	r.group.Go(func() { r.server.Serve(l) })
	return r, nil
}

// Close stops listening and waits until every FIFO has ended, which is up to the writers.
func (r *Recorder) Close() {
	r.server.Close()
	r.group.Wait()
}

// Requests returns all requests so far, in order.
func (r *Recorder) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Stream waits until a FIFO of StartLogging has ended, and returns what was read from it.
func (r *Recorder) Stream(file string) ([]byte, error) {
	r.mu.Lock()
	s := r.streams[filepath.Base(file)]
	r.mu.Unlock()
	if s == nil {
		return nil, os.ErrNotExist
	}
	<-s.done
	return s.read, s.err
}

func (r *Recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	method := strings.TrimPrefix(req.URL.Path, "/")
	r.mu.Lock()
	r.requests = append(r.requests, Request{method, req.Header, string(body)})
	r.mu.Unlock()

	status, answer := 0, ""
	if r.Answer != nil {
		status, answer = r.Answer(method, body)
	}
	if status == 0 {
		status, answer = r.answer(method, body)
	}
	w.WriteHeader(status)
	io.WriteString(w, answer)
}

func (r *Recorder) answer(method string, body []byte) (status int, answer string) {
	switch method {
	case "LogDriver.Capabilities":
		return http.StatusOK, `{"Cap":{"ReadLogs":false}}`
	case "LogDriver.StartLogging":
		var args struct{ File string }
		if err := json.Unmarshal(body, &args); err != nil {
			return http.StatusBadRequest, `{"Err":"unreadable request"}`
		}
		if err := r.attach(filepath.Base(args.File)); err != nil {
			return http.StatusOK, `{"Err":"couldn't open the FIFO"}`
		}
	case "LogDriver.StopLogging":
		// The reader continues to the end of the FIFO.
	default:
		return http.StatusNotFound, `{"Err":"unknown method"}`
	}
	return http.StatusOK, `{"Err":""}`
}

func (r *Recorder) attach(name string) error {
	// Without O_NONBLOCK, the open would wait for a writer.
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s := &stream{done: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[name] != nil {
		f.Close()
		return errors.New("already attached")
	}
	r.streams[name] = s
	r.group.Go(func() {
		defer f.Close()
		defer close(s.done)
		s.read, s.err = io.ReadAll(f)
	})
	return nil
}
