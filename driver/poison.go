package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/logspool/logspool/internal/durable"
)

// maxPoison is the largest number of poison frames that are kept for all containers together.
// The plugin panicked on these frames.
const maxPoison = 64

// logPoison logs that the plugin panicked on a container's output. A feed calls it once.
func (s *session) logPoison(cause any, stack []byte) {
	s.env.log.Error("the plugin panicked on a container's output; it is set aside, and a marker in the stream shows the loss",
		"container", s.name(), "kept_in", poisonDir(s.env.settings.StateDir), "panic", fmt.Sprint(cause), "stack", string(stack))
}

// savePoison saves a frame on which the plugin panicked, so that the bug can be found.
func (s *session) savePoison(frame []byte, _ any) {
	if err := writePoison(s.env.fs, poisonDir(s.env.settings.StateDir), s.id, frame); err != nil {
		s.env.log.Warn("cannot set aside output on which the plugin panicked", "container", s.name(), "err", err)
	}
}

func poisonDir(stateDir string) string { return filepath.Join(stateDir, "poison") }

// writePoison writes the frame, without its length prefix, to a new file ID-N.frame. It does
// nothing if there are maxPoison files.
func writePoison(fsys durable.FS, dir, id string, frame []byte) error {
	if err := fsys.MkdirAll(dir, dirPerm); err != nil {
		return err
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil || len(entries) >= maxPoison {
		return err
	}
	n := 1
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), id+"-") {
			n++
		}
	}
	f, err := fsys.OpenFile(filepath.Join(dir, fmt.Sprintf("%s-%d.frame", id, n)), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(frame, 0)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
