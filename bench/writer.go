package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// writeCommand is the name under which this program is the process of a container.
const writeCommand = "write"

// The files by which a container's process and the measurement talk. The directory is
// mounted into the container.
const (
	reportDir = "/report"
	goFile    = reportDir + "/go" // goFile is a FIFO that tells all the processes to begin.
)

// runWriter writes lines to w, which is the container's standard output, as fast as it can: each
// with one write(2), as most programs do that log to it. It reports when it began and ended, in
// nanoseconds. With -stay, it returns only after the measurement.
func runWriter(args []string, w io.Writer) error {
	flags := flag.NewFlagSet(writeCommand, flag.ExitOnError)
	lines := flags.Int("lines", 0, "how many `lines` to write")
	size := flags.Int("size", lineSize, "how many `bytes` each line has")
	name := flags.String("name", "", "the `name` of the files in "+reportDir)
	stay := flags.Bool("stay", false, "end only after the measurement")
	if err := flags.Parse(args); err != nil {
		return err
	}
	all := logLines(*size)
	report := func(name, text string) error {
		path := reportDir + "/" + name
		return errors.Join(os.WriteFile(path+".new", []byte(text), 0o644), os.Rename(path+".new", path))
	}
	if err := report(*name+".ready", ""); err != nil {
		return err
	}
	// The opening blocks until the measurement opens the FIFO. Hundreds of containers that look
	// again and again would slow down the start of the others.
	begin, err := os.Open(goFile)
	if err != nil {
		return err
	}
	defer begin.Close()
	begun := time.Now()
	for i := range *lines {
		if _, err := io.WriteString(w, all[i%len(all)]); err != nil {
			return err
		}
	}
	if err := report(*name, fmt.Sprint(begun.UnixNano(), time.Now().UnixNano())); err != nil || !*stay {
		return err
	}
	_, err = io.Copy(io.Discard, begin) // The measurement closes its end when it is over.
	return err
}

// pause waits, unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
