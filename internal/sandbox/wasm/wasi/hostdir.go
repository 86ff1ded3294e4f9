package wasi

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// hostDir is a directory of the host.
type hostDir struct {
	fd       int // may be O_PATH
	owned    bool
	readOnly bool
	list     *listing // made by the first entries
}

var _ directory = (*hostDir)(nil)

func (d *hostDir) filetype() Filetype { return TypeDirectory }

func (d *hostDir) stat(st *Filestat) Errno { return statFD(d.fd, st) }

func (d *hostDir) close() Errno {
	if d.list != nil {
		closeFD(d.list.fd)
		d.list = nil
	}
	if !d.owned {
		return Success
	}
	return toErrno(unix.Close(d.fd))
}

// open opens a file, a directory or a device beneath d. It asks the kernel
// never to block, neither now nor later: waiting is done by polling, which
// [System.Interrupt] can end.
func (d *hostDir) open(p string, how openHow) (object, Errno) {
	flags := unix.O_NONBLOCK
	switch {
	case how.read && how.write:
		flags |= unix.O_RDWR
	case how.write:
		flags |= unix.O_WRONLY
	}
	if !how.follow {
		flags |= unix.O_NOFOLLOW
	}
	if how.oflags&openDirectory != 0 {
		flags |= unix.O_DIRECTORY
	}
	if how.oflags&openCreate != 0 {
		flags |= unix.O_CREAT
	}
	if how.oflags&openExclusive != 0 {
		flags |= unix.O_EXCL
	}
	if how.oflags&openTruncate != 0 {
		flags |= unix.O_TRUNC
	}
	if d.readOnly {
		if how.write || how.oflags&openTruncate != 0 {
			return nil, d.refuse(p, how)
		}
		if how.oflags&openCreate != 0 {
			return d.openExisting(p, how, flags)
		}
	}
	return d.openFlags(p, flags)
}

func (d *hostDir) openFlags(p string, flags int) (object, Errno) {
	fd, e := openBeneath(d.fd, p, flags, createMode)
	if e != Success {
		return nil, e
	}
	var st Filestat
	if e := statFD(fd, &st); e != Success {
		closeFD(fd)
		return nil, e
	}
	switch st.Type {
	case TypeRegular:
		return &hostFile{fd: fd, owned: true, readOnly: d.readOnly}, Success
	case TypeDirectory:
		return &hostDir{fd: fd, owned: true, readOnly: d.readOnly}, Success
	}
	return &pipe{fd: fd, kind: st.Type}, Success
}

// refuse is the error of opening for writing what is read only: ROFS for what
// exists as a file, else what the lookup says.
func (d *hostDir) refuse(p string, how openHow) Errno {
	var st Filestat
	switch e := d.lookup(p, how.follow, &st); {
	case e == Enoent && how.oflags&openCreate != 0:
		return Erofs
	case e != Success:
		return e
	case st.Type == TypeDirectory && how.write:
		return Eisdir
	case st.Type == TypeSymlink:
		return Eloop
	case how.oflags&openDirectory != 0 && st.Type != TypeDirectory:
		return Enotdir
	}
	return Erofs
}

// openExisting opens with O_CREAT what is there already; making it is refused.
func (d *hostDir) openExisting(p string, how openHow, flags int) (object, Errno) {
	var st Filestat
	e := d.lookup(p, how.follow, &st)
	switch {
	case e == Enoent:
		return nil, Erofs
	case e != Success:
		return nil, e
	case how.oflags&openExclusive != 0:
		return nil, Eexist
	}
	return d.openFlags(p, flags&^unix.O_CREAT)
}

func (d *hostDir) lookup(p string, follow bool, st *Filestat) Errno {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
		if plain(p) && p != "" && strings.IndexByte(p, '/') < 0 {
			var h unix.Stat_t
			if err := unix.Fstatat(d.fd, p, &h, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return toErrno(err)
			}
			fillStat(st, &h)
			return Success
		}
	}
	fd, e := openBeneath(d.fd, p, flags, 0)
	if e != Success {
		return e
	}
	defer closeFD(fd)
	return statFD(fd, st)
}

func (d *hostDir) readlink(p string, buf []byte) (int, Errno) {
	fd, name, done, e := openParent(d.fd, p)
	if e != Success {
		return 0, e
	}
	defer done()
	if !plain(name) {
		return 0, d.notPlain(p, Einval)
	}
	if len(buf) == 0 {
		var st Filestat
		if e := d.lookup(p, false, &st); e != Success {
			return 0, e
		}
		if st.Type != TypeSymlink {
			return 0, Einval
		}
		return 0, Success
	}
	n, err := unix.Readlinkat(fd, name, buf)
	if err != nil {
		return 0, toErrno(err)
	}
	return n, Success
}

// notPlain is the error of an operation on a path that ends in ".", ".." or a
// slash: the lookup's, or when it is a directory after all, otherwise.
func (d *hostDir) notPlain(p string, otherwise Errno) Errno {
	fd, e := openBeneath(d.fd, p, unix.O_PATH|unix.O_DIRECTORY, 0)
	if e != Success {
		return e
	}
	closeFD(fd)
	return otherwise
}

// change runs an operation on the parent and last component of p.
func (d *hostDir) change(p string, op func(parent int, name string) error) Errno {
	if d.readOnly {
		return Erofs
	}
	fd, name, done, e := openParent(d.fd, p)
	if e != Success {
		return e
	}
	defer done()
	return toErrno(op(fd, name))
}

func (d *hostDir) mkdir(p string) Errno {
	return d.change(p, func(fd int, name string) error { return unix.Mkdirat(fd, name, directoryMode) })
}

func (d *hostDir) rmdir(p string) Errno {
	return d.change(p, func(fd int, name string) error { return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) })
}

func (d *hostDir) unlink(p string) Errno {
	return d.change(p, func(fd int, name string) error { return unix.Unlinkat(fd, name, 0) })
}

// symlink makes a link. A target that is absolute would mean another file to
// the host than to the guest, and is refused.
func (d *hostDir) symlink(target, p string) Errno {
	if target == "" {
		return Enoent
	}
	if target[0] == '/' {
		return Eperm
	}
	return d.change(p, func(fd int, name string) error { return unix.Symlinkat(target, fd, name) })
}

func (d *hostDir) link(p string, follow bool, to directory, toPath string) Errno {
	dst, ok := to.(*hostDir)
	if !ok {
		return Exdev
	}
	if d.readOnly || dst.readOnly {
		return Erofs
	}
	if follow {
		var e Errno
		if p, e = d.followed(p); e != Success {
			return e
		}
	}
	fd, name, done, e := openParent(d.fd, p)
	if e != Success {
		return e
	}
	defer done()
	if !plain(name) {
		return d.notPlain(p, Eperm)
	}
	return dst.change(toPath, func(toFD int, toName string) error { return unix.Linkat(fd, name, toFD, toName, 0) })
}

// followed returns the path of what the symbolic link at p leads to, through
// any number of links, or p when it is none. The result is only a name: the
// operation on it does not follow links again.
func (d *hostDir) followed(p string) (string, Errno) {
	var buf [maxPath + 1]byte
	for range maxLinks {
		var st Filestat
		if e := d.lookup(p, false, &st); e != Success {
			return "", e
		}
		if st.Type != TypeSymlink {
			return p, Success
		}
		n, e := d.readlink(p, buf[:])
		if e != Success {
			return "", e
		}
		target := string(buf[:n])
		if path.IsAbs(target) {
			return "", Eperm
		}
		if i := strings.LastIndexByte(p, '/'); i >= 0 {
			target = p[:i+1] + target
		}
		if len(target) > maxPath {
			return "", Enametoolong
		}
		p = target
	}
	return "", Eloop
}

func (d *hostDir) rename(p string, to directory, toPath string) Errno {
	dst, ok := to.(*hostDir)
	if !ok {
		return Exdev
	}
	if d.readOnly || dst.readOnly {
		return Erofs
	}
	fd, name, done, e := openParent(d.fd, p)
	if e != Success {
		return e
	}
	defer done()
	return dst.change(toPath, func(toFD int, toName string) error { return unix.Renameat(fd, name, toFD, toName) })
}

func (d *hostDir) setTimesAt(p string, follow bool, atime, mtime timestamp) Errno {
	if d.readOnly {
		return Erofs
	}
	fd, name, done, e := openParent(d.fd, p)
	if e != Success {
		return e
	}
	defer done()
	if !follow && plain(name) {
		return utimens(fd, name, unix.AT_SYMLINK_NOFOLLOW, atime, mtime)
	}
	target, e := openBeneath(d.fd, p, unix.O_PATH, 0)
	if e != Success {
		return e
	}
	defer closeFD(target)
	return utimensPath(target, atime, mtime)
}

func (d *hostDir) setTimes(atime, mtime timestamp) Errno {
	if d.readOnly {
		return Erofs
	}
	return utimens(d.fd, ".", 0, atime, mtime)
}

// sync flushes the directory; its descriptor may be O_PATH, which fsync(2)
// does not take.
func (d *hostDir) sync(data bool) Errno {
	fd, e := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != Success {
		return e
	}
	defer closeFD(fd)
	return syncFD(fd, data)
}

// listing reads a directory by getdents64(2). A cookie is the number of entries
// before it: the kernel's own, which can take 64 bits, would not fit what C
// programs keep them in (telldir). What the kernel calls each place is noted, so
// that going back to one is exact however the directory has changed.
type listing struct {
	fd     int
	next   uint64   // cookie of the first entry in rest
	rest   []byte   // records not yet returned
	places []uint64 // by cookie, where the kernel continues
	buf    [8192]byte
}

func (d *hostDir) entries(cookie uint64, yield func(*dirent) bool) Errno {
	if d.list == nil {
		fd, e := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if e != Success {
			return e
		}
		d.list = &listing{fd: fd, places: []uint64{0}}
	}
	l := d.list
	if cookie == 0 || cookie != l.next {
		if e := l.seek(cookie); e != Success {
			return e
		}
	}
	for {
		e, size, errno := l.first()
		if errno != Success || size == 0 {
			return errno
		}
		place := e.next
		e.next = l.next + 1
		if l.next >= cookie {
			if e.kind == TypeUnknown {
				var st Filestat
				if d.lookup(string(e.name), false, &st) == Success {
					e.kind = st.Type
				}
			}
			if !yield(&e) {
				return Success
			}
		}
		l.next, l.rest = e.next, l.rest[size:]
		if l.next < uint64(len(l.places)) {
			l.places[l.next] = place
		} else {
			l.places = append(l.places, place)
		}
	}
}

// seek goes to the last known place at or before the cookie.
func (l *listing) seek(cookie uint64) Errno {
	known := min(cookie, uint64(len(l.places)-1))
	if _, err := unix.Seek(l.fd, int64(l.places[known]), unix.SEEK_SET); err != nil {
		return toErrno(err)
	}
	l.next, l.rest = known, nil
	return Success
}

// first returns the first entry of rest and how long its record is, reading
// more when there is none; 0 at the end.
func (l *listing) first() (dirent, int, Errno) {
	for len(l.rest) == 0 {
		n, err := unix.Getdents(l.fd, l.buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return dirent{}, 0, toErrno(err)
		}
		if n <= 0 {
			return dirent{}, 0, Success
		}
		l.rest = l.buf[:n]
	}
	e, size := parseDirent(l.rest)
	if size == 0 {
		return dirent{}, 0, Eio
	}
	return e, size, Success
}

// parseDirent reads one struct linux_dirent64: ino u64, off u64, reclen u16,
// type u8, name ended by NUL.
func parseDirent(b []byte) (dirent, int) {
	const header = 19
	if len(b) < header {
		return dirent{}, 0
	}
	size := int(uint16(b[16]) | uint16(b[17])<<8)
	if size < header || size > len(b) {
		return dirent{}, 0
	}
	name := b[header:size]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return dirent{inode: le.Uint64(b), next: le.Uint64(b[8:]), kind: typeOfMode(uint32(b[18]) << 12), name: name}, size
}
