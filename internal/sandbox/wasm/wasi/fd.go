package wasi

func fdClose(s *System, _ []byte, a []uint64) Errno {
	d, e := s.get(uint32(a[0]))
	if e != Success {
		return e
	}
	s.remove(uint32(a[0]))
	return d.obj.close()
}

// fdRenumber moves a descriptor to a number that is in use, whose own object is
// closed.
func fdRenumber(s *System, _ []byte, a []uint64) Errno {
	from, to := uint32(a[0]), uint32(a[1])
	d, e := s.get(from)
	if e != Success {
		return e
	}
	old, e := s.get(to)
	if e != Success {
		return e
	}
	if from == to {
		return Success
	}
	s.remove(from)
	s.fds[to] = d
	old.obj.close()
	return Success
}

func fdSyncAll(s *System, _ []byte, a []uint64) Errno {
	return s.sync(uint32(a[0]), RightFdSync, false)
}

func fdDatasync(s *System, _ []byte, a []uint64) Errno {
	return s.sync(uint32(a[0]), RightFdDatasync, true)
}

// sync flushes a file or directory; a stream has nothing to flush, which
// fsync(2) calls INVAL.
func (s *System) sync(fd uint32, right Rights, data bool) Errno {
	d, e := s.get(fd)
	if e != Success {
		return e
	}
	if _, ok := d.obj.(stream); ok {
		return Einval
	}
	if d.base&right == 0 {
		return Enotcapable
	}
	switch o := d.obj.(type) {
	case regular:
		return o.sync(data)
	case directory:
		return o.sync(data)
	}
	return Einval
}

func fdFdstatGet(s *System, mem []byte, a []uint64) Errno {
	d, e := s.get(uint32(a[0]))
	if e != Success {
		return e
	}
	b, ok := span(mem, uint32(a[1]), fdstatSize)
	if !ok {
		return Efault
	}
	clear(b)
	b[0] = byte(d.obj.filetype())
	le.PutUint16(b[2:], d.flags)
	le.PutUint64(b[8:], uint64(d.base))
	le.PutUint64(b[16:], uint64(d.inherit))
	return Success
}

// fdFdstatSetFlags sets flags that the later calls on the descriptor go by. A
// stream cannot be written durably, so it takes none of the SYNC flags.
func fdFdstatSetFlags(s *System, _ []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdstatSetFlags)
	if e != Success {
		return e
	}
	flags := uint32(a[1])
	if flags&^fdFlags != 0 {
		return Einval
	}
	if _, ok := d.obj.(regular); !ok && flags&(fdDsync|fdSync|fdRsync) != 0 {
		return Enotsup
	}
	d.flags = uint16(flags)
	return Success
}

// fdFdstatSetRights takes rights away; it cannot give any.
func fdFdstatSetRights(s *System, _ []byte, a []uint64) Errno {
	d, e := s.get(uint32(a[0]))
	if e != Success {
		return e
	}
	base, inherit := Rights(a[1]), Rights(a[2])
	if base&^d.base != 0 || inherit&^d.inherit != 0 {
		return Enotcapable
	}
	d.base, d.inherit = base, inherit
	return Success
}

func fdFilestatGet(s *System, mem []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdFilestatGet)
	if e != Success {
		return e
	}
	if e := d.obj.stat(&s.st); e != Success {
		return e
	}
	return putFilestat(mem, uint32(a[1]), &s.st)
}

func fdFilestatSetSize(s *System, _ []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdFilestatSetSize)
	if e != Success {
		return explain(d, e, true)
	}
	o, e := positioned(d)
	if e != Success {
		return e
	}
	return o.setSize(a[1])
}

func fdFilestatSetTimes(s *System, _ []byte, a []uint64) Errno {
	atime, mtime, e := timestamps(a[1], a[2], uint32(a[3]))
	if e != Success {
		return e
	}
	d, e := s.able(uint32(a[0]), RightFdFilestatSetTimes)
	if e != Success {
		return e
	}
	switch o := d.obj.(type) {
	case regular:
		return o.setTimes(atime, mtime)
	case directory:
		return o.setTimes(atime, mtime)
	}
	return Einval
}

// timestamps reads the arguments of the two calls that set times.
func timestamps(atime, mtime uint64, flags uint32) (a, m timestamp, e Errno) {
	const bothA, bothM = setAtime | setAtimeNow, setMtime | setMtimeNow
	if flags&^setTimes != 0 || flags&bothA == bothA || flags&bothM == bothM {
		return a, m, Einval
	}
	switch {
	case flags&setAtime != 0:
		a = timestamp{timeSet, atime}
	case flags&setAtimeNow != 0:
		a = timestamp{mode: timeNow}
	}
	switch {
	case flags&setMtime != 0:
		m = timestamp{timeSet, mtime}
	case flags&setMtimeNow != 0:
		m = timestamp{mode: timeNow}
	}
	return a, m, Success
}

// fdPrestatGet and fdPrestatDirName tell where the guest finds a mount. Any
// other descriptor is BADF, by which libraries know that there are no more.
func fdPrestatGet(s *System, mem []byte, a []uint64) Errno {
	d, e := s.get(uint32(a[0]))
	if e != Success {
		return e
	}
	if d.preopen == "" {
		return Ebadf
	}
	b, ok := span(mem, uint32(a[1]), prestatSize)
	if !ok {
		return Efault
	}
	clear(b) // tag 0, a directory
	le.PutUint32(b[4:], uint32(len(d.preopen)))
	return Success
}

func fdPrestatDirName(s *System, mem []byte, a []uint64) Errno {
	d, e := s.get(uint32(a[0]))
	if e != Success {
		return e
	}
	if d.preopen == "" {
		return Ebadf
	}
	if uint64(uint32(a[2])) < uint64(len(d.preopen)) {
		return Enametoolong
	}
	b, ok := span(mem, uint32(a[1]), uint32(len(d.preopen)))
	if !ok {
		return Efault
	}
	copy(b, d.preopen)
	return Success
}

// fdReaddir fills the buffer with entries; the last may be cut off, and a
// buffer that is not full means that there are no more. What is not a directory
// is BADF, which is what programs have learned to expect of this call.
func fdReaddir(s *System, mem []byte, a []uint64) Errno {
	_, dir, e := s.dirAt(uint32(a[0]), RightFdReaddir)
	if e == Enotdir {
		return Ebadf
	}
	if e != Success {
		return e
	}
	buf, ok := span(mem, uint32(a[1]), uint32(a[2]))
	if !ok {
		return Efault
	}
	size, ok := span(mem, uint32(a[4]), 4)
	if !ok {
		return Efault
	}
	used := 0
	if len(buf) > 0 {
		e = dir.entries(a[3], func(entry *dirent) bool {
			n, whole := putDirent(buf[used:], entry)
			used += n
			return whole
		})
		if e != Success {
			return e
		}
	}
	le.PutUint32(size, uint32(used))
	return Success
}

// putDirent stores as much of an entry as fits and reports whether that was all
// of it: next u64, inode u64, length of the name u32, type u8, name at 24.
func putDirent(b []byte, entry *dirent) (n int, whole bool) {
	var header [direntSize]byte
	le.PutUint64(header[:], entry.next)
	le.PutUint64(header[8:], entry.inode)
	le.PutUint32(header[16:], uint32(len(entry.name)))
	header[20] = byte(entry.kind)
	n = copy(b, header[:])
	n += copy(b[n:], entry.name)
	return n, n == direntSize+len(entry.name)
}
