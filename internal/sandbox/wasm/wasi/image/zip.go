package image

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

const (
	// wholeLimit is the size up to which a compressed file is decoded at once.
	wholeLimit = 1 << 20
	// longestLink is the longest symbolic link that is followed.
	longestLink = 4095
)

// zipNode is a node of an archive.
type zipNode struct {
	src   *source
	file  *zip.File // nil for a directory that is only implied by its contents
	node  *Node
	names map[string]*Node
	order []*Node
}

// openZip reads the central directory. Names that are absolute, or that have
// ".." or nothing between two slashes, name nothing a guest could ask for and
// are left out; of two entries with one name the later counts.
func openZip(src *source) (*Node, error) {
	r, err := zip.NewReader(src, src.size)
	if err != nil {
		return nil, fmt.Errorf("open zip archive: %w", err)
	}
	root := newZipNode(src, "", "")
	for _, f := range r.File {
		name := strings.TrimSuffix(f.Name, "/")
		if !fs.ValidPath(name) || name == "." {
			continue
		}
		root.tree.(*zipNode).add(name, f)
	}
	return root, nil
}

func newZipNode(src *source, path, name string) *Node {
	n := &Node{Name: name, Type: Directory, Inode: inodeOf(path)}
	n.tree = &zipNode{src: src, node: n}
	return n
}

// add places f at path below z, which is the root.
func (z *zipNode) add(path string, f *zip.File) {
	at := 0
	for {
		rest := path[at:]
		name, _, more := strings.Cut(rest, "/")
		at += len(name)
		n := z.names[name]
		if n == nil {
			n = newZipNode(z.src, path[:at], name)
			if z.names == nil {
				z.names = map[string]*Node{}
			}
			z.names[name] = n
			z.order = append(z.order, n)
		}
		next := n.tree.(*zipNode)
		if !more {
			next.describe(f)
			return
		}
		if n.Type != Directory {
			return // below a file: nothing can reach it
		}
		z = next
		at++
	}
}

// describe takes over what the archive says of an entry.
func (z *zipNode) describe(f *zip.File) {
	z.node.Modified = f.Modified.UnixNano()
	switch mode := f.Mode(); {
	case strings.HasSuffix(f.Name, "/") || mode.IsDir():
		return // a directory, which may have entries already
	case len(z.order) > 0:
		return
	case mode&fs.ModeSymlink != 0:
		z.node.Type = Symlink
	default:
		z.node.Type = File
	}
	z.file = f
	z.node.Size = int64(min(f.UncompressedSize64, 1<<63-1))
}

func (z *zipNode) children() ([]*Node, error) { return z.order, nil }

func (z *zipNode) child(name string) (*Node, error) {
	if n := z.names[name]; n != nil {
		return n, nil
	}
	return nil, ErrNotExist
}

func (z *zipNode) target() (string, error) {
	if z.node.Size > longestLink {
		return "", fmt.Errorf("read zip link %s: %w: %d bytes", z.file.Name, ErrCorrupt, z.node.Size)
	}
	r, err := z.file.Open()
	if err != nil {
		return "", fmt.Errorf("read zip link %s: %w", z.file.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, longestLink))
	if err != nil {
		return "", fmt.Errorf("read zip link %s: %w", z.file.Name, err)
	}
	return string(b), nil
}

func (z *zipNode) open() (Reader, error) {
	if z.file.Flags&1 != 0 {
		return nil, fmt.Errorf("open %s: encrypted zip entries are not supported", z.file.Name)
	}
	if z.file.Method == zip.Store {
		off, err := z.file.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", z.file.Name, err)
		}
		if z.node.Size > z.src.size-off {
			return nil, fmt.Errorf("open %s: %w: longer than the archive", z.file.Name, ErrCorrupt)
		}
		return &storedFile{src: z.src, off: off, size: z.node.Size}, nil
	}
	return &packedFile{file: z.file, size: z.node.Size}, nil
}

// storedFile is a file that the archive holds as it is.
type storedFile struct {
	src       *source
	off, size int64
}

func (f *storedFile) ReadAt(p []byte, off int64) (int, error) {
	p, err := window(p, off, f.size)
	if err != nil {
		return 0, err
	}
	return f.src.ReadAt(p, f.off+off)
}

func (f *storedFile) Close() error { return nil }

// packedFile is an opening of a compressed file. A read before the place where
// the last one ended decodes from the start again.
type packedFile struct {
	file  *zip.File
	size  int64
	whole []byte // all of a small file, once read
	r     io.ReadCloser
	at    int64 // position of r
}

func (f *packedFile) ReadAt(p []byte, off int64) (int, error) {
	p, err := window(p, off, f.size)
	if err != nil {
		return 0, err
	}
	if f.size <= wholeLimit {
		if err := f.decode(); err != nil {
			return 0, err
		}
		return copy(p, f.whole[off:]), nil
	}
	if f.r == nil || off < f.at {
		if f.r != nil {
			f.r.Close()
		}
		if f.r, err = f.file.Open(); err != nil {
			return 0, fmt.Errorf("read %s: %w", f.file.Name, err)
		}
		f.at = 0
	}
	skipped, err := io.CopyN(io.Discard, f.r, off-f.at)
	f.at += skipped
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", f.file.Name, err)
	}
	n, err := io.ReadFull(f.r, p)
	f.at += int64(n)
	if err != nil && n == 0 {
		return 0, fmt.Errorf("read %s: %w", f.file.Name, err)
	}
	return n, nil
}

// decode fills whole.
func (f *packedFile) decode() error {
	if f.whole != nil {
		return nil
	}
	r, err := f.file.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", f.file.Name, err)
	}
	defer r.Close()
	b := make([]byte, f.size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read %s: %w", f.file.Name, err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF { // the checksum is compared at the end
		return fmt.Errorf("read %s: %w: %v", f.file.Name, ErrCorrupt, err)
	}
	f.whole = b
	return nil
}

// Close releases the decoder.
func (f *packedFile) Close() error {
	if f.r != nil {
		return f.r.Close()
	}
	return nil
}
