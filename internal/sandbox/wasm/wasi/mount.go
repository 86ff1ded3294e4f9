package wasi

import (
	"hash/fnv"
	"path"

	"golang.org/x/sys/unix"
)

// A preopened directory has every right, and what is read only answers ROFS:
// libraries mask what they ask for by the rights that they find, and a program
// would otherwise be told that a file it may not write cannot be opened at all.

// countPreopens returns how many pre-opened directories the mounts make.
func countPreopens(mounts []Mount) int {
	n := 0
	eachPreopen(mounts, func(string, []Mount) { n++ })
	return n
}

// eachPreopen calls yield for each pre-opened directory, in order: with one
// mount, or with all the single files of one folder, at the place of the first.
func eachPreopen(mounts []Mount, yield func(guest string, members []Mount)) {
	for i, m := range mounts {
		if m.Kind != File {
			yield(cleanGuest(m.Guest), mounts[i:i+1])
			continue
		}
		folder := path.Dir(cleanGuest(m.Guest))
		var members []Mount
		first := true
		for j, o := range mounts {
			if o.Kind != File || path.Dir(cleanGuest(o.Guest)) != folder {
				continue
			}
			if j < i {
				first = false
				break
			}
			members = append(members, o)
		}
		if first {
			yield(folder, members)
		}
	}
}

func cleanGuest(guest string) string { return path.Clean("/" + guest) }

// mount puts the mounts into the table.
func (s *System) mount() {
	fd := 3
	eachPreopen(s.cfg.Mounts, func(guest string, members []Mount) {
		var obj object
		switch m := members[0]; m.Kind {
		case Dir:
			obj = &hostDir{fd: m.FD, readOnly: m.ReadOnly}
		case File:
			obj = &treeDir{newFileFolder(guest, members)}
		default:
			obj = &treeDir{&imageMount{system: s, mount: m, guest: guest}}
		}
		s.place(fd, &descriptor{obj: obj, base: rightsDir, inherit: rightsAll, preopen: guest})
		fd++
	})
}

// openImages opens every archive and disk image.
func (s *System) openImages() {
	for _, d := range s.fds {
		if d == nil {
			continue
		}
		if t, ok := d.obj.(*treeDir); ok {
			if m, ok := t.root.(*imageMount); ok {
				m.node()
			}
		}
	}
}

// fileFolder is the directory in which single-file mounts appear.
type fileFolder struct {
	inode uint64
	files []*singleFile
}

// singleFile is a file mount.
type singleFile struct {
	name     string
	fd       int
	readOnly bool
}

func newFileFolder(guest string, members []Mount) *fileFolder {
	h := fnv.New64a()
	h.Write([]byte(guest))
	f := &fileFolder{inode: h.Sum64()}
	for _, m := range members {
		f.files = append(f.files, &singleFile{name: path.Base(cleanGuest(m.Guest)), fd: m.FD, readOnly: m.ReadOnly})
	}
	return f
}

func (f *fileFolder) stat(st *Filestat) Errno {
	*st = Filestat{Inode: f.inode, Type: TypeDirectory, Links: 1}
	return Success
}

func (f *fileFolder) child(name string) (node, Errno) {
	for _, c := range f.files {
		if c.name == name {
			return c, Success
		}
	}
	return nil, Enoent
}

func (f *fileFolder) children() (int, func(int) (string, node), Errno) {
	return len(f.files), func(i int) (string, node) { return f.files[i].name, f.files[i] }, Success
}

func (f *fileFolder) target() (string, Errno)      { return "", Einval }
func (f *fileFolder) open(openHow) (object, Errno) { return nil, Eisdir }

func (f *singleFile) stat(st *Filestat) Errno { return statFD(f.fd, st) }

func (f *singleFile) child(string) (node, Errno) { return nil, Enotdir }

func (f *singleFile) children() (int, func(int) (string, node), Errno) { return 0, nil, Enotdir }

func (f *singleFile) target() (string, Errno) { return "", Einval }

// open gives the guest the mount's own descriptor: with positions of its own,
// and writable if the caller opened it so.
func (f *singleFile) open(how openHow) (object, Errno) {
	mode, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, toErrno(err)
	}
	readOnly := f.readOnly || mode&unix.O_ACCMODE == unix.O_RDONLY
	if readOnly && (how.write || how.oflags&openTruncate != 0) {
		return nil, Erofs
	}
	var st Filestat
	if e := statFD(f.fd, &st); e != Success {
		return nil, e
	}
	if st.Type != TypeRegular {
		fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, toErrno(err)
		}
		return &pipe{fd: fd, kind: st.Type}, Success
	}
	file := &hostFile{fd: f.fd, readOnly: readOnly}
	if how.oflags&openTruncate != 0 {
		if e := file.setSize(0); e != Success {
			return nil, e
		}
	}
	return file, Success
}
