// Package durabletest is a disk for tests of what must survive: a durable.FS in memory that fails at any call that
// a test names, with or without the effect, and that can be looked at as a crash would leave it.
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

// ErrInjected is what a call fails with where the test names no other error.
var ErrInjected = errors.New("injected")

// Disk is a durable.FS in memory. All methods may be called from any goroutine.
type Disk struct {
	mu    sync.Mutex
	dirs  map[string]*dir
	calls int
	fail  func(call int, op, name string) Failure
	limit int64 // bytes that all files may have; 0: no bound
}

// Failure says how a call fails; the zero value, that it does not.
type Failure struct {
	Err error
	// After says that the effect is there all the same; for a write, the first half of it.
	After bool
}

// dir is a directory. What is there now and what a power cut would leave are two things.
type dir struct {
	now, synced map[string]*node
}

// node is a file's content, now and as it was last synced.
type node struct {
	data, synced []byte
}

// NewDisk returns an empty disk that never fails.
func NewDisk() *Disk { return &Disk{dirs: map[string]*dir{"/": newDir()}} }

func newDir() *dir { return &dir{now: map[string]*node{}, synced: map[string]*node{}} }

// FailWhen has fail asked before each call that changes the disk or syncs it, and each open. call counts them from
// 1; op is the method's name. Nil: nothing fails.
func (d *Disk) FailWhen(fail func(call int, op, name string) Failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.calls = fail, 0
}

// Limit makes the disk full at so many bytes; 0: it never is.
func (d *Disk) Limit(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = bytes
}

// Calls returns how many calls FailWhen's function would have been asked about.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Killed returns the disk as the next process finds it after a kill: everything the kernel was told is there.
func (d *Disk) Killed() *Disk {
	return d.clone(func(x *dir) map[string]*node { return x.now }, func(n *node) []byte { return n.data })
}

// PowerCut returns the disk as it is found after a power cut: what was synced is there, nothing else.
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

// enter counts a call in and says how it fails. d.mu is held.
func (d *Disk) enter(op, name string) Failure {
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

func (d *Disk) lookup(name string) (*dir, *node) {
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
	f := d.enter("OpenFile", name)
	if f.Err != nil && !f.After {
		return nil, pathError("open", name, f.Err)
	}
	x, n := d.lookup(name)
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
	_, n := d.lookup(name)
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return bytes.Clone(n.data), nil
}

// MkdirAll is os.MkdirAll. A directory survives a power cut at once: none of the tests is about that.
func (d *Disk) MkdirAll(name string, _ fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.enter("MkdirAll", name); f.Err != nil && !f.After {
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

// Rename is os.Rename for files of one directory.
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.enter("Rename", newname)
	if f.Err != nil && !f.After {
		return pathError("rename", newname, f.Err)
	}
	x, n := d.lookup(oldname)
	y, _ := d.lookup(newname)
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
	f := d.enter("Remove", name)
	if f.Err != nil && !f.After {
		return pathError("remove", name, f.Err)
	}
	clean := filepath.Clean(name)
	x, n := d.lookup(name)
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
	f := d.enter("SyncDir", name)
	if f.Err == nil || f.After {
		x.synced = maps.Clone(x.now)
	}
	if f.Err != nil {
		return pathError("sync", name, f.Err)
	}
	return nil
}

// file is an open file. It goes on after its entry was removed.
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
	fail := f.d.enter("WriteAt", f.name)
	if fail.Err != nil && !fail.After {
		return 0, pathError("write", f.name, fail.Err)
	}
	if fail.Err != nil {
		p = p[:len(p)/2]
	}
	if room := f.d.roomLocked(); room >= 0 {
		if grow := off + int64(len(p)) - int64(len(f.n.data)); grow > room {
			p = p[:max(0, int64(len(p))-(grow-room))]
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

// roomLocked is how many bytes are free; -1: no bound.
func (d *Disk) roomLocked() int64 {
	if d.limit == 0 {
		return -1
	}
	room := d.limit
	for _, x := range d.dirs {
		for _, n := range x.now {
			room -= int64(len(n.data))
		}
	}
	return max(room, 0)
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	fail := f.d.enter("Truncate", f.name)
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
	fail := f.d.enter("Sync", f.name)
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
