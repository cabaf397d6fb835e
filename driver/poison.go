package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/logspool/logspool/internal/durable"
)

// maxPoison is how many frames on which the plugin panicked are kept, of all containers together.
const maxPoison = 64

// panicked logs that the plugin has panicked on a container's output. It is called once for each delivery of a container.
func (s *session) panicked(cause any, stack []byte) {
	s.d.log.Error("the plugin failed on a container's output; it is set aside, and a marker in the stream shows the loss",
		"container", s.name(), "kept_in", poisonDir(s.d.o.Settings.StateDir), "panic", fmt.Sprint(cause), "stack", string(stack))
}

// setAside keeps a frame on which the plugin panicked, so that the bug can be found.
func (s *session) setAside(frame []byte, _ any) {
	if err := savePoison(s.d.fs, poisonDir(s.d.o.Settings.StateDir), s.id, frame); err != nil {
		s.d.log.Warn("a frame on which the plugin failed cannot be set aside", "container", s.name(), "err", err)
	}
}

func poisonDir(stateDir string) string { return filepath.Join(stateDir, "poison") }

// savePoison writes the frame, as dockerd wrote it but for its length, into a file of its own: ID-N.frame. It does
// nothing when there are enough of them.
func savePoison(fsys durable.FS, dir, id string, frame []byte) error {
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
