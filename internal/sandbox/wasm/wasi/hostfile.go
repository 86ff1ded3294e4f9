package wasi

import "golang.org/x/sys/unix"

// hostFile is a regular file of the host, or a memfd.
type hostFile struct {
	fd       int
	owned    bool // closed with the descriptor
	readOnly bool
}

var _ regular = (*hostFile)(nil)

func (f *hostFile) filetype() Filetype { return TypeRegular }

func (f *hostFile) stat(st *Filestat) Errno { return statFD(f.fd, st) }

func (f *hostFile) close() Errno {
	if !f.owned {
		return Success
	}
	return toErrno(unix.Close(f.fd))
}

func (f *hostFile) preadv(s *System, bufs [][]byte, offset uint64) (int, Errno) {
	return s.vec.preadv(f.fd, bufs, offset)
}

// pwritev writes at the offset, or with fdAppend at the end, and as durably as
// the flags say: the kernel takes all three per call (RWF_*, pwritev2(2)), so
// nothing has to be set on an open file that others may share.
func (f *hostFile) pwritev(s *System, bufs [][]byte, offset uint64, flags uint16) (int, Errno) {
	if f.readOnly {
		return 0, Erofs
	}
	var rwf uint
	if flags&fdAppend != 0 {
		rwf |= unix.RWF_APPEND
	}
	if flags&fdDsync != 0 {
		rwf |= unix.RWF_DSYNC
	}
	if flags&(fdSync|fdRsync) != 0 {
		rwf |= unix.RWF_SYNC
	}
	return s.vec.pwritev(f.fd, bufs, offset, rwf)
}

func (f *hostFile) setSize(size uint64) Errno {
	if f.readOnly {
		return Erofs
	}
	if size > 1<<63-1 {
		return Einval
	}
	return again(func() error { return unix.Ftruncate(f.fd, int64(size)) })
}

func (f *hostFile) allocate(offset, size uint64) Errno {
	if f.readOnly {
		return Erofs
	}
	if size == 0 || offset > 1<<63-1 || size > 1<<63-1-offset {
		return Einval
	}
	return again(func() error { return unix.Fallocate(f.fd, 0, int64(offset), int64(size)) })
}

func (f *hostFile) advise(offset, size uint64, advice uint32) Errno {
	if offset > 1<<63-1 || size > 1<<63-1 {
		return Einval
	}
	host := [...]int{unix.FADV_NORMAL, unix.FADV_SEQUENTIAL, unix.FADV_RANDOM, unix.FADV_WILLNEED, unix.FADV_DONTNEED, unix.FADV_NOREUSE}
	return toErrno(unix.Fadvise(f.fd, int64(offset), int64(size), host[advice]))
}

func (f *hostFile) sync(data bool) Errno { return syncFD(f.fd, data) }

func (f *hostFile) setTimes(atime, mtime timestamp) Errno {
	if f.readOnly {
		return Erofs
	}
	return utimens(f.fd, "", 0, atime, mtime)
}

// again makes a call until no signal interrupts it.
func again(call func() error) Errno {
	for {
		if err := call(); err != unix.EINTR {
			return toErrno(err)
		}
	}
}

func syncFD(fd int, data bool) Errno {
	if data {
		return again(func() error { return unix.Fdatasync(fd) })
	}
	return again(func() error { return unix.Fsync(fd) })
}

// statFD reports on an open file; O_PATH will do.
func statFD(fd int, st *Filestat) Errno {
	var h unix.Stat_t
	if err := unix.Fstat(fd, &h); err != nil {
		return toErrno(err)
	}
	fillStat(st, &h)
	return Success
}

// fillStat translates the kernel's record.
func fillStat(st *Filestat, h *unix.Stat_t) {
	*st = Filestat{
		Device: uint64(h.Dev),
		Inode:  h.Ino,
		Type:   typeOfMode(h.Mode),
		Links:  uint64(h.Nlink),
		Size:   uint64(h.Size),
		Atime:  uint64(h.Atim.Nano()),
		Mtime:  uint64(h.Mtim.Nano()),
		Ctime:  uint64(h.Ctim.Nano()),
	}
}

func typeOfMode(mode uint32) Filetype {
	switch mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return TypeBlockDevice
	case unix.S_IFCHR:
		return TypeCharacterDevice
	case unix.S_IFDIR:
		return TypeDirectory
	case unix.S_IFREG:
		return TypeRegular
	case unix.S_IFLNK:
		return TypeSymlink
	case unix.S_IFSOCK:
		return TypeSocketStream
	}
	return TypeUnknown
}

// timespecs is the argument of utimensat(2).
func timespecs(atime, mtime timestamp) [2]unix.Timespec {
	one := func(t timestamp) unix.Timespec {
		switch t.mode {
		case timeNow:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		case timeSet:
			return unix.Timespec{Sec: int64(t.ns / 1e9), Nsec: int64(t.ns % 1e9)}
		}
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return [2]unix.Timespec{one(atime), one(mtime)}
}
