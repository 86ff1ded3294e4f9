package wasi

import (
	"errors"
	"io"

	"github.com/weft-run/weft/internal/sandbox/wasm/wasi/image"
)

// imageMount is the top directory of an archive or disk image, which is opened
// when it is first touched. One that cannot be opened is IO from then on.
type imageMount struct {
	system *System
	mount  Mount
	guest  string
	top    *image.Node
	failed Errno
}

var _ node = (*imageMount)(nil)

// node returns the top directory.
func (m *imageMount) node() (imageNode, Errno) {
	if m.top == nil && m.failed == Success {
		m.system.timed("fs:"+m.guest, m.load)
	}
	return imageNode{m.top}, m.failed
}

func (m *imageMount) load() {
	kind := image.Zip
	if m.mount.Kind == FAT {
		kind = image.FAT
	}
	img, err := m.system.cfg.Images.Open(m.mount.FD, kind)
	if err != nil {
		m.failed = Eio
		if m.system.cfg.Failed != nil {
			m.system.cfg.Failed(m.guest, err)
		}
		return
	}
	m.system.images = append(m.system.images, img)
	m.top = img.Root()
}

func (m *imageMount) stat(st *Filestat) Errno {
	n, e := m.node()
	if e != Success {
		return e
	}
	return n.stat(st)
}

func (m *imageMount) child(name string) (node, Errno) {
	n, e := m.node()
	if e != Success {
		return nil, e
	}
	return n.child(name)
}

func (m *imageMount) children() (int, func(int) (string, node), Errno) {
	n, e := m.node()
	if e != Success {
		return 0, nil, e
	}
	return n.children()
}

func (m *imageMount) target() (string, Errno)      { return "", Einval }
func (m *imageMount) open(openHow) (object, Errno) { return nil, Eisdir }

// imageNode is a node of an image.
type imageNode struct{ *image.Node }

var _ node = imageNode{}

func (n imageNode) stat(st *Filestat) Errno {
	kind := TypeRegular
	switch n.Type {
	case image.Directory:
		kind = TypeDirectory
	case image.Symlink:
		kind = TypeSymlink
	}
	t := uint64(max(n.Modified, 0))
	*st = Filestat{Inode: n.Inode, Type: kind, Links: 1, Size: uint64(n.Size), Atime: t, Mtime: t, Ctime: t}
	return Success
}

func (n imageNode) child(name string) (node, Errno) {
	if n.Type != image.Directory {
		return nil, Enotdir
	}
	c, err := n.Child(name)
	if err != nil {
		return nil, imageErrno(err)
	}
	return imageNode{c}, Success
}

func (n imageNode) children() (int, func(int) (string, node), Errno) {
	list, err := n.Children()
	if err != nil {
		return 0, nil, imageErrno(err)
	}
	return len(list), func(i int) (string, node) { return list[i].Name, imageNode{list[i]} }, Success
}

func (n imageNode) target() (string, Errno) {
	if n.Type != image.Symlink {
		return "", Einval
	}
	t, err := n.Target()
	return t, imageErrno(err)
}

func (n imageNode) open(how openHow) (object, Errno) {
	if how.write || how.oflags&openTruncate != 0 {
		return nil, Erofs
	}
	r, err := n.Open()
	if err != nil {
		return nil, imageErrno(err)
	}
	return &imageFile{node: n, r: r}, Success
}

// imageErrno translates an error of package image.
func imageErrno(err error) Errno {
	if errors.Is(err, image.ErrNotExist) {
		return Enoent
	}
	return toErrno(err)
}

// imageFile is an open file of an image.
type imageFile struct {
	node imageNode
	r    image.Reader
}

var _ regular = (*imageFile)(nil)

func (f *imageFile) filetype() Filetype      { return TypeRegular }
func (f *imageFile) stat(st *Filestat) Errno { return f.node.stat(st) }
func (f *imageFile) close() Errno            { return toErrno(f.r.Close()) }

func (f *imageFile) preadv(_ *System, bufs [][]byte, offset uint64) (int, Errno) {
	if offset > 1<<63-1 {
		return 0, Einval
	}
	total := 0
	for _, b := range bufs {
		n, err := f.r.ReadAt(b, int64(offset)+int64(total))
		total += n
		if err != nil && err != io.EOF && total == 0 {
			return 0, toErrno(err)
		}
		if err != nil || n < len(b) {
			break
		}
	}
	return total, Success
}

func (f *imageFile) pwritev(*System, [][]byte, uint64, uint16) (int, Errno) { return 0, Erofs }
func (f *imageFile) setSize(uint64) Errno                                   { return Erofs }
func (f *imageFile) allocate(uint64, uint64) Errno                          { return Erofs }
func (f *imageFile) setTimes(timestamp, timestamp) Errno                    { return Erofs }

// advise and sync have nothing to do for a file that is read where it lies and
// never changes.
func (f *imageFile) advise(uint64, uint64, uint32) Errno { return Success }
func (f *imageFile) sync(bool) Errno                     { return Success }
