package wasi

import "math"

func fdRead(s *System, mem []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdRead)
	if e != Success {
		return explain(d, e, false)
	}
	size, ok := span(mem, uint32(a[3]), 4)
	if !ok {
		return Efault
	}
	bufs, e := s.iovecs(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	n := 0
	switch o := d.obj.(type) {
	case stream:
		n, e = o.readv(s, bufs, d.flags&fdNonblock != 0)
	case regular:
		n, e = o.preadv(s, bufs, d.offset)
		d.offset += uint64(n)
	default:
		e = Eisdir
	}
	s.drop()
	if e != Success {
		return e
	}
	le.PutUint32(size, uint32(n))
	return Success
}

func fdWrite(s *System, mem []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdWrite)
	if e != Success {
		return explain(d, e, false)
	}
	size, ok := span(mem, uint32(a[3]), 4)
	if !ok {
		return Efault
	}
	bufs, e := s.iovecs(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	n := 0
	switch o := d.obj.(type) {
	case stream:
		n, e = o.writev(s, bufs, d.flags&fdNonblock != 0)
	case regular:
		n, e = o.pwritev(s, bufs, d.offset, d.flags)
		d.offset += uint64(n)
		if d.flags&fdAppend != 0 && e == Success {
			if o.stat(&s.st) == Success {
				d.offset = s.st.Size
			}
		}
	default:
		e = Eisdir
	}
	s.drop()
	if e != Success {
		return e
	}
	le.PutUint32(size, uint32(n))
	return Success
}

func fdPread(s *System, mem []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdRead|RightFdSeek)
	if e != Success {
		return explain(d, e, true)
	}
	o, e := positioned(d)
	if e != Success {
		return e
	}
	size, ok := span(mem, uint32(a[4]), 4)
	if !ok {
		return Efault
	}
	bufs, e := s.iovecs(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	n, e := o.preadv(s, bufs, a[3])
	s.drop()
	if e != Success {
		return e
	}
	le.PutUint32(size, uint32(n))
	return Success
}

// fdPwrite writes at the offset given even to a file opened for appending, as
// POSIX has it.
func fdPwrite(s *System, mem []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdWrite|RightFdSeek)
	if e != Success {
		return explain(d, e, true)
	}
	o, e := positioned(d)
	if e != Success {
		return e
	}
	size, ok := span(mem, uint32(a[4]), 4)
	if !ok {
		return Efault
	}
	bufs, e := s.iovecs(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	n, e := o.pwritev(s, bufs, a[3], d.flags&^fdAppend)
	s.drop()
	if e != Success {
		return e
	}
	le.PutUint32(size, uint32(n))
	return Success
}

// explain replaces the NOTCAPABLE of a descriptor that can have no such right
// by what it is: a directory, or, for a call with positions, a stream.
func explain(d *descriptor, e Errno, positions bool) Errno {
	if e != Enotcapable {
		return e
	}
	switch d.obj.(type) {
	case directory:
		return Eisdir
	case stream:
		if positions {
			return Espipe
		}
	}
	return e
}

// positioned returns the object of a descriptor that has bytes at offsets.
func positioned(d *descriptor) (regular, Errno) {
	switch o := d.obj.(type) {
	case regular:
		return o, Success
	case directory:
		return nil, Eisdir
	}
	return nil, Espipe
}

func fdSeek(s *System, mem []byte, a []uint64) Errno {
	offset, whence := int64(a[1]), uint32(a[2])
	rights := RightFdSeek
	if offset == 0 && whence == whenceCur {
		rights = RightFdTell
	}
	d, e := s.get(uint32(a[0]))
	if e != Success {
		return e
	}
	if d.base&rights == 0 && d.base&RightFdSeek == 0 {
		return explain(d, Enotcapable, true)
	}
	if _, ok := span(mem, uint32(a[3]), 8); !ok {
		return Efault
	}
	position, e := seek(d, offset, whence)
	if e != Success {
		return e
	}
	return putU64(mem, uint32(a[3]), position)
}

// seek moves the position of a descriptor and returns it.
func seek(d *descriptor, offset int64, whence uint32) (uint64, Errno) {
	if whence > whenceEnd {
		return 0, Einval
	}
	if k, ok := d.obj.(seeker); ok {
		return k.seek(offset, whence)
	}
	o, e := positioned(d)
	if e != Success {
		return 0, e
	}
	var from uint64
	switch whence {
	case whenceCur:
		from = d.offset
	case whenceEnd:
		var st Filestat
		if e := o.stat(&st); e != Success {
			return 0, e
		}
		from = st.Size
	}
	to := int64(from) + offset
	switch {
	case offset > 0 && to < int64(from):
		return 0, Eoverflow
	case to < 0:
		return 0, Einval
	}
	d.offset = uint64(to)
	return d.offset, Success
}

func fdTell(s *System, mem []byte, a []uint64) Errno {
	d, e := s.get(uint32(a[0]))
	if e != Success {
		return e
	}
	if d.base&RightFdTell == 0 {
		return explain(d, Enotcapable, true)
	}
	position, e := seek(d, 0, whenceCur)
	if e != Success {
		return e
	}
	return putU64(mem, uint32(a[1]), position)
}

func fdAdvise(s *System, _ []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdAdvise)
	if e != Success {
		return explain(d, e, true)
	}
	if advice := uint32(a[3]); advice > 5 {
		return Einval
	}
	o, e := positioned(d)
	if e != Success {
		return e
	}
	return o.advise(a[1], a[2], uint32(a[3]))
}

func fdAllocate(s *System, _ []byte, a []uint64) Errno {
	d, e := s.able(uint32(a[0]), RightFdAllocate)
	if e != Success {
		return explain(d, e, true)
	}
	o, e := positioned(d)
	if e != Success {
		return e
	}
	if a[2] == 0 || a[1] > math.MaxInt64-min(a[2], math.MaxInt64) {
		return Einval
	}
	return o.allocate(a[1], a[2])
}
