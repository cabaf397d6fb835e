package dockertest

import (
	"strings"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
)

// pieceBytes is the size of the buffer in which dockerd looks for a line's end (defaultBufSize in
// moby, daemon/logger/copier.go).
const pieceBytes = 16 * 1024

// splitter makes frames of the output of one source, as dockerd's copier does: a frame a line,
// without its newline; when the buffer is full of a line, it goes out as a piece, so that a line
// whose length is a multiple of the buffer's has an empty last piece. What is cut where does not
// depend on how the output arrives.
type splitter struct {
	source string
	enc    logdriver.LogEntryEncoder
	buf    []byte // of the current line, what is not out; less than pieceBytes

	// The pieces of the current line; id is empty if there is none yet.
	id      string
	ordinal int32
	time    time.Time // of the first one, which all have
}

func newSplitter(source string, enc logdriver.LogEntryEncoder) *splitter {
	return &splitter{source: source, enc: enc, buf: make([]byte, 0, pieceBytes)}
}

// write takes output, and asks for the time at which each line ends or is cut for the first time.
func (s *splitter) write(output string, now func() time.Time) error {
	for len(output) > 0 {
		room := output[:min(len(output), pieceBytes-len(s.buf))]
		line, _, found := strings.Cut(room, "\n")
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

// end takes the end of the output.
func (s *splitter) end(now func() time.Time) error {
	if len(s.buf) == 0 {
		return nil
	}
	return s.emit(false, now)
}

// emit writes a frame of what is in the buffer; last says that the line ends there.
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
