package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/spool"
)

func newSpoolVerify(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [CONTAINER]",
		Short: "Check every checksum in the spools",
		Long: "verify reads the spools of all containers, or of one. It checks each block's checksum, the\n" +
			"headers of segments, delivery progress, pending gaps and the container's record. It prints one\n" +
			"line for each damage, and changes nothing. What a newer version wrote is not damage.\n\n" +
			"The exit status is 1 if something is damaged. After a crash of the plugin, the last block may be\n" +
			"cut short. The plugin repairs that when it starts, from the container's FIFO if it still has the\n" +
			"lines.",
		Example: "  logspool spool verify\n" +
			"  logspool spool verify web",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var logs []containerLog
			if len(args) > 0 {
				l, err := w.log(c.Context(), args[0])
				if err != nil {
					return err
				}
				logs = []containerLog{*l}
			} else {
				dir, _, err := w.find(c.Context())
				if err != nil {
					return err
				}
				if logs, err = listLogs(dir); err != nil {
					return err
				}
			}
			return verifyLogs(logs, c.OutOrStdout())
		},
		ValidArgsFunction: completeSpool(w),
	}
}

// verifyLogs checks the files of containers and prints what it finds. The error is errBad if
// something is damaged.
func verifyLogs(logs []containerLog, w io.Writer) error {
	var sum spool.Verified
	damaged := 0
	for i := range logs {
		l := &logs[i]
		v := verifyLog(l)
		if !exists(l.dir) {
			continue // the plugin has moved or removed it meanwhile
		}
		sum.Segments += v.Segments
		sum.Blocks += v.Blocks
		sum.Bytes += v.Bytes
		for _, f := range v.Findings {
			kind := "note"
			if f.Damage {
				kind = "damaged"
				damaged++
			}
			place := printable(f.File)
			if f.Damage || f.Offset > 0 {
				place += fmt.Sprintf(", offset %d", f.Offset)
			}
			if _, err := fmt.Fprintf(w, "%s: %s: %s: %s\n", kind, l.full(), place, oneline.Text(f.Text, maxError)); err != nil {
				return err
			}
		}
	}
	result := "nothing is damaged"
	if damaged > 0 {
		result = fmt.Sprintf("%d damaged", damaged)
	}
	_, err := fmt.Fprintf(w, "verified %s, %s, %s, %s: %s\n", plural(int64(len(logs)), "container"),
		plural(int64(sum.Segments), "segment"), plural(int64(sum.Blocks), "block"), size(sum.Bytes), result)
	if err == nil && damaged > 0 {
		return errBad
	}
	return err
}

// verifyLog checks the spool and the record of a container.
func verifyLog(l *containerLog) spool.Verified {
	v, err := spool.Verify(nil, l.spoolDir())
	damage := func(file string, text string) {
		v.Findings = append(v.Findings, spool.Finding{File: file, Text: text, Damage: true})
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		damage(l.spoolDir(), "there is no spool")
	case err != nil:
		damage(l.spoolDir(), err.Error())
	}
	record := filepath.Join(l.dir, archive.RecordName)
	switch _, err := archive.ReadRecord(durable.OS, l.dir); {
	case errors.Is(err, fs.ErrNotExist):
		damage(record, "there is no record of the container's name and options")
	case err != nil:
		damage(record, err.Error())
	}
	return v
}
