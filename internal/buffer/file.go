package buffer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Folder holds values as files in one directory: what passing by reference is compared with. A Table works the same
// over files: put a *File as the holder, and Remove those that Released returns. It needs openat, unlinkat, read,
// write and close on its directory and no path outside of it. It is safe for concurrent use.
type Folder struct {
	fd int

	mu    sync.Mutex // guards what follows
	files map[string]struct{}
}

// NewFolder uses the directory of descriptor fd, which stays the caller's.
func NewFolder(fd int) *Folder { return &Folder{fd: fd, files: make(map[string]struct{})} }

// Put writes data to a new file for key, any string that is unique in the folder; attempt and slot together are. A
// file that cannot be written whole is removed, and a full disk is ErrSpace.
func (f *Folder) Put(key string, data []byte) (*File, error) {
	name := fileName(key)
	fd, err := openFile(f.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, fileError("put", key, err)
	}
	err = writeAll(fd, data)
	if cerr := unix.Close(fd); err == nil && !errors.Is(cerr, unix.EINTR) {
		err = cerr
	}
	if err != nil {
		err = errors.Join(err, unix.Unlinkat(f.fd, name, 0))
		return nil, fileError("put", key, err)
	}
	f.mu.Lock()
	f.files[name] = struct{}{}
	f.mu.Unlock()
	return &File{folder: f, key: key, name: name, size: int64(len(data))}, nil
}

// File names a file that another Folder of the same directory has put, in this process or another: it can be loaded
// and removed here.
func (f *Folder) File(name string, size int64) *File {
	return &File{folder: f, key: name, name: name, size: size}
}

// Close removes the files that this Folder has put and nobody removed through it. The directory stays.
func (f *Folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed []error
	for name := range f.files {
		if err := unix.Unlinkat(f.fd, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			failed = append(failed, fileError("remove", name, err))
		}
		delete(f.files, name)
	}
	return errors.Join(failed...)
}

// File holds a value in a file of a Folder.
type File struct {
	folder *Folder
	key    string
	name   string
	size   int64
}

var _ Holder = (*File)(nil)

// Size is the number of bytes.
func (f *File) Size() int64 { return f.size }

// Name is the file's name in its folder.
func (f *File) Name() string { return f.name }

// Load opens the file and reads all of it into p, which must hold Size bytes.
func (f *File) Load(p []byte) (int, error) {
	if int64(len(p)) < f.size {
		return 0, TooSmall("read", f.key, f.size, int64(len(p)))
	}
	fd, err := openFile(f.folder.fd, f.name, unix.O_RDONLY)
	if err != nil {
		return 0, fileError("read", f.key, err)
	}
	defer unix.Close(fd)
	done := 0
	for int64(done) < f.size {
		n, err := unix.Read(fd, p[done:f.size])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return done, fileError("read", f.key, err)
		case n == 0:
			return done, fileError("read", f.key, io.ErrUnexpectedEOF)
		default:
			done += n
		}
	}
	return done, nil
}

// Remove deletes the file. Whoever has read it keeps the bytes.
func (f *File) Remove() error {
	f.folder.mu.Lock()
	delete(f.folder.files, f.name)
	f.folder.mu.Unlock()
	if err := unix.Unlinkat(f.folder.fd, f.name, 0); err != nil {
		return fileError("remove", f.key, err)
	}
	return nil
}

// openFile opens one file of a directory; a link is not followed.
func openFile(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func fileError(op, key string, err error) error {
	e := &Error{Op: op, Slot: key, Err: err}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		e.Kind, e.Detail = ErrSpace, "free some space, or pass values by reference"
	case errors.Is(err, unix.EEXIST):
		e.Kind = ErrExists
	case errors.Is(err, unix.ENOENT):
		e.Kind = ErrNotFound
	default:
		return fmt.Errorf("%s %s: %w", op, key, err)
	}
	return e
}

// fileName turns any key into a file name: letters, digits, '-', '_' and inner dots stay, other bytes become %XX, and
// what would be too long ends in a hash of the key.
func fileName(key string) string {
	const (
		longest = 200
		digits  = "0123456789ABCDEF"
	)
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	name := b.String()
	if len(name) > longest {
		sum := sha256.Sum256([]byte(key))
		name = name[:longest-65] + "%" + hex.EncodeToString(sum[:])
	}
	if name == "" {
		return "%"
	}
	return name
}
