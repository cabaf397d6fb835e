package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/spool"
)

// newSpool returns the command spool, whose subcommands read the state directory of a plugin
// that runs, is disabled or was removed.
func newSpool() *cobra.Command {
	c := &cobra.Command{
		Use:   "spool",
		Short: "Read the spools in a state directory",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSpoolLs(), newSpoolExport())
	return c
}

func newSpoolLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls STATE_DIR",
		Short: "List the containers with undelivered lines",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := undelivered(args[0], c.OutOrStdout())
			if err == nil && found {
				return errBad
			}
			return err
		},
	}
}

func newSpoolExport() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "export CONTAINER_DIR",
		Short: "Print the undelivered lines of one container",
		Args:  cobra.ExactArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return export(args[0], asJSON, c.OutOrStdout()) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return c
}

// undelivered lists the containers with undelivered lines, one per line. A container
// whose spool cannot be read counts as one of them.
func undelivered(stateDir string, w io.Writer) (found bool, err error) {
	if _, err := os.ReadDir(stateDir); err != nil {
		return false, fmt.Errorf("couldn't read the state directory: %w", err)
	}
	containers := filepath.Join(stateDir, archive.LiveDir)
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
		text += fmt.Sprintf(", %d gaps to report", b.Gaps)
	}
	return text
}

// containerName returns the name and short ID of the container in dir, in printable
// characters.
func containerName(dir string) string {
	r, _ := archive.ReadRecord(durable.OS, dir) // without a record, the ID is enough
	short := container.Label("", filepath.Base(dir))
	// The operator needs the whole name, however long it is.
	if name := oneline.Text(strings.TrimPrefix(r.Info.Name, "/"), len(r.Info.Name)*4); name != "" {
		return name + " (" + short + ")"
	}
	return short
}

// exported is one line of `logspool spool export --json`.
type exported struct {
	Time          time.Time `json:"time"`
	Source        string    `json:"source"`
	ContainerID   string    `json:"container_id"`
	ContainerName string    `json:"container_name,omitempty"`
	Log           string    `json:"log"`
}

// readTries is how often export tries to read on after an error.
const readTries = 10

// export prints the undelivered lines of the container in dir as they would be sent
// without log options. A long line is printed whole, and a marker shows where lines are
// missing.
func export(dir string, asJSON bool, w io.Writer) (err error) {
	s, err := spool.OpenReadOnly(nil, filepath.Join(dir, archive.SpoolName))
	if err != nil {
		return fmt.Errorf("%s is not the directory of a container (STATE_DIR/containers/ID): %w", dir, err)
	}
	defer s.Close()
	r, _ := archive.ReadRecord(durable.OS, dir) // without the record, only the name is missing
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
		case f.Due().IsZero(), s.HoldsGap(): // only CloudWatch gets the marker of this gap
			return nil
		case tries == readTries:
			return fmt.Errorf("%s: the remaining lines cannot be read", dir)
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
