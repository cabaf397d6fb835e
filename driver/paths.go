package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	dirPerm = 0o700

	// maxPath bounds what is kept and printed of a path from a request.
	maxPath = 4096
)

// checkFile says why file cannot be a FIFO that dockerd made for a container.
func (d *Driver) checkFile(file string) error {
	switch {
	case file == "":
		return fmt.Errorf("logspool: the request names no File")
	case len(file) > maxPath, !filepath.IsAbs(file), filepath.Clean(file) != file, strings.ContainsRune(file, 0):
		return fmt.Errorf("logspool: File %s is not an absolute path", shorten(file))
	case d.o.FIFODir != "" && filepath.Dir(file) != d.o.FIFODir:
		return fmt.Errorf("logspool: File %s is not in %s, where dockerd makes its FIFOs", shorten(file), d.o.FIFODir)
	}
	return nil
}

// removeFIFO removes a FIFO that nobody needs any more, and nothing that is not a FIFO.
func (d *Driver) removeFIFO(file string) {
	info, err := os.Lstat(file)
	if err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return
	}
	if err := os.Remove(file); err != nil && !notExist(err) {
		d.log.Warn("a FIFO that is not needed any more cannot be removed", "file", file, "err", err)
	}
}
