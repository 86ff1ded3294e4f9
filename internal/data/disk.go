package data

import (
	"io"
	"io/fs"
	"os"
)

// disk is all that a Folder does with files, so that a test can have any of it
// fail. The zero value is the machine's disk.
type disk struct {
	// fault is asked before each operation, and its error is that of the operation,
	// which does not happen. Nil in use.
	fault func(op, path string) error
}

func (d disk) ask(op, path string) error {
	if d.fault == nil {
		return nil
	}
	if err := d.fault(op, path); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// do asks, and then does.
func (d disk) do(op, path string, f func() error) error {
	if err := d.ask(op, path); err != nil {
		return err
	}
	return f()
}

func (d disk) mkdir(path string) error {
	return d.do("mkdir", path, func() error { return os.Mkdir(path, 0o700) })
}

func (d disk) mkdirAll(path string) error {
	return d.do("mkdir", path, func() error { return os.MkdirAll(path, 0o700) })
}

func (d disk) rename(from, to string) error {
	return d.do("rename", from, func() error { return os.Rename(from, to) })
}

func (d disk) link(from, to string) error {
	return d.do("link", from, func() error { return os.Link(from, to) })
}

func (d disk) remove(path string) error {
	return d.do("remove", path, func() error { return os.Remove(path) })
}

func (d disk) removeAll(path string) error {
	return d.do("remove", path, func() error { return os.RemoveAll(path) })
}

func (d disk) stat(path string) (st os.FileInfo, err error) {
	err = d.do("stat", path, func() error { st, err = os.Stat(path); return err })
	return st, err
}

func (d disk) list(path string) (entries []os.DirEntry, err error) {
	err = d.do("list", path, func() error { entries, err = os.ReadDir(path); return err })
	return entries, err
}

func (d disk) open(path string) (f *os.File, err error) {
	err = d.do("open", path, func() error { f, err = os.Open(path); return err })
	return f, err
}

// create makes a file with a new name in a folder.
func (d disk) create(dir string) (f *os.File, err error) {
	err = d.do("create", dir, func() error { f, err = os.CreateTemp(dir, ""); return err })
	return f, err
}

// fill writes all of r to a file.
func (d disk) fill(f *os.File, r io.Reader) (n int64, err error) {
	err = d.do("write", f.Name(), func() error { n, err = io.Copy(f, r); return err })
	return n, err
}

func (d disk) sync(f *os.File) error { return d.do("sync", f.Name(), f.Sync) }

// close closes in any case.
func (d disk) close(f *os.File) error {
	err := d.ask("close", f.Name())
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
