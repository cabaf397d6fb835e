package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/spool"
)

func newSpoolCat(w *where) *cobra.Command {
	var o catOptions
	c := &cobra.Command{
		Use:   "cat CONTAINER",
		Short: "Print the lines in a container's spool, as docker logs does",
		Long: "cat prints all lines in the spool of a container, delivered or not, as docker logs does:\n" +
			"what the container wrote to stderr goes to stderr. It needs neither the Docker engine's logs\n" +
			"nor a plugin that runs.",
		Example: "  logspool spool cat web | tail\n" +
			"  logspool spool cat --timestamps --undelivered web\n" +
			"  logspool spool cat --state-dir /backup/state 0123456789ab",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := w.log(c.Context(), args[0])
			if err != nil {
				return err
			}
			return cat(l, o, c.OutOrStdout(), c.ErrOrStderr())
		},
		ValidArgsFunction: completeSpool(w),
	}
	c.Flags().BoolVarP(&o.timestamps, "timestamps", "t", false, "print each line's time")
	c.Flags().BoolVarP(&o.undelivered, "undelivered", "u", false, "print only undelivered lines")
	return c
}

type catOptions struct{ timestamps, undelivered bool }

// frames are the frames of a spool. next returns false at the end, and reject says that the
// last frame was none.
type frames struct {
	next   func() (frame []byte, ok bool, err error)
	reject func()
}

// cat prints the lines of a container to where it wrote them.
func cat(l *containerLog, o catOptions, stdout, stderr io.Writer) (err error) {
	s, err := openLog(l)
	if err != nil {
		return err
	}
	defer s.Close()
	f, end, err := openFrames(s, o.undelivered)
	if err != nil {
		return spoolError(l, err)
	}
	defer end()
	out, errs := bufio.NewWriter(stdout), bufio.NewWriter(stderr)
	defer func() { err = errors.Join(err, out.Flush(), errs.Flush()) }()
	for tries := 0; ; {
		frame, ok, err := f.next()
		if err != nil {
			if tries++; tries < readTries && !errors.Is(err, spool.ErrVersion) {
				continue
			}
			return spoolError(l, err)
		}
		if !ok {
			return nil
		}
		tries = 0
		var entry events.Frame
		if events.Decode(frame, &entry) != nil {
			f.reject()
			continue
		}
		to, other := out, errs
		if entry.Source == events.Stderr {
			to, other = errs, out
		}
		// On a terminal, the lines of both outputs stay in order.
		if err := errors.Join(other.Flush(), printEntry(to, &entry, o.timestamps)); err != nil {
			return err
		}
	}
}

// openFrames returns all frames of a spool, or the undelivered ones. The caller must call end.
func openFrames(s *spool.Spool, undelivered bool) (f frames, end func(), err error) {
	if !undelivered {
		h, err := s.NewHistory(context.Background(), spool.HistoryOptions{Tail: -1})
		if err != nil {
			return f, nil, err
		}
		return frames{h.Next, h.Reject}, h.Close, nil
	}
	r := s.NewReader()
	next := func() ([]byte, bool, error) {
		for {
			item, ok := r.Next()
			if !ok || item.Gap == nil {
				return item.Frame, ok, r.Err()
			}
		}
	}
	return frames{next, func() { r.Reject() }}, r.Close, nil
}

// timeLayout is that of docker logs --timestamps (moby, pkg/jsonmessage, RFC3339NanoFixed).
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// printEntry prints a line, or a piece of a divided line, as docker logs does.
func printEntry(w *bufio.Writer, f *events.Frame, timestamps bool) error {
	if timestamps {
		fmt.Fprint(w, time.Unix(0, f.Time).UTC().Format(timeLayout), " ")
	}
	// The answer to docker logs has the newline, and replaces what is not UTF-8.
	const lengthSize = 4
	var shown events.Frame
	if err := events.Decode(events.AppendEntry(nil, f)[lengthSize:], &shown); err != nil {
		return err
	}
	_, err := w.Write(shown.Line)
	return err
}
