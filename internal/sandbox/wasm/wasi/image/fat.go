package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"sync"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

// fatImage is a FAT file system. The library reads its tables and directories;
// of files it is asked only where their bytes are, and those are read from the
// image itself: the library would follow a file's chain of clusters anew, and
// read cluster by cluster, at every call.
type fatImage struct {
	src *source
	mu  sync.Mutex // guards the library, which makes no promise about concurrency
	lib filesystem.FileSystem
}

// fatNode is a node of it.
type fatNode struct {
	img    *fatImage
	path   string // as package fs has it
	node   *Node
	parent *fatNode

	listed  sync.Once // guards order, listErr and cluster
	order   []*Node
	listErr error
	cluster uint32 // the first, 0 for the root

	placed   sync.Once // guards extents and placeErr
	extents  []extent
	placeErr error
}

// extent is a run of a file's bytes in the image.
type extent struct {
	file, image, length int64
}

func openFAT(src *source) (*Node, error) {
	width, err := checkFAT(src)
	if err != nil {
		return nil, fmt.Errorf("open FAT image: %w", err)
	}
	img := &fatImage{src: src}
	err = guard(func() (err error) {
		switch storage := (fatStorage{source: src}); width {
		case 12:
			img.lib, err = fat12.Read(storage, src.size, 0, 0)
		case 16:
			img.lib, err = fat16.Read(storage, src.size, 0, 0)
		default:
			img.lib, err = fat32.Read(storage, src.size, 0, 0)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open FAT%d image: %w", width, err)
	}
	return newFATNode(img, nil, "."), nil
}

func newFATNode(img *fatImage, parent *fatNode, p string) *Node {
	n := &Node{Name: path.Base(p), Type: Directory, Inode: inodeOf(p)}
	n.tree = &fatNode{img: img, path: p, node: n, parent: parent}
	return n
}

// guard turns a panic of the library on a damaged image into an error.
func guard(call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	return call()
}

func (f *fatNode) children() ([]*Node, error) {
	f.listed.Do(func() {
		f.img.mu.Lock()
		defer f.img.mu.Unlock()
		f.listErr = guard(f.list)
	})
	return f.order, f.listErr
}

// list reads the directory. One that is its own ancestor would go on for ever,
// and is refused.
func (f *fatNode) list() error {
	if f.parent != nil {
		file, err := f.openLib()
		if err != nil {
			return err
		}
		chain, err := file.GetClusterChain()
		if err != nil {
			return fmt.Errorf("read directory %s: %w", f.path, err)
		}
		f.cluster = chain[0]
		for up := f.parent; up != nil; up = up.parent {
			if up.cluster == f.cluster {
				return fmt.Errorf("read directory %s: %w: it contains itself", f.path, ErrCorrupt)
			}
		}
	}
	entries, err := f.img.lib.ReadDir(f.path)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", f.path, err)
	}
	for _, e := range entries {
		name := e.Name()
		if name == "" || strings.ContainsAny(name, "/\x00") {
			continue
		}
		n := newFATNode(f.img, f, path.Join(f.path, name))
		n.Name = name
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("read directory %s: %w", f.path, err)
		}
		n.Modified = info.ModTime().UnixNano()
		if !e.IsDir() {
			n.Type, n.Size = File, info.Size()
		}
		f.order = append(f.order, n)
	}
	return nil
}

// openLib opens the node in the library.
func (f *fatNode) openLib() (*fat12.File, error) {
	file, err := f.img.lib.OpenFile(f.path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.path, err)
	}
	ranged, ok := file.(*fat12.File)
	if !ok {
		return nil, fmt.Errorf("open %s: %w", f.path, errors.ErrUnsupported)
	}
	return ranged, nil
}

// child finds a name as FAT compares names: exactly if there is such a one,
// else without regard to case.
func (f *fatNode) child(name string) (*Node, error) {
	nodes, err := f.children()
	if err != nil {
		return nil, err
	}
	var folded *Node
	for _, n := range nodes {
		if n.Name == name {
			return n, nil
		}
		if folded == nil && strings.EqualFold(n.Name, name) {
			folded = n
		}
	}
	if folded == nil {
		return nil, ErrNotExist
	}
	return folded, nil
}

func (f *fatNode) target() (string, error) { return "", fs.ErrInvalid }

func (f *fatNode) open() (Reader, error) {
	f.placed.Do(func() {
		f.img.mu.Lock()
		defer f.img.mu.Unlock()
		f.placeErr = guard(f.place)
	})
	if f.placeErr != nil {
		return nil, f.placeErr
	}
	return &fatFile{src: f.img.src, size: f.node.Size, extents: f.extents}, nil
}

// place finds out where the file's bytes are.
func (f *fatNode) place() error {
	if f.node.Size == 0 {
		return nil // has no cluster
	}
	file, err := f.openLib()
	if err != nil {
		return err
	}
	ranges, err := file.GetDiskRanges()
	if err != nil {
		return fmt.Errorf("open %s: %w", f.path, err)
	}
	var at int64
	for _, r := range ranges {
		f.extents = append(f.extents, extent{file: at, image: int64(r.Offset), length: int64(r.Length)})
		at += int64(r.Length)
	}
	if at < f.node.Size {
		return fmt.Errorf("open %s: %w: %d bytes in clusters for %d", f.path, ErrCorrupt, at, f.node.Size)
	}
	return nil
}

// fatFile is an open file of a FAT image.
type fatFile struct {
	src     *source
	size    int64
	extents []extent
}

func (f *fatFile) ReadAt(p []byte, off int64) (int, error) {
	p, err := window(p, off, f.size)
	if err != nil {
		return 0, err
	}
	i := sort.Search(len(f.extents), func(i int) bool { return f.extents[i].file+f.extents[i].length > off })
	total := 0
	for total < len(p) {
		x := f.extents[i]
		from := off + int64(total) - x.file
		n, err := f.src.ReadAt(p[total:min(int64(len(p)), int64(total)+x.length-from)], x.image+from)
		total += n
		if err != nil {
			return total, fmt.Errorf("read FAT image: %w", err)
		}
		i++
	}
	return total, nil
}

func (f *fatFile) Close() error { return nil }

// fatStorage shows the library the image as a file that it may read at offsets
// and do nothing else with.
type fatStorage struct{ *source }

var _ backend.Storage = fatStorage{}

func (fatStorage) Stat() (fs.FileInfo, error)     { return nil, errors.ErrUnsupported }
func (fatStorage) Read([]byte) (int, error)       { return 0, errors.ErrUnsupported }
func (fatStorage) Seek(int64, int) (int64, error) { return 0, errors.ErrUnsupported }
func (fatStorage) Sys() (*os.File, error)         { return nil, errors.ErrUnsupported }
func (fatStorage) Writable() (backend.WritableFile, error) {
	return nil, filesystem.ErrReadonlyFilesystem
}
func (fatStorage) Path() string { return "" }

var _ io.ReaderAt = fatStorage{}
