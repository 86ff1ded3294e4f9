// Package image reads zip archives and FAT disk images as trees of files.
//
// An [Image] is opened on a descriptor of the file that holds it:
//
//	img, err := cache.Open(fd, image.Zip)
//	node, err := img.Root().Child("hello.txt")
//	file, err := node.Open()
//	n, err := file.ReadAt(buf, 0)
//
// Only names and places are kept in memory. What an archive stores as it is, and
// every file of a disk image, is read by pread(2) from the image straight into
// the reader's buffer, so any number of readers go ahead at once. A compressed
// file of an archive is decoded for each opening of it: whole, up to a megabyte,
// and from front to back beyond that.
//
// An image is data from elsewhere: one that is damaged is refused or reads as an
// error, and never as an endless loop.
package image

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Kind is the format of an image.
type Kind uint8

// The formats.
const (
	Zip Kind = iota
	FAT
)

// ErrCorrupt is returned for what the image's own format forbids.
var ErrCorrupt = errors.New("image is damaged")

// ErrNotExist is returned for a name that a directory does not hold.
var ErrNotExist = errors.New("no such file in the image")

// Type is what a node is.
type Type uint8

// The types of nodes.
const (
	File Type = iota
	Directory
	Symlink
)

// Image is an open archive or disk image.
type Image struct {
	source *source
	root   *Node
	cache  *Cache // that it is shared through, or nil
	key    key
	users  int // guarded by cache.mu
}

// Root returns the top directory.
func (i *Image) Root() *Node { return i.root }

// Close gives the image up; the last to do so closes it.
func (i *Image) Close() error {
	if i.cache != nil {
		i.cache.mu.Lock()
		defer i.cache.mu.Unlock()
		if i.users--; i.users > 0 {
			return nil
		}
		delete(i.cache.images, i.key)
	}
	return i.source.Close()
}

// Node is a file, directory or symbolic link of an image.
type Node struct {
	Name     string
	Type     Type
	Size     int64
	Modified int64  // nanoseconds since 1970
	Inode    uint64 // the same for the same path of the same image

	tree tree
}

// tree is what a format knows about one node.
type tree interface {
	children() ([]*Node, error)
	child(name string) (*Node, error)
	target() (string, error)
	open() (Reader, error)
}

// Reader is an open file.
type Reader interface {
	io.ReaderAt
	io.Closer
}

// Child returns the node of that name in a directory.
func (n *Node) Child(name string) (*Node, error) { return n.tree.child(name) }

// Children returns the nodes of a directory, always in the same order.
func (n *Node) Children() ([]*Node, error) { return n.tree.children() }

// Target returns what a symbolic link points to.
func (n *Node) Target() (string, error) { return n.tree.target() }

// Open opens a file.
func (n *Node) Open() (Reader, error) { return n.tree.open() }

// Cache shares images between those who open the same file at the same time, so
// that its directory is read once. The zero value is ready, and a nil *Cache
// shares nothing.
type Cache struct {
	mu     sync.Mutex // guards images, and the users of each
	images map[key]*Image
}

// key tells one state of a file from any other.
type key struct {
	device, inode     uint64
	size              int64
	modified, changed int64
	kind              Kind
}

// Open opens the image in the file that fd stands for. The descriptor is
// duplicated: it stays the caller's.
func (c *Cache) Open(fd int, kind Kind) (*Image, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	k := key{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), kind}
	if c == nil {
		return open(fd, k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if img := c.images[k]; img != nil {
		img.users++
		return img, nil
	}
	img, err := open(fd, k)
	if err != nil {
		return nil, err
	}
	img.cache, img.users = c, 1
	if c.images == nil {
		c.images = map[key]*Image{}
	}
	c.images[k] = img
	return img, nil
}

func open(fd int, k key) (*Image, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open image: duplicate descriptor: %w", err)
	}
	src := &source{fd: dup, size: k.size}
	var root *Node
	switch k.kind {
	case Zip:
		root, err = openZip(src)
	default:
		root, err = openFAT(src)
	}
	if err != nil {
		src.Close()
		return nil, err
	}
	return &Image{source: src, root: root, key: k}, nil
}

// source is the file that holds an image.
type source struct {
	fd   int
	size int64
}

// ReadAt reads by pread(2), which any number of readers may do at once.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := unix.Pread(s.fd, p[total:], off+int64(total))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return total, err
		}
		if n == 0 {
			return total, io.EOF
		}
		total += n
	}
	return total, nil
}

// Close closes the file.
func (s *source) Close() error { return unix.Close(s.fd) }

// inodeOf numbers a node by its path.
func inodeOf(path string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, path)
	return h.Sum64()
}

// window limits a read to the first size bytes of something.
func window(p []byte, off, size int64) ([]byte, error) {
	if off < 0 {
		return nil, fmt.Errorf("read image: %w: offset %d", ErrCorrupt, off)
	}
	if off >= size {
		return nil, io.EOF
	}
	return p[:min(int64(len(p)), size-off)], nil
}
