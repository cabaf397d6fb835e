package main

import (
	"bufio"
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
)

// flushEvery is how long a line may wait.
const flushEvery = 4 * time.Second

// bufferSize is the size of the buffers for reading and writing: what a FIFO holds.
const bufferSize = 64 << 10

// read reads a container's FIFO until dockerd closes it.
func (d *driver) read(fifo *os.File, id string) error {
	if d.discard {
		return discard(fifo)
	}
	path := filepath.Join(d.dir, id+".log")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer file.Close()
	copied := bufio.NewWriterSize(file, bufferSize)
	s, err := d.service.newShipper(id)
	if err != nil {
		return err
	}
	err = s.ship(bufio.NewReaderSize(io.TeeReader(fifo, copied), bufferSize))
	s.close()
	return errors.Join(err, copied.Flush())
}

func discard(fifo *os.File) error {
	buf := make([]byte, bufferSize)
	for {
		if _, err := fifo.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// shipper makes batches of a container's lines, and sends one after the other.
type shipper struct {
	service *service
	stream  string
	full    chan *batch
	empty   chan *batch
	sent    chan struct{} // sent is closed when the last batch is sent.

	mu    sync.Mutex // mu guards batch.
	batch *batch
	timer *time.Timer
}

func (s *service) newShipper(stream string) (*shipper, error) {
	if err := s.create(stream); err != nil {
		return nil, err
	}
	sh := &shipper{service: s, stream: stream, batch: s.newBatch(stream),
		full: make(chan *batch), empty: make(chan *batch, 1), sent: make(chan struct{})}
	sh.empty <- s.newBatch(stream)
	sh.timer = time.AfterFunc(flushEvery, func() {
		sh.flush()
		sh.timer.Reset(flushEvery)
	})
	go sh.send()
	return sh, nil
}

// ship puts the lines into batches until the FIFO ends.
func (s *shipper) ship(r io.Reader) error {
	frames := logdriver.NewLogEntryDecoder(r)
	var entry logdriver.LogEntry
	for {
		entry.Line = entry.Line[:0]
		if err := frames.Decode(&entry); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if len(entry.Line) == 0 {
			continue // CloudWatch accepts no empty events
		}
		s.mu.Lock()
		if !s.batch.hasSpace(len(entry.Line)) {
			s.flushLocked()
		}
		s.batch.add(entry.TimeNano, entry.Line)
		s.mu.Unlock()
	}
}

func (s *shipper) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.batch.events > 0 {
		s.flushLocked()
	}
}

// flushLocked hands the batch over, and waits while another one is being sent.
func (s *shipper) flushLocked() {
	s.full <- s.batch
	s.batch = <-s.empty
}

func (s *shipper) send() {
	defer close(s.sent)
	for b := range s.full {
		if err := s.service.put(b); err != nil {
			log.Printf("%d lines are lost: %v", b.events, err)
		}
		b.reset()
		s.empty <- b
	}
}

// close sends what is left.
func (s *shipper) close() {
	s.timer.Stop()
	s.flush()
	close(s.full)
	<-s.sent
}
