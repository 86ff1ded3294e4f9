package wasi

// writeRights are the rights that need a file open for writing.
const writeRights = RightFdWrite | RightFdAllocate

func pathOpen(s *System, mem []byte, a []uint64) Errno {
	out := uint32(a[8])
	if _, ok := span(mem, out, 4); !ok {
		return Efault
	}
	path, e := pathAt(mem, uint32(a[2]), uint32(a[3]))
	if e != Success {
		return e
	}
	lookup, oflags, fdflags := uint32(a[1]), uint32(a[4]), uint32(a[7])
	if lookup&^followSymlink != 0 || oflags&^openFlags != 0 || fdflags&^fdFlags != 0 {
		return Einval
	}
	if oflags&openDirectory != 0 && oflags&(openCreate|openExclusive|openTruncate) != 0 {
		return Einval
	}
	base, inherit := Rights(a[5])&rightsAll, Rights(a[6])&rightsAll
	needed := RightPathOpen
	if oflags&openCreate != 0 {
		needed |= RightPathCreateFile
	}
	d, dir, e := s.dirAt(uint32(a[0]), needed)
	if e != Success {
		return e
	}
	if (base|inherit)&^d.inherit != 0 {
		return Enotcapable
	}
	if oflags&openTruncate != 0 && d.base&RightPathFilestatSetSize == 0 && d.inherit&RightFdFilestatSetSize == 0 {
		return Enotcapable // Go opens directories without the former; with the latter it can truncate anyway
	}
	how := openHow{
		oflags:  oflags,
		fdflags: uint16(fdflags),
		follow:  lookup&followSymlink != 0,
		read:    base&(RightFdRead|RightFdReaddir) != 0,
		write:   base&writeRights != 0 || base&(RightFdFilestatSetSize|RightFdRead) == RightFdFilestatSetSize,
	}
	obj, e := dir.open(path, how)
	if e != Success {
		return e
	}
	switch obj.(type) {
	case regular:
		base, inherit = base&rightsFile, inherit&rightsFile
	case directory:
		base &= rightsDir
	default:
		base, inherit = base&rightsStream, inherit&rightsStream
	}
	fd, e := s.insert(&descriptor{obj: obj, base: base, inherit: inherit, flags: uint16(fdflags)})
	if e != Success {
		obj.close()
		return e
	}
	return putU32(mem, out, fd)
}

func pathFilestatGet(s *System, mem []byte, a []uint64) Errno {
	if _, ok := span(mem, uint32(a[4]), filestatSize); !ok {
		return Efault
	}
	path, e := pathAt(mem, uint32(a[2]), uint32(a[3]))
	if e != Success {
		return e
	}
	lookup := uint32(a[1])
	if lookup&^followSymlink != 0 {
		return Einval
	}
	_, dir, e := s.dirAt(uint32(a[0]), RightPathFilestatGet)
	if e != Success {
		return e
	}
	var st Filestat
	if e := dir.lookup(path, lookup&followSymlink != 0, &st); e != Success {
		return e
	}
	return putFilestat(mem, uint32(a[4]), &st)
}

func pathFilestatSetTimes(s *System, mem []byte, a []uint64) Errno {
	path, e := pathAt(mem, uint32(a[2]), uint32(a[3]))
	if e != Success {
		return e
	}
	lookup := uint32(a[1])
	if lookup&^followSymlink != 0 {
		return Einval
	}
	atime, mtime, e := timestamps(a[4], a[5], uint32(a[6]))
	if e != Success {
		return e
	}
	_, dir, e := s.dirAt(uint32(a[0]), RightPathFilestatSetTimes)
	if e != Success {
		return e
	}
	return dir.setTimesAt(path, lookup&followSymlink != 0, atime, mtime)
}

// onPath runs an operation of a directory on the path in arguments 1 and 2.
func (s *System) onPath(mem []byte, a []uint64, right Rights, op func(dir directory, path string) Errno) Errno {
	path, e := pathAt(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	_, dir, e := s.dirAt(uint32(a[0]), right)
	if e != Success {
		return e
	}
	return op(dir, path)
}

func pathCreateDirectory(s *System, mem []byte, a []uint64) Errno {
	return s.onPath(mem, a, RightPathCreateDirectory, directory.mkdir)
}

func pathRemoveDirectory(s *System, mem []byte, a []uint64) Errno {
	return s.onPath(mem, a, RightPathRemoveDirectory, directory.rmdir)
}

func pathUnlinkFile(s *System, mem []byte, a []uint64) Errno {
	return s.onPath(mem, a, RightPathUnlinkFile, directory.unlink)
}

func pathReadlink(s *System, mem []byte, a []uint64) Errno {
	buf, ok := span(mem, uint32(a[3]), uint32(a[4]))
	if !ok {
		return Efault
	}
	size, ok := span(mem, uint32(a[5]), 4)
	if !ok {
		return Efault
	}
	return s.onPath(mem, a, RightPathReadlink, func(dir directory, path string) Errno {
		n, e := dir.readlink(path, buf)
		if e == Success {
			le.PutUint32(size, uint32(n))
		}
		return e
	})
}

func pathSymlink(s *System, mem []byte, a []uint64) Errno {
	target, e := pathAt(mem, uint32(a[0]), uint32(a[1]))
	if e != Success {
		return e
	}
	return s.onPath(mem, a[2:], RightPathSymlink, func(dir directory, path string) Errno {
		return dir.symlink(target, path)
	})
}

func pathLink(s *System, mem []byte, a []uint64) Errno {
	lookup := uint32(a[1])
	if lookup&^followSymlink != 0 {
		return Einval
	}
	old, e := pathAt(mem, uint32(a[2]), uint32(a[3]))
	if e != Success {
		return e
	}
	_, from, e := s.dirAt(uint32(a[0]), RightPathLinkSource)
	if e != Success {
		return e
	}
	return s.onPath(mem, a[4:], RightPathLinkTarget, func(to directory, path string) Errno {
		return from.link(old, lookup&followSymlink != 0, to, path)
	})
}

func pathRename(s *System, mem []byte, a []uint64) Errno {
	old, e := pathAt(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	_, from, e := s.dirAt(uint32(a[0]), RightPathRenameSource)
	if e != Success {
		return e
	}
	return s.onPath(mem, a[3:], RightPathRenameTarget, func(to directory, path string) Errno {
		return from.rename(old, to, path)
	})
}
