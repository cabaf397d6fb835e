package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxPath bounds a path in a request, in bytes.
const maxPath = 4096

// checkFile returns an error if file cannot be a FIFO that dockerd made for a container.
func (f *fifos) checkFile(file string) error {
	switch {
	case file == "":
		return fmt.Errorf("logspool: the request names no File")
	case len(file) > maxPath, !filepath.IsAbs(file), filepath.Clean(file) != file, strings.ContainsRune(file, 0):
		return fmt.Errorf("logspool: File %s is not an absolute path", shorten(file))
	case f.dir != "" && filepath.Dir(file) != f.dir:
		return fmt.Errorf("logspool: File %s is not in %s, where dockerd makes its FIFOs", shorten(file), f.dir)
	}
	return nil
}

// remove removes a FIFO that is no longer needed. It leaves anything else alone.
func (f *fifos) remove(file string) {
	info, err := os.Lstat(file)
	if err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return
	}
	if err := os.Remove(file); err != nil && !notExist(err) {
		f.log.Warn("cannot remove a FIFO that is no longer needed", "file", file, "err", err)
	}
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
