package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

const (
	// ledgerName is the Ledger's file in the state directory.
	ledgerName = "ingested.json"
	// ledgerVersion is the version of the file's format.
	ledgerVersion = 1
	// maxLedgerFile is the most that is read of the file. maxIngested rows with the longest
	// names of Docker and CloudWatch are smaller.
	maxLedgerFile = 32 << 20

	// saveEvery is how often a changed Ledger is saved.
	saveEvery = time.Minute
)

// ledgerFile is where a Ledger is saved. Only one goroutine may use it at a time.
type ledgerFile struct {
	fsys durable.FS
	name string
	log  *slog.Logger
	// readOnly says that the file could not be set aside, and must not be replaced.
	readOnly bool
	// failing says that the last try to save failed.
	failing bool
}

// savedLedger is the content of the file.
type savedLedger struct {
	Version int        `json:"version"`
	Day     time.Time  `json:"day"`
	Since   time.Time  `json:"since"`
	Time    time.Time  `json:"time"`
	Rows    []Ingested `json:"ingested"`
}

// errNewer is the error of a file of a version that this binary does not know.
var errNewer = errors.New("a newer version of the plugin wrote it")

// load returns what was saved, or an empty book.
func (f *ledgerFile) load() book {
	b, err := f.read()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return b
	}
	aside := f.name + ".damaged"
	if errors.Is(err, errNewer) {
		aside = f.name + ".newer"
	}
	if e := f.fsys.Rename(f.name, aside); e != nil {
		f.readOnly, aside = true, f.name
	}
	f.log.Warn("cannot read how much was ingested today; the count begins at zero", "err", err, "kept", aside)
	return book{}
}

func (f *ledgerFile) read() (book, error) {
	data, err := f.readAll()
	if err != nil {
		return book{}, err
	}
	var s savedLedger
	// The version decides what the rest means, so it is read first.
	if err := json.Unmarshal(data, &struct {
		Version *int `json:"version"`
	}{&s.Version}); err != nil {
		return book{}, fmt.Errorf("%q is damaged: %w", f.name, err)
	}
	switch {
	case s.Version > ledgerVersion:
		return book{}, fmt.Errorf("couldn't use %q of version %d: %w", f.name, s.Version, errNewer)
	case s.Version != ledgerVersion:
		return book{}, fmt.Errorf("%q is damaged: it has no valid version", f.name)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return book{}, fmt.Errorf("%q is damaged: %w", f.name, err)
	}
	return s.book(), nil
}

// readAll reads the file, up to a limit.
func (f *ledgerFile) readAll() ([]byte, error) {
	file, err := f.fsys.OpenFile(f.name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLedgerFile {
		return nil, fmt.Errorf("%q is not a file of at most %d bytes", f.name, maxLedgerFile)
	}
	return io.ReadAll(io.NewSectionReader(file, 0, info.Size()))
}

// book returns the saved rows, as far as they make sense.
func (s savedLedger) book() book {
	b := book{day: s.Day.UTC().Truncate(day), since: s.Since.UTC(), time: s.Time.UTC()}
	for _, row := range s.Rows {
		if row.Bytes < 0 || row.Yesterday < 0 {
			continue
		}
		sum := b.row(ingestedKey{row.Container, row.Group})
		sum.Bytes += row.Bytes
		sum.Yesterday += row.Yesterday
	}
	return b
}

// save writes the file. It blocks for as long as the disk does. The first of several errors is
// logged, and their end.
func (f *ledgerFile) save(s savedLedger) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = durable.WriteFile(f.fsys, f.name, data, durable.FilePerm, false)
	}
	switch {
	case err != nil && !f.failing:
		f.log.Warn("cannot save how much was ingested today; after a restart the count may be too low", "err", err)
	case err == nil && f.failing:
		f.log.Info("how much was ingested today is saved again")
	}
	f.failing = err != nil
	return err
}

// Run saves the Ledger once a minute if it has changed, and once more when ctx ends. A slow
// disk makes Run wait, and nobody else.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.save()
			return nil
		case <-tick.C:
			l.save()
		}
	}
}

func (l *Ledger) save() {
	l.mu.Lock()
	s := savedLedger{Version: ledgerVersion, Day: l.book.day, Since: l.book.since, Time: l.book.time, Rows: l.book.ingested()}
	due := l.book.changed && !l.file.readOnly
	l.book.changed = false
	l.mu.Unlock()
	if !due {
		return
	}
	if err := l.file.save(s); err != nil {
		l.mu.Lock()
		l.book.changed = true
		l.mu.Unlock()
	}
}
