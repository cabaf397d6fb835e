package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ReadOnly returns fsys as if it were mounted read-only. Every change fails with EROFS.
// Unlike on a read-only mount, a file can be opened for writing, and only the write
// fails.
func ReadOnly(fsys FS) FS { return readOnlyFS{fsys} }

type readOnlyFS struct{ FS }

func (f readOnlyFS) OpenFile(name string, _ int, perm fs.FileMode) (File, error) {
	file, err := f.FS.OpenFile(name, os.O_RDONLY, perm)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{file}, nil
}

func (f readOnlyFS) MkdirAll(name string, _ fs.FileMode) error {
	_, err := f.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return readOnly("mkdir", name)
	}
	return err
}

func (readOnlyFS) Rename(_, newname string) error { return readOnly("rename", newname) }
func (readOnlyFS) Remove(name string) error       { return readOnly("remove", name) }
func (readOnlyFS) SyncDir(string) error           { return nil }

type readOnlyFile struct{ File }

func (readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, syscall.EROFS }
func (readOnlyFile) Truncate(int64) error               { return syscall.EROFS }
func (readOnlyFile) Sync() error                        { return nil }

func readOnly(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: syscall.EROFS} }
