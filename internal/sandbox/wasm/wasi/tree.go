package wasi

import (
	"strings"
	"unsafe"
)

// node is a file, directory or symbolic link of a tree that nothing can be made
// in: an archive, a disk image, or the folder of single-file mounts.
type node interface {
	stat(st *Filestat) Errno
	child(name string) (node, Errno)                    // NOENT; NOTDIR when the node is no directory
	children() (int, func(i int) (string, node), Errno) // in an order that stays
	target() (string, Errno)                            // of a symbolic link
	open(how openHow) (object, Errno)                   // of a file
}

// treeDir is a directory of such a tree.
type treeDir struct{ root node }

var _ directory = (*treeDir)(nil)

func (d *treeDir) filetype() Filetype      { return TypeDirectory }
func (d *treeDir) stat(st *Filestat) Errno { return d.root.stat(st) }
func (d *treeDir) close() Errno            { return Success }

// find walks to the node at path; follow says what to do when it is a symbolic
// link. What leads above the root is PERM.
func (d *treeDir) find(path string, follow bool) (node, Errno) {
	if path == "" {
		return nil, Enoent
	}
	if path[0] == '/' {
		return nil, Eperm
	}
	stack := []node{d.root}
	links := 0
	for rest := path; rest != ""; {
		name, after, more := strings.Cut(rest, "/")
		after = strings.TrimLeft(after, "/")
		switch name {
		case "", ".":
		case "..":
			if len(stack) == 1 {
				return nil, Eperm
			}
			stack = stack[:len(stack)-1]
		default:
			next, e := stack[len(stack)-1].child(name)
			if e != Success {
				return nil, e
			}
			var st Filestat
			if e := next.stat(&st); e != Success {
				return nil, e
			}
			if st.Type == TypeSymlink && (more || follow) {
				if links++; links > maxLinks {
					return nil, Eloop
				}
				target, e := next.target()
				switch {
				case e != Success:
					return nil, e
				case target == "":
					return nil, Enoent
				case target[0] == '/':
					return nil, Eperm
				case len(target)+len(after) > maxPath:
					return nil, Enametoolong
				}
				if more {
					target += "/" + after
				}
				rest = target
				continue
			}
			if more && st.Type != TypeDirectory {
				return nil, Enotdir
			}
			stack = append(stack, next)
		}
		rest = after
	}
	return stack[len(stack)-1], Success
}

func (d *treeDir) open(path string, how openHow) (object, Errno) {
	n, e := d.find(path, how.follow)
	if e == Enoent && how.oflags&openCreate != 0 {
		return nil, Erofs
	}
	if e != Success {
		return nil, e
	}
	if how.oflags&(openCreate|openExclusive) == openCreate|openExclusive {
		return nil, Eexist
	}
	var st Filestat
	if e := n.stat(&st); e != Success {
		return nil, e
	}
	switch {
	case st.Type == TypeSymlink && how.oflags&openDirectory != 0:
		return nil, Enotdir
	case st.Type == TypeSymlink:
		return nil, Eloop
	case st.Type == TypeDirectory && (how.write || how.oflags&(openTruncate|openCreate) != 0):
		return nil, Eisdir
	case st.Type == TypeDirectory:
		return &treeDir{n}, Success
	case how.oflags&openDirectory != 0:
		return nil, Enotdir
	}
	return n.open(how)
}

func (d *treeDir) lookup(path string, follow bool, st *Filestat) Errno {
	n, e := d.find(path, follow)
	if e != Success {
		return e
	}
	return n.stat(st)
}

func (d *treeDir) readlink(path string, buf []byte) (int, Errno) {
	n, e := d.find(path, false)
	if e != Success {
		return 0, e
	}
	target, e := n.target()
	if e != Success {
		return 0, e
	}
	return copy(buf, target), Success
}

func (d *treeDir) mkdir(string) Errno           { return Erofs }
func (d *treeDir) rmdir(string) Errno           { return Erofs }
func (d *treeDir) unlink(string) Errno          { return Erofs }
func (d *treeDir) symlink(string, string) Errno { return Erofs }

func (d *treeDir) link(_ string, _ bool, to directory, _ string) Errno {
	if _, ok := to.(*treeDir); !ok {
		return Exdev
	}
	return Erofs
}

func (d *treeDir) rename(string, directory, string) Errno              { return Erofs }
func (d *treeDir) setTimesAt(string, bool, timestamp, timestamp) Errno { return Erofs }
func (d *treeDir) setTimes(timestamp, timestamp) Errno                 { return Erofs }

// sync has nothing to flush, since nothing can be changed.
func (d *treeDir) sync(bool) Errno { return Success }

// entries gives "." the cookie 1, ".." 2, and the i-th child i+3.
func (d *treeDir) entries(cookie uint64, yield func(*dirent) bool) Errno {
	count, at, e := d.root.children()
	if e != Success {
		return e
	}
	for i := cookie; i < uint64(count)+2; i++ {
		name, n := "..", d.root
		switch {
		case i == 0:
			name = "."
		case i >= 2:
			name, n = at(int(i - 2))
		}
		var st Filestat
		if e := n.stat(&st); e != Success {
			return e
		}
		entry := dirent{next: i + 1, inode: st.Inode, kind: st.Type, name: unsafe.Slice(unsafe.StringData(name), len(name))}
		if !yield(&entry) {
			break
		}
	}
	return Success
}
