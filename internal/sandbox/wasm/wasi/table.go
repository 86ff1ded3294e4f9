package wasi

// object is what a descriptor refers to. Each is also one of [regular],
// [stream] or [directory], which say what can be done with it.
type object interface {
	filetype() Filetype
	stat(st *Filestat) Errno
	close() Errno
}

// regular is an object with bytes at offsets. The position is the
// descriptor's, so that reads need no lock and no call to learn it.
type regular interface {
	object
	preadv(s *System, bufs [][]byte, offset uint64) (int, Errno)
	pwritev(s *System, bufs [][]byte, offset uint64, flags uint16) (int, Errno)
	setSize(size uint64) Errno
	allocate(offset, size uint64) Errno
	advise(offset, size uint64, advice uint32) Errno
	sync(data bool) Errno
	setTimes(atime, mtime timestamp) Errno
}

// stream is an object without positions, which a call may have to wait for.
type stream interface {
	object
	readv(s *System, bufs [][]byte, nonblock bool) (int, Errno)
	writev(s *System, bufs [][]byte, nonblock bool) (int, Errno)
	// pollFD returns the host descriptor to poll, or -1 when reading and
	// writing never wait.
	pollFD() int
}

// seeker is a stream that has a position after all: a standard stream that the
// caller redirected to a file.
type seeker interface {
	seek(offset int64, whence uint32) (uint64, Errno)
}

// directory is an object that names others. Every path is relative to it and
// resolved beneath it.
type directory interface {
	object
	open(path string, how openHow) (object, Errno)
	lookup(path string, follow bool, st *Filestat) Errno
	readlink(path string, buf []byte) (int, Errno)
	mkdir(path string) Errno
	rmdir(path string) Errno
	unlink(path string) Errno
	symlink(target, path string) Errno
	link(path string, follow bool, to directory, toPath string) Errno
	rename(path string, to directory, toPath string) Errno
	setTimesAt(path string, follow bool, atime, mtime timestamp) Errno
	setTimes(atime, mtime timestamp) Errno
	sync(data bool) Errno
	// entries calls yield for each entry after the one whose cookie is given,
	// from the first when that is 0, until yield returns false.
	entries(cookie uint64, yield func(e *dirent) bool) Errno
}

// openHow is how a path is to be opened.
type openHow struct {
	oflags      uint32
	fdflags     uint16
	follow      bool
	read, write bool
}

// timestamp is a file time to set.
type timestamp struct {
	mode timestampMode
	ns   uint64
}

type timestampMode uint8

const (
	timeKeep timestampMode = iota
	timeNow
	timeSet
)

// dirent is an entry of a directory.
type dirent struct {
	next  uint64 // cookie of the entry after it
	inode uint64
	kind  Filetype
	name  []byte // valid until yield returns
}

// descriptor is an entry of the table.
type descriptor struct {
	obj     object
	base    Rights // what may be done with the descriptor
	inherit Rights // what may be done with descriptors opened through it
	flags   uint16 // fdflags
	offset  uint64 // position of a regular object
	preopen string // guest path of a mount's directory, else empty
}

// get returns descriptor fd, setting up the module that it belongs to.
func (s *System) get(fd uint32) (*descriptor, Errno) {
	if uint64(fd) < uint64(len(s.fds)) {
		if d := s.fds[fd]; d != nil {
			return d, Success
		}
	}
	if !s.load(fd) {
		return nil, Ebadf
	}
	if d := s.fds[fd]; d != nil {
		return d, Success
	}
	return nil, Ebadf
}

// load sets up the module that descriptor fd belongs to, and reports whether
// that brought anything.
func (s *System) load(fd uint32) bool {
	switch n := uint64(fd); {
	case n < 3:
	case n < uint64(3+s.preopens):
		if !s.mounted {
			s.loadFS()
			return true
		}
	case n < uint64(3+s.preopens+len(s.cfg.Listeners)):
		if !s.networked {
			s.loadNet()
			return true
		}
	}
	return false
}

// able returns descriptor fd, and NOTCAPABLE when it lacks any of the rights.
func (s *System) able(fd uint32, rights Rights) (*descriptor, Errno) {
	d, e := s.get(fd)
	if e != Success {
		return nil, e
	}
	if d.base&rights != rights {
		return d, Enotcapable
	}
	return d, Success
}

// dirAt returns the directory fd when it has all of the rights. What is not a
// directory is NOTDIR, whatever its rights.
func (s *System) dirAt(fd uint32, rights Rights) (*descriptor, directory, Errno) {
	d, e := s.get(fd)
	if e != Success {
		return nil, nil, e
	}
	dir, ok := d.obj.(directory)
	if !ok {
		return nil, nil, Enotdir
	}
	if d.base&rights != rights {
		return nil, nil, Enotcapable
	}
	return d, dir, Success
}

// reserved is the first number that the guest's own descriptors may have.
func (s *System) reserved() int { return 3 + s.preopens + len(s.cfg.Listeners) }

// insert gives d the lowest free number.
func (s *System) insert(d *descriptor) (uint32, Errno) {
	fd := s.free
	for fd < s.cfg.Descriptors {
		pending := fd >= 3 && fd < s.reserved() && s.pending(fd)
		if !pending && (fd >= len(s.fds) || s.fds[fd] == nil) {
			s.place(fd, d)
			s.free = fd + 1
			return uint32(fd), Success
		}
		fd++
	}
	return 0, Emfile
}

// pending reports whether number fd is kept for a module not yet set up.
func (s *System) pending(fd int) bool {
	if fd < 3+s.preopens {
		return !s.mounted
	}
	return !s.networked
}

// place stores d under number fd.
func (s *System) place(fd int, d *descriptor) {
	for len(s.fds) <= fd {
		s.fds = append(s.fds, nil)
	}
	s.fds[fd] = d
}

// remove takes number fd out of the table.
func (s *System) remove(fd uint32) {
	s.fds[fd] = nil
	if int(fd) >= 3 && int(fd) < s.free {
		s.free = int(fd)
	}
}
