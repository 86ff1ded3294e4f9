package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guard is the file system that Pebble sees: the disk, until something that is
// to change the store's folder fails. From then on the folder stays as it is,
// whatever Pebble does, and Pebble is told that all is well. So a failure leaves
// on disk what a crash at that moment would have left, which Pebble recovers
// from, and the store is told of it before it can promise anything that comes
// later.
//
// Pebble itself answers such errors with a panic, with a panic under which it
// unlocks a lock that it does not hold, with attempts without end, or by having
// the writer wait for those, which depends on the file and the moment.
//
// What is read passes unchanged, and so does what is outside the folder: a
// checkpoint that does not fit its disk is no failure of the store.
type guard struct {
	vfs.FS
	dir    string
	told   func() // of the first failure; must not block
	frozen atomic.Bool

	mu  sync.Mutex
	err error // the first failure; guarded by mu
}

func newGuard(disk vfs.FS, dir string, told func()) *guard {
	return &guard{FS: disk, dir: disk.PathJoin(dir), told: told}
}

// fail freezes the folder.
func (g *guard) fail(err error) {
	g.mu.Lock()
	first := g.err == nil
	if first {
		g.err = err
		g.frozen.Store(true)
	}
	g.mu.Unlock()
	if first {
		g.told()
	}
}

// failure is what froze the folder, or nil.
func (g *guard) failure() error {
	if !g.frozen.Load() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

func (g *guard) guards(name string) bool {
	return name == g.dir || strings.HasPrefix(name, g.dir+"/")
}

// change does something to a name in the folder, unless the folder is frozen; a
// failure freezes it.
func (g *guard) change(what, name string, f func() error) error {
	if !g.guards(name) {
		return f()
	}
	if g.frozen.Load() {
		return nil
	}
	if err := f(); err != nil {
		g.fail(describe(what, name, err))
	}
	return nil
}

// describe names the file, if the error does not.
func describe(what, name string, err error) error {
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) || errors.As(err, &link) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}

// file opens a file to write to; one in memory if that fails.
func (g *guard) file(what, name string, open func() (vfs.File, error)) (vfs.File, error) {
	if !g.guards(name) {
		return open()
	}
	var f vfs.File
	if err := g.change(what, name, func() (err error) { f, err = open(); return err }); err != nil || f == nil {
		if f, err = vfs.NewMem().Create("lost", vfs.WriteCategoryUnspecified); err != nil {
			return nil, err
		}
	}
	return &guardFile{f, g, name}, nil
}

// Create makes a file. Pebble's markers name another file, whose own entry has to
// be on disk before the marker's is: Pebble syncs both at once, after which either
// may be there alone if the machine dies.
func (g *guard) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(g.PathBase(name), "marker.") && g.guards(name) {
		if err := g.change("sync", name, func() error { return g.syncDir(g.PathDir(name)) }); err != nil {
			return nil, err
		}
	}
	return g.file("create", name, func() (vfs.File, error) { return g.FS.Create(name, c) })
}

func (g *guard) syncDir(name string) error {
	dir, err := g.FS.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (g *guard) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.file("reuse", to, func() (vfs.File, error) { return g.FS.ReuseForWrite(from, to, c) })
}

func (g *guard) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return g.file("open", name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, o...) })
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil || !g.guards(name) {
		return f, err
	}
	return &guardFile{f, g, name}, nil
}

func (g *guard) Link(from, to string) error {
	return g.change("link", to, func() error { return g.FS.Link(from, to) })
}

func (g *guard) Rename(from, to string) error {
	return g.change("rename", to, func() error { return g.FS.Rename(from, to) })
}

func (g *guard) MkdirAll(name string, perm os.FileMode) error {
	return g.change("make", name, func() error { return g.FS.MkdirAll(name, perm) })
}

// Remove passes errors on: what stays is in nobody's way.
func (g *guard) Remove(name string) error {
	if g.guards(name) && g.frozen.Load() {
		return nil
	}
	return g.FS.Remove(name)
}

func (g *guard) RemoveAll(name string) error {
	if g.guards(name) && g.frozen.Load() {
		return nil
	}
	return g.FS.RemoveAll(name)
}

func (g *guard) Lock(name string) (io.Closer, error) { return g.FS.Lock(name) }

// GetDiskUsage is a hint for Pebble's pace, which it can do without.
func (g *guard) GetDiskUsage(name string) (vfs.DiskUsage, error) {
	usage, err := g.FS.GetDiskUsage(name)
	if err != nil {
		return usage, vfs.ErrUnsupported
	}
	return usage, nil
}

func (g *guard) Unwrap() vfs.FS { return g.FS }

// guardFile is a file in the folder that is written to, or a folder in it.
type guardFile struct {
	vfs.File
	g    *guard
	name string
}

// write writes n bytes, or does as if.
func (f *guardFile) write(n int, write func() (int, error)) (int, error) {
	return n, f.g.change("write", f.name, func() error {
		done, err := write()
		if err == nil && done < n {
			err = io.ErrShortWrite
		}
		return err
	})
}

func (f *guardFile) Write(p []byte) (int, error) {
	return f.write(len(p), func() (int, error) { return f.File.Write(p) })
}

func (f *guardFile) WriteAt(p []byte, at int64) (int, error) {
	return f.write(len(p), func() (int, error) { return f.File.WriteAt(p, at) })
}

func (f *guardFile) Sync() error { return f.g.change("sync", f.name, f.File.Sync) }

func (f *guardFile) SyncData() error { return f.g.change("sync", f.name, f.File.SyncData) }

func (f *guardFile) SyncTo(length int64) (whole bool, err error) {
	err = f.g.change("sync", f.name, func() error {
		whole, err = f.File.SyncTo(length)
		return err
	})
	return whole, err
}

// Preallocate is a hint. Not every file system takes it.
func (f *guardFile) Preallocate(at, length int64) error {
	if !f.g.frozen.Load() {
		f.File.Preallocate(at, length)
	}
	return nil
}

func (f *guardFile) Stat() (info vfs.FileInfo, err error) {
	if info, err = f.File.Stat(); err == nil {
		return info, nil
	}
	f.g.fail(describe("stat", f.name, err))
	lost, err := vfs.NewMem().Create("lost", vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return lost.Stat()
}

// Close always closes, so that a failed store leaves nothing open.
func (f *guardFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.g.fail(describe("close", f.name, err))
	}
	return nil
}
