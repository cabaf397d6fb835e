package dockertest

import (
	"strings"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
)

// pieceBytes is the size of the buffer in which dockerd looks for the end of a line
// (defaultBufSize in moby, daemon/logger/copier.go).
const pieceBytes = 16 * 1024

// splitter makes frames of the output of one source, as dockerd's copier does. It makes a
// frame for each line, without the newline. When a line fills the buffer, it makes a frame
// of the buffer, which is a piece of the line. A line whose length is a multiple of the
// buffer's therefore has an empty last piece. Where a line is cut does not depend on how
// the output arrives.
type splitter struct {
	source string
	enc    logdriver.LogEntryEncoder
	buf    []byte // the part of the current line that was not written; less than pieceBytes

	// These fields describe the pieces of the current line.
	id      string // empty before the first piece
	ordinal int32  // of the last piece
	time    time.Time
}

func newSplitter(source string, enc logdriver.LogEntryEncoder) *splitter {
	return &splitter{source: source, enc: enc, buf: make([]byte, 0, pieceBytes)}
}

// write takes output. It calls now when a line ends or is cut for the first time.
func (s *splitter) write(output string, now func() time.Time) error {
	for len(output) > 0 {
		next := output[:min(len(output), pieceBytes-len(s.buf))]
		line, _, found := strings.Cut(next, "\n")
		s.buf = append(s.buf, line...)
		output = output[len(line):]
		if found {
			output = output[1:]
		}
		if found || len(s.buf) == pieceBytes {
			if err := s.emit(found, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// end ends the output.
func (s *splitter) end(now func() time.Time) error {
	if len(s.buf) == 0 {
		return nil
	}
	return s.emit(false, now)
}

// emit writes a frame of the buffer. Last says that the line ends there.
func (s *splitter) emit(last bool, now func() time.Time) error {
	e := logdriver.LogEntry{Source: s.source, Line: s.buf}
	switch {
	case s.id != "":
		s.ordinal++
	case last:
		e.TimeNano = now().UnixNano()
	default:
		s.id, s.ordinal, s.time = NewID(), 1, now()
	}
	if s.id != "" {
		e.TimeNano = s.time.UnixNano()
		e.Partial = true
		e.PartialLogMetadata = &logdriver.PartialLogEntryMetadata{Id: s.id, Ordinal: s.ordinal, Last: last}
	}
	if last {
		s.id = ""
	}
	err := s.enc.Encode(&e)
	s.buf = s.buf[:0]
	return err
}
