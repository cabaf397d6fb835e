package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/driver/feed"
)

func newSpoolExport(w *where) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "export CONTAINER",
		Short: "Print the undelivered lines of a container",
		Long: "export prints the undelivered lines of a container, each with its time and its output. A long\n" +
			"line is printed whole, and a marker shows where lines are missing. The lines stay undelivered.",
		Example: "  logspool spool export web >lines.txt\n" +
			"  logspool spool export --json 0123456789ab >lines.json",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := w.log(c.Context(), args[0])
			if err != nil {
				return err
			}
			return export(l, asJSON, c.OutOrStdout())
		},
		ValidArgsFunction: completeSpool(w),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return c
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

// export prints the undelivered lines of a container as they would be sent without log options.
// A long line is printed whole, and a marker shows where lines are missing.
func export(l *containerLog, asJSON bool, w io.Writer) (err error) {
	s, err := openLog(l)
	if err != nil {
		return err
	}
	defer s.Close()
	line := exported{ContainerID: l.id, ContainerName: l.name}
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
			return fmt.Errorf("%s: the remaining lines cannot be read", l.full())
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
