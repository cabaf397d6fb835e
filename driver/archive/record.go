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

// Record is what is on disk of a container's attachments: enough to go on after a crash, and to know
// under which names a stopped container's rest goes.
type Record struct {
	Info  container.Info
	FIFOs []FIFORecord // in the order in which they were attached
	Epoch uint32       // the last one given out
	// Host is the container's host name as the engine said it; the container may be gone when it is
	// needed again.
	Host string `json:",omitempty"`
	// Earlier are the runs before the one that Info describes of which lines may be undelivered, oldest first: their
	// lines go to the names that they had.
	Earlier []Run `json:",omitempty"`
	// Stopped says since when nothing more has come of the container; nil: it has not stopped yet.
	Stopped *StoppedRecord `json:",omitempty"`
}

// Run is a part of a container's stream that was written under other names or options than the current ones.
type Run struct {
	To   uint64 // the position in the stream where the run ends
	Info container.Info
	Host string `json:",omitempty"`
}

// StoppedRecord is when a container was first found stopped with this much logged, all of it acknowledged.
type StoppedRecord struct {
	At  time.Time
	End uint64 // of its stream
}

// SilentRun is for how long at least nobody read a session that logged nothing and was a run of the container all the same:
// docker logs of a stopped container attaches it, too, for as long as somebody reads, which makes its history no younger.
const SilentRun = time.Minute

// Stop takes note that the container is found stopped now, when so much is logged, by a session that nobody read for so
// long.
func (r *Record) Stop(withoutReaders time.Duration, end uint64) {
	if r.Stopped == nil || r.Stopped.End != end || withoutReaders >= SilentRun {
		r.Stopped = &StoppedRecord{At: time.Now(), End: end}
	}
	r.FIFOs = nil
}

// FIFORecord is a FIFO that may still be written to. Epoch tells its blocks in the spool from others'.
type FIFORecord struct {
	File  string
	Epoch uint32
}

const (
	// SpoolName is the directory of a container's spool, beside the record.
	SpoolName = "spool"

	dirPerm  = 0o700
	filePerm = 0o600
)

// idPattern is what a container's ID may look like where it becomes the name of a directory: dockerd's
// are 64 hexadecimal digits, and other clients get some room.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// ValidID reports whether a container's ID may become the name of a directory.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// RecordName is the record's file, in the container's directory.
const RecordName = "attachments.json"

// maxRecord bounds what is read of a record, in bytes: more than a request may hold.
const maxRecord = 32 << 20

// ErrUnread says that a record cannot be read now. It is no reason to begin another: it may be readable later.
var ErrUnread = errors.New("it may be readable later")

// ReadRecord reads the record in a container's directory. An error is fs.ErrNotExist, one that is ErrUnread, or that it is
// damaged.
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

// Write replaces the record in dir. It blocks for the local disk; with sync until the record survives a power cut.
func (r *Record) Write(fsys durable.FS, dir string, sync bool) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(fsys, filepath.Join(dir, RecordName), data, filePerm, sync)
}
