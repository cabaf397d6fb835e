// Package durable writes files so that they are there after a crash. It is the only package
// that knows in which order to write, sync and rename. Everything that must survive a crash
// goes through the FS interface, so that a test can replace the disk, lose what was not
// synced, and fail any call.
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

// File is an open file. Its methods are those of os.File.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
}

// FS is the file system of a state directory. Its methods are those of package os, apart
// from SyncDir. Any of them may block for as long as the disk does.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	ReadFile(name string) ([]byte, error)
	MkdirAll(name string, perm fs.FileMode) error
	Rename(oldname, newname string) error
	Remove(name string) error
	// SyncDir syncs a directory, so that its entries (files made, renamed, removed) survive
	// a power cut.
	SyncDir(name string) error
}

// OS is the real file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not f: a File with a nil *os.File is not nil
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

// tempSuffix is the suffix of a file that WriteFile has not finished.
const tempSuffix = ".tmp"

// The permissions of the plugin's directories and files. Only root may read them.
const (
	DirPerm  = 0o700
	FilePerm = 0o600
)

// WriteFile replaces the content of a file by data. After a crash of the process, the file
// has either its old content or all of data: WriteFile writes a temporary file in the same
// directory (O_CREAT, O_TRUNC) and renames it to name. With sync, the same is true after a
// power cut: WriteFile syncs the temporary file before the rename and the directory after
// it, and blocks for as long as the disk takes.
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

// RemoveTemp removes the temporary files in dir that an interrupted WriteFile has left.
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
