package durabletest

import (
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/logspool/logspool/internal/durable"
)

// Hook is called before an operation. Op is the method's name, such as "Rename" or
// "WriteAt", and OpenToRead for an OpenFile that can change nothing; name is the file,
// and the new name of a rename. If Hook returns an error, the operation fails with it and
// has no effect. Hook may also block the operation. It may be called by several
// goroutines at once.
type Hook func(op, name string) error

// OpenToRead is the operation of an OpenFile with O_RDONLY alone.
const OpenToRead = "OpenFile O_RDONLY"

// Hooked is a durable.FS that calls a Hook before it passes an operation on to another
// file system. Its methods may be called by several goroutines at once.
type Hooked struct {
	fsys durable.FS
	hook atomic.Pointer[Hook]
}

// NewHooked returns a Hooked without a hook: every operation goes to fsys.
func NewHooked(fsys durable.FS) *Hooked {
	h := &Hooked{fsys: fsys}
	h.Before(nil)
	return h
}

// Before sets the hook of the operations that begin from now on. Nil removes it.
func (h *Hooked) Before(hook Hook) {
	if hook == nil {
		hook = func(string, string) error { return nil }
	}
	h.hook.Store(&hook)
}

func (h *Hooked) call(op, name string) error { return (*h.hook.Load())(op, name) }

// Fail returns a Hook that fails with err the operations whose names begin with op, on
// files whose names end with suffix.
func Fail(op, suffix string, err error) Hook {
	return func(o, name string) error {
		if strings.HasPrefix(o, op) && strings.HasSuffix(name, suffix) {
			return err
		}
		return nil
	}
}

// OpenFile is durable.FS's.
func (h *Hooked) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	op := "OpenFile"
	if flag == os.O_RDONLY {
		op = OpenToRead
	}
	if err := h.call(op, name); err != nil {
		return nil, err
	}
	f, err := h.fsys.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return hookedFile{f, h, name}, nil
}

// ReadDir is durable.FS's.
func (h *Hooked) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := h.call("ReadDir", name); err != nil {
		return nil, err
	}
	return h.fsys.ReadDir(name)
}

// ReadFile is durable.FS's.
func (h *Hooked) ReadFile(name string) ([]byte, error) {
	if err := h.call("ReadFile", name); err != nil {
		return nil, err
	}
	return h.fsys.ReadFile(name)
}

// MkdirAll is durable.FS's.
func (h *Hooked) MkdirAll(name string, perm fs.FileMode) error {
	if err := h.call("MkdirAll", name); err != nil {
		return err
	}
	return h.fsys.MkdirAll(name, perm)
}

// Rename is durable.FS's.
func (h *Hooked) Rename(oldname, newname string) error {
	if err := h.call("Rename", newname); err != nil {
		return err
	}
	return h.fsys.Rename(oldname, newname)
}

// Remove is durable.FS's.
func (h *Hooked) Remove(name string) error {
	if err := h.call("Remove", name); err != nil {
		return err
	}
	return h.fsys.Remove(name)
}

// SyncDir is durable.FS's.
func (h *Hooked) SyncDir(name string) error {
	if err := h.call("SyncDir", name); err != nil {
		return err
	}
	return h.fsys.SyncDir(name)
}

// hookedFile is an open file of a Hooked.
type hookedFile struct {
	durable.File
	h    *Hooked
	name string
}

func (f hookedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.h.call("ReadAt", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f hookedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.h.call("WriteAt", f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f hookedFile) Truncate(size int64) error {
	if err := f.h.call("Truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f hookedFile) Sync() error {
	if err := f.h.call("Sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}
