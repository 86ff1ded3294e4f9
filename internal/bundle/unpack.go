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
	"syscall"

	"github.com/weft-run/weft/internal/app"
)

// Limits bound what Unpack takes.
type Limits struct {
	Size  int64 // bytes of all files; default 1 GiB
	Files int   // files and folders, those that are in no entry of the archive too; default 20,000
}

// Bounds of the two files that the node itself reads whole, in bytes.
const (
	appFileMax  = 1 << 20
	manifestMax = 8 << 20
)

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
	u := unpacker{root: root, limits: l, left: l.Size, dirs: map[string]bool{".": true}}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack: %w: %w", ErrBundle, err)
		}
		if err := u.entry(h, tr); err != nil {
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
	root   *os.Root
	limits Limits
	left   int64           // bytes
	count  int             // of files and folders
	dirs   map[string]bool // that exist
}

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name := filepath.Clean(filepath.FromSlash(h.Name))
	top, _, _ := strings.Cut(filepath.ToSlash(name), "/")
	most := u.left
	switch name {
	case app.FileName:
		most = min(most, appFileMax)
	case manifestName, lockName:
		most = min(most, manifestMax)
	}
	switch {
	case !filepath.IsLocal(name) || len(name) > 1024:
		return fmt.Errorf("%w: the name leads out of the folder", ErrBundle)
	case top != filesName && top != modulesName && top != wheelsName && name != lockName && name != app.FileName && name != manifestName:
		return fmt.Errorf("%w: no bundle has such a file", ErrBundle)
	case h.Typeflag == tar.TypeDir:
		return u.folder(name)
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("%w: neither a file nor a folder", ErrBundle)
	case h.Size > most && most < u.left:
		return fmt.Errorf("%w: the file has more than %d bytes", ErrBundle, most)
	case h.Size > most:
		return fmt.Errorf("%w: more than %d bytes in all", ErrBundle, u.limits.Size)
	}
	u.left -= h.Size
	if err := u.folder(filepath.Dir(name)); err != nil {
		return err
	}
	if err := u.one(); err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if h.Mode&0o100 != 0 {
		mode = 0o700
	}
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return blame(err)
	}
	source := &source{r: r}
	n, err := io.Copy(f, source)
	switch {
	case source.err != nil:
		err = fmt.Errorf("%w: %w", ErrBundle, source.err)
	case err == nil && n != h.Size:
		err = fmt.Errorf("%w: %w", ErrBundle, io.ErrUnexpectedEOF)
	case err == nil:
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// source tells errors of the archive from those of the disk that it is copied to.
type source struct {
	r   io.Reader
	err error // but the end
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// one counts a file or folder.
func (u *unpacker) one() error {
	if u.count++; u.count > u.limits.Files {
		return fmt.Errorf("%w: more than %d files and folders", ErrBundle, u.limits.Files)
	}
	return nil
}

// folder makes a folder and those above it.
func (u *unpacker) folder(name string) error {
	if u.dirs[name] {
		return nil
	}
	if err := u.folder(filepath.Dir(name)); err != nil {
		return err
	}
	if err := u.one(); err != nil {
		return err
	}
	if err := u.root.Mkdir(name, 0o700); err != nil {
		return blame(err)
	}
	u.dirs[name] = true
	return nil
}

// blame tells errors that come from a name in the archive, which it has twice or
// which no file can have, from those of the disk.
func blame(err error) error {
	for _, e := range []error{os.ErrExist, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.EINVAL} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrBundle, err)
		}
	}
	return err
}

func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
