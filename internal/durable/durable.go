// Package durable puts files on disk so that they are there after a crash. It is the only package
// that knows in which order to write, sync and rename; everything that must survive goes through
// the FS interface, so that a test can stand in for the disk, lose what was not synced, and fail at
// any call.
//
// The package must not know what is in the files.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is an open file. Methods are those of os.File.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
}

// FS is the file system under a state directory. Methods are those of package os, except SyncDir.
// All may block for as long as the disk does.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	ReadFile(name string) ([]byte, error)
	MkdirAll(name string, perm fs.FileMode) error
	Rename(oldname, newname string) error
	Remove(name string) error
	// SyncDir makes the directory's entries (files made, renamed, removed) survive a power cut.
	SyncDir(name string) error
}

// OS is the real file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File in a File is not nil
	}
	return f, nil
}
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) ReadFile(name string) ([]byte, error)         { return os.ReadFile(name) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) Rename(oldname, newname string) error         { return os.Rename(oldname, newname) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// tempSuffix marks a file that WriteFile has not finished; RemoveTemp clears what a crash left.
const tempSuffix = ".tmp"

// WriteFile replaces the file name with data, so that after a crash of the process it holds either what it
// held before or all of data: it writes a temporary file beside it (O_CREAT, O_TRUNC) and renames it over
// name. With sync it holds after a power cut too: the file is synced before the rename and the directory
// after it, and WriteFile blocks for as long as the disk takes.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode, sync bool) (err error) {
	tmp := name + tempSuffix
	f, err := fsys.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, perm)
	if err != nil {
		return fmt.Errorf("couldn't create %q: %w", tmp, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreNotExist(fsys.Remove(tmp)))
		}
	}()
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return fmt.Errorf("couldn't write %q: %w", tmp, err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			f.Close()
			return fmt.Errorf("couldn't sync %q: %w", tmp, err)
		}
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("couldn't close %q: %w", tmp, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("couldn't rename %q: %w", tmp, err)
	}
	if sync {
		if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
			return fmt.Errorf("couldn't sync the directory of %q: %w", name, err)
		}
	}
	return nil
}

// RemoveTemp removes what an interrupted WriteFile left in dir.
func RemoveTemp(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == tempSuffix {
			if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
