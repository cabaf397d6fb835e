// Package durabletest has file systems for tests. A Disk is in memory. It fails any
// operation that a test chooses, with or without the effect, and shows what a crash would
// leave. A Hooked is a real or another file system that a test can fail or delay.
//
// The package must not know what is in the files.
package durabletest

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// ErrInjected is the error of a failed call if the test gives no other.
var ErrInjected = errors.New("injected")

// Disk is a durable.FS in memory. All methods may be called from any goroutine.
type Disk struct {
	mu    sync.Mutex // mu guards all fields of Disk, dir, node and file.
	dirs  map[string]*dir
	calls int // calls counts the calls since FailWhen.
	fail  func(call int, op, name string) Failure
	limit int64 // limit is how many bytes all files together may have; 0 means no limit.
}

// Failure is how a call fails. The zero value means that it does not fail. If a write
// fails with After, its first half is written.
type Failure struct {
	Err error
	// After makes the call have its effect although it fails.
	After bool
}

// dir is a directory: its files now, and the files that a power cut would leave.
type dir struct {
	now, synced map[string]*node // now and synced are keyed by base name.
}

// node is a file's content: now, and when it was last synced.
type node struct {
	data, synced []byte
}

// NewDisk returns an empty disk that never fails.
func NewDisk() *Disk { return &Disk{dirs: map[string]*dir{"/": newDir()}} }

func newDir() *dir { return &dir{now: map[string]*node{}, synced: map[string]*node{}} }

// FailWhen sets a function that is called before each operation that opens, changes or
// syncs something, and that returns how the operation fails. Call is the number of the
// operation since FailWhen, from 1, and op is the method's name. If fail is nil, nothing
// fails.
func (d *Disk) FailWhen(fail func(call int, op, name string) Failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.calls = fail, 0
}

// Limit sets the size of the disk in bytes. 0 means no limit.
func (d *Disk) Limit(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = bytes
}

// Calls returns how many operations have called FailWhen's function, or would have.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Killed returns the disk as it is after a kill of the process: it has everything that
// was written.
func (d *Disk) Killed() *Disk {
	return d.clone(func(x *dir) map[string]*node { return x.now }, func(n *node) []byte { return n.data })
}

// PowerCut returns the disk as it is after a power cut: it has only what was synced.
func (d *Disk) PowerCut() *Disk {
	return d.clone(func(x *dir) map[string]*node { return x.synced }, func(n *node) []byte { return n.synced })
}

func (d *Disk) clone(entries func(*dir) map[string]*node, content func(*node) []byte) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := &Disk{dirs: map[string]*dir{}}
	for path, x := range d.dirs {
		y := newDir()
		for name, n := range entries(x) {
			y.now[name] = &node{data: bytes.Clone(content(n)), synced: bytes.Clone(content(n))}
		}
		y.synced = maps.Clone(y.now)
		out.dirs[path] = y
	}
	return out
}

// enterLocked counts a call and returns how it fails.
func (d *Disk) enterLocked(op, name string) Failure {
	d.calls++
	if d.fail == nil {
		return Failure{}
	}
	f := d.fail(d.calls, op, name)
	if f.After && f.Err == nil {
		f.Err = ErrInjected
	}
	return f
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func (d *Disk) lookupLocked(name string) (*dir, *node) {
	x := d.dirs[filepath.Dir(filepath.Clean(name))]
	if x == nil {
		return nil, nil
	}
	return x, x.now[filepath.Base(name)]
}

// OpenFile is os.OpenFile for files.
func (d *Disk) OpenFile(name string, flag int, _ fs.FileMode) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.enterLocked("OpenFile", name)
	if f.Err != nil && !f.After {
		return nil, pathError("open", name, f.Err)
	}
	x, n := d.lookupLocked(name)
	switch {
	case x == nil, n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case n == nil:
		n = &node{}
		x.now[filepath.Base(name)] = n
	case flag&os.O_TRUNC != 0:
		n.data = nil
	}
	if f.Err != nil {
		return nil, pathError("open", name, f.Err)
	}
	return &file{d: d, n: n, name: name}, nil
}

// ReadDir is os.ReadDir.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.dirs[filepath.Clean(name)]
	if x == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	var entries []fs.DirEntry
	for base, n := range x.now {
		entries = append(entries, fs.FileInfoToDirEntry(info{base, int64(len(n.data)), 0o600}))
	}
	for path := range d.dirs {
		if path != "/" && filepath.Dir(path) == filepath.Clean(name) {
			entries = append(entries, fs.FileInfoToDirEntry(info{filepath.Base(path), 0, fs.ModeDir | 0o700}))
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// ReadFile is os.ReadFile.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, n := d.lookupLocked(name)
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return bytes.Clone(n.data), nil
}

// MkdirAll is os.MkdirAll. A new directory survives a power cut without a sync, because no
// test is about that.
func (d *Disk) MkdirAll(name string, _ fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.enterLocked("MkdirAll", name); f.Err != nil && !f.After {
		return pathError("mkdir", name, f.Err)
	}
	for path := filepath.Clean(name); ; path = filepath.Dir(path) {
		if d.dirs[path] == nil {
			d.dirs[path] = newDir()
		}
		if path == "/" || path == "." {
			return nil
		}
	}
}

// Rename is os.Rename for files, not for directories.
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.enterLocked("Rename", newname)
	if f.Err != nil && !f.After {
		return pathError("rename", newname, f.Err)
	}
	x, n := d.lookupLocked(oldname)
	y, _ := d.lookupLocked(newname)
	if n == nil || y == nil {
		return pathError("rename", oldname, fs.ErrNotExist)
	}
	delete(x.now, filepath.Base(oldname))
	y.now[filepath.Base(newname)] = n
	if f.Err != nil {
		return pathError("rename", newname, f.Err)
	}
	return nil
}

// Remove is os.Remove.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.enterLocked("Remove", name)
	if f.Err != nil && !f.After {
		return pathError("remove", name, f.Err)
	}
	clean := filepath.Clean(name)
	x, n := d.lookupLocked(name)
	switch {
	case n != nil:
		delete(x.now, filepath.Base(name))
	case d.dirs[clean] == nil:
		return pathError("remove", name, fs.ErrNotExist)
	case len(d.dirs[clean].now) > 0 || slices.ContainsFunc(slices.Collect(maps.Keys(d.dirs)), func(p string) bool {
		return strings.HasPrefix(p, clean+"/")
	}):
		return pathError("remove", name, errors.New("directory not empty"))
	default:
		delete(d.dirs, clean)
	}
	if f.Err != nil {
		return pathError("remove", name, f.Err)
	}
	return nil
}

// SyncDir makes the directory's entries survive a power cut.
func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.dirs[filepath.Clean(name)]
	if x == nil {
		return pathError("sync", name, fs.ErrNotExist)
	}
	f := d.enterLocked("SyncDir", name)
	if f.Err == nil || f.After {
		x.synced = maps.Clone(x.now)
	}
	if f.Err != nil {
		return pathError("sync", name, f.Err)
	}
	return nil
}

// file is an open file. It can be used after its entry was removed, as on a real disk.
type file struct {
	d      *Disk
	n      *node
	name   string
	closed bool
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return 0, pathError("write", f.name, fs.ErrClosed)
	}
	fail := f.d.enterLocked("WriteAt", f.name)
	if fail.Err != nil && !fail.After {
		return 0, pathError("write", f.name, fail.Err)
	}
	if fail.Err != nil {
		p = p[:len(p)/2]
	}
	if free := f.d.freeLocked(); free >= 0 {
		if grow := off + int64(len(p)) - int64(len(f.n.data)); grow > free {
			p = p[:max(0, int64(len(p))-(grow-free))]
			fail.Err = cmp.Or(fail.Err, error(syscall.ENOSPC))
		}
	}
	if need := off + int64(len(p)); len(p) > 0 && need > int64(len(f.n.data)) {
		f.n.data = append(f.n.data, make([]byte, need-int64(len(f.n.data)))...)
	}
	n := copy(f.n.data[min(off, int64(len(f.n.data))):], p)
	if fail.Err != nil {
		return n, pathError("write", f.name, fail.Err)
	}
	return n, nil
}

// freeLocked returns how many bytes are free, and -1 without a limit.
func (d *Disk) freeLocked() int64 {
	if d.limit == 0 {
		return -1
	}
	free := d.limit
	for _, x := range d.dirs {
		for _, n := range x.now {
			free -= int64(len(n.data))
		}
	}
	return max(free, 0)
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	fail := f.d.enterLocked("Truncate", f.name)
	if fail.Err != nil && !fail.After {
		return pathError("truncate", f.name, fail.Err)
	}
	if size < int64(len(f.n.data)) {
		f.n.data = f.n.data[:size:size]
	} else {
		f.n.data = append(f.n.data, make([]byte, size-int64(len(f.n.data)))...)
	}
	if fail.Err != nil {
		return pathError("truncate", f.name, fail.Err)
	}
	return nil
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	fail := f.d.enterLocked("Sync", f.name)
	if fail.Err == nil || fail.After {
		f.n.synced = bytes.Clone(f.n.data)
	}
	if fail.Err != nil {
		return pathError("sync", f.name, fail.Err)
	}
	return nil
}

func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.closed = true
	return nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return info{filepath.Base(f.name), int64(len(f.n.data)), 0o600}, nil
}

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
