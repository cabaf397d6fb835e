package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// Info is what dockerd says of a container (moby, daemon/logger/loginfo.go). Maps and lists may be nil, and so may
// the time be zero: records of earlier versions do not have it.
type Info struct {
	Config              map[string]string
	ContainerID         string
	ContainerName       string
	ContainerEntrypoint string
	ContainerArgs       []string
	ContainerImageID    string
	ContainerImageName  string
	ContainerCreated    time.Time
	ContainerEnv        []string
	ContainerLabels     map[string]string
	LogPath             string
	DaemonName          string
}

// record is what is on disk of a container's attachments: enough to go on after a crash, and to know
// under which names a stopped container's rest goes.
type record struct {
	Info  Info
	FIFOs []fifoRecord // in the order in which they were attached
	Epoch uint32       // the last one given out
	// Host is the container's host name as the engine said it; the container may be gone when it is
	// needed again.
	Host string `json:",omitempty"`
	// Stopped says since when nothing more has come of the container; nil: it has not stopped yet.
	Stopped *stoppedRecord `json:",omitempty"`
}

// stoppedRecord is when a container was first found stopped with this much logged, all of it dealt with.
type stoppedRecord struct {
	At  time.Time
	End uint64 // of its stream
}

// silentRun is for how long at least nobody read a session that logged nothing and was a run of the container all the same:
// docker logs of a stopped container attaches it, too, for as long as somebody reads, which makes its history no younger.
const silentRun = time.Minute

// stop takes note that the container is found stopped now, when so much is logged, by a session that nobody read for so
// long.
func (r *record) stop(withoutReaders time.Duration, end uint64) {
	if r.Stopped == nil || r.Stopped.End != end || withoutReaders >= silentRun {
		r.Stopped = &stoppedRecord{At: time.Now(), End: end}
	}
	r.FIFOs = nil
}

// fifoRecord is a FIFO that may still be written to. Epoch tells its blocks in the spool from others'.
type fifoRecord struct {
	File  string
	Epoch uint32
}

const recordName = "attachments.json"

// maxRecord bounds what is read of a record, in bytes: more than a request may hold.
const maxRecord = 2 * maxRequest

// errUnread says that a record cannot be read now. It is no reason to begin it anew: the trouble may pass.
var errUnread = errors.New("it may be readable later")

// readRecord reads the record in a container's directory. An error is fs.ErrNotExist, one that is errUnread, or that it is
// damaged.
func readRecord(fsys durable.FS, dir string) (record, error) {
	path := filepath.Join(dir, recordName)
	data, err := fsys.ReadFile(path)
	if notExist(err) {
		return record{}, err
	}
	if err != nil {
		return record{}, fmt.Errorf("%w: %w", err, errUnread)
	}
	var r record
	if len(data) > maxRecord {
		return r, fmt.Errorf("%q has %d bytes, which is more than %d", path, len(data), maxRecord)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("couldn't read %q: %w", path, err)
	}
	return r, nil
}

func (r *record) write(fsys durable.FS, dir string, sync bool) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(fsys, filepath.Join(dir, recordName), data, filePerm, sync)
}
