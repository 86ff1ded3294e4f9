package bundle

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-run/weft/internal/app"
)

// Limits bound what Unpack takes.
type Limits struct {
	Size  int64 // bytes of all files; default 1 GiB
	Files int   // files and folders; default 20,000
}

// EnsureDefaults fills in what is not set.
func (l *Limits) EnsureDefaults() {
	if l.Size <= 0 {
		l.Size = 1 << 30
	}
	if l.Files <= 0 {
		l.Files = 20_000
	}
}

// ErrBundle is wrapped by what is wrong with a bundle, rather than with the disk.
var ErrBundle = errors.New("invalid bundle")

// Unpack writes the files of an archive to an empty folder and has them on disk
// when it returns. Nothing of an archive leads out of the folder: links, devices
// and names that are not local are refused, and so is what no bundle has.
func Unpack(r io.Reader, dir string, l Limits) error {
	l.EnsureDefaults()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer root.Close()
	zr, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("unpack: %w: %w", ErrBundle, err)
	}
	tr := tar.NewReader(zr)
	u := unpacker{root: root, left: l.Size, dirs: map[string]bool{".": true}}
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack: %w: %w", ErrBundle, err)
		}
		if n == l.Files {
			return fmt.Errorf("unpack: %w: more than %d files", ErrBundle, l.Files)
		}
		if err := u.entry(h, tr, l); err != nil {
			return fmt.Errorf("unpack %.200q: %w", h.Name, err)
		}
	}
	for d := range u.dirs {
		if err := syncDir(root, d); err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
	}
	return nil
}

type unpacker struct {
	root *os.Root
	left int64
	dirs map[string]bool // that exist
}

func (u *unpacker) entry(h *tar.Header, r io.Reader, l Limits) error {
	name := filepath.Clean(filepath.FromSlash(h.Name))
	top, _, _ := strings.Cut(filepath.ToSlash(name), "/")
	switch {
	case !filepath.IsLocal(name) || len(name) > 1024:
		return fmt.Errorf("%w: the name leads out of the folder", ErrBundle)
	case top != filesName && top != modulesName && name != app.FileName && name != manifestName:
		return fmt.Errorf("%w: no bundle has such a file", ErrBundle)
	case h.Typeflag == tar.TypeDir:
		return u.folder(name)
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("%w: neither a file nor a folder", ErrBundle)
	case h.Size > u.left:
		return fmt.Errorf("%w: more than %d bytes in all", ErrBundle, l.Size)
	}
	u.left -= h.Size
	if err := u.folder(filepath.Dir(name)); err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if h.Mode&0o100 != 0 {
		mode = 0o700
	}
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, r)
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return errors.Join(f.Sync(), f.Close())
}

// folder makes a folder and those above it.
func (u *unpacker) folder(name string) error {
	if u.dirs[name] {
		return nil
	}
	if err := u.folder(filepath.Dir(name)); err != nil {
		return err
	}
	u.dirs[name] = true
	if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
