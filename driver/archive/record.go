package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
)

// Record is what is on disk about a container besides its spool. After a crash, the plugin
// reads from it which FIFOs to read and how to name the undelivered lines. It has the names
// and options of earlier container runs, because their lines still go there.
type Record struct {
	// Info describes the current container run.
	Info container.Info
	// FIFOs are the attached FIFOs in the order of their starts.
	FIFOs []FIFORecord
	// Epoch is the last epoch that a FIFO was given.
	Epoch uint32
	// Host is the container's host name as the engine reported it, because the container may
	// be gone when the name is needed again.
	Host string `json:",omitempty"`
	// Earlier are the earlier container runs that may have undelivered lines, oldest first.
	Earlier []Run `json:",omitempty"`
	// Stopped says when the container stopped, and is nil if it has never been found stopped.
	Stopped *StoppedRecord `json:",omitempty"`
}

// Run is a part of a container's stream that was written under other names or options than
// the current ones.
type Run struct {
	To   uint64 // To is the position in the stream where the run ends.
	Info container.Info
	Host string `json:",omitempty"`
}

// StoppedRecord says when a container was first found stopped with everything delivered.
type StoppedRecord struct {
	At  time.Time
	End uint64 // End is the end of its stream then.
}

// A session without a reader for SilentRun counts as a run of the container, even if it logged
// nothing. A shorter one was opened only for docker logs. Only a run renews the age of the
// history.
const SilentRun = time.Minute

// Stop records that the container is stopped, with a stream that ends at end, after a session
// that had no reader for the time withoutReaders.
func (r *Record) Stop(withoutReaders time.Duration, end uint64) {
	if r.Stopped == nil || r.Stopped.End != end || withoutReaders >= SilentRun {
		r.Stopped = &StoppedRecord{At: time.Now(), End: end}
	}
	r.FIFOs = nil
}

// FIFORecord is a FIFO that may still be written to.
type FIFORecord struct {
	File  string
	Epoch uint32 // Epoch marks the FIFO's blocks in the spool.
}

const (
	// SpoolName is the directory of a container's spool, beside the record.
	SpoolName = "spool"

	// RecordName is the record's file, in the container's directory.
	RecordName = "attachments.json"

	// LiveDir is the directory of the containers that have a session, in the state directory.
	LiveDir = "containers"

	// maxRecord is the largest size of a record, in bytes. It is more than a request may have.
	maxRecord = 32 << 20
)

// idPattern matches IDs that may become the name of a directory, if they are not longer than
// maxID. dockerd's have 64 hexadecimal digits. Other clients may use other IDs.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

const maxID = 128

// ValidID reports whether a container's ID may become the name of a directory.
func ValidID(id string) bool { return len(id) <= maxID && idPattern.MatchString(id) }

// ErrUnread says that a record cannot be read now. It must not be replaced, because it may be
// readable later.
var ErrUnread = errors.New("the record may be readable later")

// ReadRecord reads the record in a container's directory. An error is fs.ErrNotExist or
// ErrUnread, or says that the record is damaged.
func ReadRecord(fsys durable.FS, dir string) (Record, error) {
	path := filepath.Join(dir, RecordName)
	data, err := fsys.ReadFile(path)
	if notExist(err) {
		return Record{}, err
	}
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", err, ErrUnread)
	}
	var r Record
	if len(data) > maxRecord {
		return r, fmt.Errorf("%q has %d bytes, which is more than %d", path, len(data), maxRecord)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("couldn't read %q: %w", path, err)
	}
	return r, nil
}

// Encode returns the record as WriteRecord writes it.
func (r *Record) Encode() ([]byte, error) { return json.Marshal(r) }

// WriteRecord replaces the record in dir by an encoded one. It blocks for the local disk, and
// with sync until the record survives a power cut.
func WriteRecord(fsys durable.FS, dir string, encoded []byte, sync bool) error {
	return durable.WriteFile(fsys, filepath.Join(dir, RecordName), encoded, durable.FilePerm, sync)
}

// Write encodes the record and writes it like WriteRecord.
func (r *Record) Write(fsys durable.FS, dir string, sync bool) error {
	encoded, err := r.Encode()
	if err != nil {
		return err
	}
	return WriteRecord(fsys, dir, encoded, sync)
}
