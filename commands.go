package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// The commands here are for the operator of a host. They read the state directory of a plugin that runs, is disabled, or
// is gone, and change nothing in it.

const usage = `Usage:
  logspool                                 run the plugin (dockerd does that)
  logspool undelivered STATE_DIR           list containers with undelivered lines; exit status 1 if there are any
  logspool export [-json] CONTAINER_DIR    print the undelivered lines of one container, STATE_DIR/containers/ID
`

// command runs a command and returns its exit status: 2 where it could not do what it should.
func command(args []string, stdout, stderr io.Writer) int {
	var err error
	found := false
	switch {
	case len(args) == 2 && args[0] == "undelivered":
		found, err = undelivered(args[1], stdout)
	case len(args) == 2 && args[0] == "export":
		err = export(args[1], false, stdout)
	case len(args) == 3 && args[0] == "export" && args[1] == "-json":
		err = export(args[2], true, stdout)
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "logspool:", err)
		return 2
	case found:
		return 1
	}
	return 0
}

// undelivered lists the containers that have something undelivered, a line each. One whose spool cannot be read counts as
// one that has.
func undelivered(stateDir string, w io.Writer) (found bool, err error) {
	if _, err := os.ReadDir(stateDir); err != nil {
		return false, fmt.Errorf("couldn't read the state directory: %w", err)
	}
	containers := filepath.Join(stateDir, "containers")
	entries, err := os.ReadDir(containers)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("couldn't read the state directory: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(containers, e.Name())
		b, err := spool.Undelivered(nil, filepath.Join(dir, archive.SpoolName))
		switch {
		case err != nil:
			fmt.Fprintf(w, "%s: unknown: %v\n", containerName(dir), err)
		case b.Empty():
			continue
		default:
			fmt.Fprintf(w, "%s: %s\n", containerName(dir), backlogText(b))
		}
		found = true
	}
	return found, nil
}

func backlogText(b spool.Backlog) string {
	text := fmt.Sprintf("%d entries, %d bytes", b.Frames, b.Bytes)
	if !b.Oldest.IsZero() {
		text += ", the oldest from " + b.Oldest.UTC().Format(time.RFC3339)
	}
	if b.Gaps > 0 {
		text += fmt.Sprintf(", %d losses to report", b.Gaps)
	}
	return text
}

// containerName is the name and short ID of the container in dir. The name comes from a file, so it is quoted where it
// holds more than a name.
func containerName(dir string) string {
	id := filepath.Base(dir)
	short := id[:min(len(id), 12)]
	r, err := archive.ReadRecord(durable.OS, dir)
	name := strings.TrimPrefix(r.Info.Name, "/")
	if err != nil || name == "" {
		return short
	}
	if quoted := strconv.QuoteToASCII(name); quoted != `"`+name+`"` {
		name = quoted
	}
	return name + " (" + short + ")"
}

// exported is a line of `logspool export -json`.
type exported struct {
	Time          time.Time `json:"time"`
	Source        string    `json:"source"`
	ContainerID   string    `json:"container_id"`
	ContainerName string    `json:"container_name,omitempty"`
	Log           string    `json:"log"`
}

// readTries is how often a spool is read that cannot be read on.
const readTries = 10

// export prints what is undelivered of the container in dir, as it would be sent without log options: a long line is
// whole, and a marker stands where something is missing.
func export(dir string, asJSON bool, w io.Writer) (err error) {
	s, err := spool.OpenReadOnly(nil, filepath.Join(dir, archive.SpoolName))
	if err != nil {
		return fmt.Errorf("%s is no directory of a container (STATE_DIR/containers/ID): %w", dir, err)
	}
	defer s.Close()
	r, _ := archive.ReadRecord(durable.OS, dir) // the lines are worth more than the name
	line := exported{ContainerID: filepath.Base(dir), ContainerName: strings.TrimPrefix(r.Info.Name, "/")}
	var ended atomic.Bool
	ended.Store(true)
	f := feed.New(s, feed.Options{Outputs: feed.BothOutputs, Ended: &ended})
	defer f.Close()
	out := bufio.NewWriter(w)
	defer func() { err = errors.Join(err, out.Flush()) }()
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for tries := 0; ; {
		e, ok := f.Next(time.Now())
		switch {
		case ok:
			tries = 0
		case f.Due().IsZero(), s.HoldsGap(): // whose marker is for the service
			return nil
		case tries == readTries:
			return fmt.Errorf("%s: what follows cannot be read", dir)
		default:
			tries++
			continue
		}
		line.Time, line.Source = time.Unix(0, e.Time).UTC(), e.Source.String()
		if asJSON {
			line.Log = string(e.Message)
			err = lines.Encode(line)
		} else {
			_, err = fmt.Fprintf(out, "%s %s %s\n", line.Time.Format(time.RFC3339Nano), line.Source, e.Message)
		}
		if err != nil {
			return err
		}
	}
}
