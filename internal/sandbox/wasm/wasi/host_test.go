package wasi

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPath opens a host path as O_PATH, as a node hands over a directory.
func openPath(t testing.TB, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { closeFD(fd) })
	return fd
}

// newDirGuest makes a guest whose descriptor 3 is a fresh host directory.
func newDirGuest(t testing.TB) (*guest, string) {
	dir := t.TempDir()
	return newGuest(t, Config{Mounts: []Mount{{Guest: "/data", FD: openPath(t, dir)}}}), dir
}

// opening is the arguments of path_open that tests vary.
type opening struct {
	dir            uint32
	follow         bool
	oflags         uint32
	base, inherit  Rights
	fdflags        uint32
	noRights       bool // ask for none, instead of all
	readOnlyRights bool // ask for none that need the file open for writing
}

func (g *guest) open(path string, o opening) (uint32, Errno) {
	g.t.Helper()
	if o.dir == 0 {
		o.dir = 3
	}
	if o.base == 0 && !o.noRights {
		o.base, o.inherit = rightsFile, rightsAll
	}
	if o.readOnlyRights {
		o.base &^= writeRights
	}
	follow := uint64(0)
	if o.follow {
		follow = 1
	}
	p, n := g.data(path)
	out := g.alloc(4)
	e := g.call("path_open", uint64(o.dir), follow, p, n, uint64(o.oflags), uint64(o.base), uint64(o.inherit), uint64(o.fdflags), uint64(out))
	return g.u32(out), e
}

func (g *guest) mustOpen(path string, o opening) uint32 {
	g.t.Helper()
	fd, e := g.open(path, o)
	if e != Success {
		g.t.Fatalf("open %s: %v", path, e)
	}
	return fd
}

// onPath calls a function whose arguments are a directory and a path.
func (g *guest) onPath(name, path string) Errno {
	g.t.Helper()
	p, n := g.data(path)
	return g.call(name, 3, p, n)
}

func (g *guest) stat(path string, follow bool) (Filestat, Errno) {
	p, n := g.data(path)
	out := g.alloc(filestatSize)
	flags := uint64(0)
	if follow {
		flags = 1
	}
	e := g.call("path_filestat_get", 3, flags, p, n, uint64(out))
	return g.filestat(out), e
}

func (g *guest) filestat(p uint32) Filestat {
	return Filestat{Device: g.u64(p), Inode: g.u64(p + 8), Type: Filetype(g.mem[p+16]), Links: g.u64(p + 24),
		Size: g.u64(p + 32), Atime: g.u64(p + 40), Mtime: g.u64(p + 48), Ctime: g.u64(p + 56)}
}

// twoPaths calls path_link (with flags), path_rename or path_symlink.
func (g *guest) symlink(target, path string) Errno {
	a, b := g.data(target)
	c, d := g.data(path)
	return g.call("path_symlink", a, b, 3, c, d)
}

func (g *guest) link(from, to string, flags uint64) Errno {
	a, b := g.data(from)
	c, d := g.data(to)
	return g.call("path_link", 3, flags, a, b, 3, c, d)
}

func (g *guest) rename(from, to string) Errno {
	a, b := g.data(from)
	c, d := g.data(to)
	return g.call("path_rename", 3, a, b, 3, c, d)
}

func (g *guest) seek(fd uint32, offset int64, whence uint64) (uint64, Errno) {
	p := g.alloc(8)
	e := g.call("fd_seek", uint64(fd), uint64(offset), whence, uint64(p))
	return g.u64(p), e
}

// expect reports an error number other than the one wanted.
func expect(t *testing.T, what string, got, want Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPrestat(t *testing.T) {
	var loaded []string
	dir := openPath(t, t.TempDir())
	cfg := Config{Mounts: []Mount{{Guest: "/", FD: dir}, {Guest: "/long/name", FD: dir}}}
	g := newGuest(t, cfg)
	g.s.cfg.Loaded = func(name string, _ time.Duration) { loaded = append(loaded, name) }
	if len(g.s.fds) != 3 {
		t.Errorf("mounts are set up before the first use")
	}
	p := g.alloc(64)
	g.must("fd_prestat_get", 4, uint64(p))
	if g.u32(p) != 0 || g.u32(p+4) != 10 {
		t.Errorf("prestat %d, %d", g.u32(p), g.u32(p+4))
	}
	if !slices.Equal(loaded, []string{"fs"}) {
		t.Errorf("loaded %v", loaded)
	}
	g.must("fd_prestat_dir_name", 4, uint64(p), 11)
	if got := string(g.mem[p : p+10]); got != "/long/name" {
		t.Errorf("name %q", got)
	}
	expect(t, "short buffer", g.call("fd_prestat_dir_name", 4, uint64(p), 9), Enametoolong)
	expect(t, "no more", g.call("fd_prestat_get", 5, uint64(p)), Ebadf)
	expect(t, "stdout", g.call("fd_prestat_get", 1, uint64(p)), Ebadf)
	expect(t, "outside memory", g.call("fd_prestat_get", 3, guestMemory-4), Efault)
}

func TestFileReadWriteSeek(t *testing.T) {
	g, dir := newDirGuest(t)
	fd := g.mustOpen("f", opening{oflags: openCreate})
	if n, e := g.write(fd, "hello, world"); n != 12 || e != Success {
		t.Fatalf("write %d, %v", n, e)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "f")); string(b) != "hello, world" {
		t.Errorf("file holds %q", b)
	}
	tell := g.alloc(8)
	g.must("fd_tell", uint64(fd), uint64(tell))
	if g.u64(tell) != 12 {
		t.Errorf("tell %d", g.u64(tell))
	}
	for _, c := range []struct {
		offset int64
		whence uint64
		want   uint64
		e      Errno
	}{
		{7, whenceSet, 7, Success}, {-2, whenceCur, 5, Success}, {-5, whenceEnd, 7, Success}, {100, whenceSet, 100, Success},
		{-101, whenceCur, 0, Einval}, {0, 3, 0, Einval}, {1<<63 - 1, whenceCur, 0, Eoverflow}, {7, whenceSet, 7, Success},
	} {
		got, e := g.seek(fd, c.offset, c.whence)
		if e != c.e || e == Success && got != c.want {
			t.Errorf("seek(%d, %d) = %d, %v; want %d, %v", c.offset, c.whence, got, e, c.want, c.e)
		}
	}
	if s, _ := g.read(fd, 100); s != "world" {
		t.Errorf("read %q", s)
	}
	a, b, out := g.alloc(3), g.alloc(4), g.alloc(4)
	v, c := g.iovec(a, 3, 0, 0, b, 4)
	g.must("fd_pread", uint64(fd), v, c, 1, uint64(out))
	if g.u32(out) != 7 || string(g.mem[a:a+3]) != "ell" || string(g.mem[b:b+4]) != "o, w" {
		t.Errorf("pread %d bytes, %q and %q", g.u32(out), g.mem[a:a+3], g.mem[b:b+4])
	}
	copy(g.mem[a:], "ELL")
	g.must("fd_pwrite", uint64(fd), v, 1, 1, uint64(out))
	g.must("fd_tell", uint64(fd), uint64(tell))
	if g.u64(tell) != 12 {
		t.Errorf("pwrite moved the position to %d", g.u64(tell))
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "f")); string(b) != "hELLo, world" {
		t.Errorf("file holds %q", b)
	}
	expect(t, "offset beyond files", g.call("fd_pread", uint64(fd), v, c, 1<<63, uint64(out)), Einval)
	expect(t, "vector outside memory", g.call("fd_read", uint64(fd), guestMemory-8, 2, uint64(out)), Efault)
	expect(t, "vector beyond 4 GiB", g.call("fd_read", uint64(fd), 0, 1<<32-1, uint64(out)), Efault)
	bad, one := g.iovec(guestMemory-1, 2)
	expect(t, "buffer outside memory", g.call("fd_write", uint64(fd), bad, one, uint64(out)), Efault)
	expect(t, "result outside memory", g.call("fd_write", uint64(fd), v, c, guestMemory-3), Efault)
}

func TestAppendAndFlags(t *testing.T) {
	g, dir := newDirGuest(t)
	fd := g.mustOpen("f", opening{oflags: openCreate, fdflags: fdAppend | fdSync})
	g.write(fd, "one")
	g.seek(fd, 0, whenceSet)
	g.write(fd, "two")
	if at, _ := g.seek(fd, 0, whenceCur); at != 6 {
		t.Errorf("position after appending %d", at)
	}
	st := g.alloc(fdstatSize)
	g.must("fd_fdstat_get", uint64(fd), uint64(st))
	if flags := le.Uint16(g.mem[st+2:]); flags != fdAppend|fdSync {
		t.Errorf("flags %b", flags)
	}
	g.must("fd_fdstat_set_flags", uint64(fd), 0)
	g.seek(fd, 0, whenceSet)
	g.write(fd, "ONE")
	if b, _ := os.ReadFile(filepath.Join(dir, "f")); string(b) != "ONEtwo" {
		t.Errorf("file holds %q", b)
	}
	g.must("fd_fdstat_set_flags", uint64(fd), fdAppend)
	g.write(fd, "!")
	p, n := g.data("x")
	v, c := g.iovec(uint32(p), uint32(n))
	g.must("fd_pwrite", uint64(fd), v, c, 0, uint64(g.alloc(4)))
	if b, _ := os.ReadFile(filepath.Join(dir, "f")); string(b) != "xNEtwo!" {
		t.Errorf("file holds %q", b)
	}
	expect(t, "unknown flag", g.call("fd_fdstat_set_flags", uint64(fd), 32), Einval)
	expect(t, "durable stream", g.call("fd_fdstat_set_flags", 1, fdSync), Enotsup)
	expect(t, "nonblocking stream", g.call("fd_fdstat_set_flags", 1, fdNonblock), Success)
}

func TestSizeAllocateAdviseSync(t *testing.T) {
	g, dir := newDirGuest(t)
	fd := uint64(g.mustOpen("f", opening{oflags: openCreate}))
	size := func() int64 {
		st, err := os.Stat(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	g.must("fd_filestat_set_size", fd, 100)
	if size() != 100 {
		t.Errorf("size %d", size())
	}
	if e := g.call("fd_allocate", fd, 90, 20); e == Success {
		if size() != 110 {
			t.Errorf("size after allocating %d", size())
		}
		g.must("fd_allocate", fd, 10, 10)
		if size() != 110 {
			t.Errorf("allocating shrank the file to %d", size())
		}
	} else {
		expect(t, "allocate", e, Enotsup)
	}
	expect(t, "allocate nothing", g.call("fd_allocate", fd, 0, 0), Einval)
	expect(t, "allocate beyond files", g.call("fd_allocate", fd, 1<<63-1, 1), Einval)
	expect(t, "size beyond files", g.call("fd_filestat_set_size", fd, 1<<63), Einval)
	for advice := range uint64(6) {
		g.must("fd_advise", fd, 0, 10, advice)
	}
	expect(t, "unknown advice", g.call("fd_advise", fd, 0, 10, 6), Einval)
	expect(t, "advise stdout", g.call("fd_advise", 1, 0, 0, 0), Espipe)
	g.must("fd_sync", fd)
	g.must("fd_datasync", fd)
	g.must("fd_sync", 3)
	expect(t, "sync stdout", g.call("fd_sync", 1), Einval)
}

func TestTimes(t *testing.T) {
	g, dir := newDirGuest(t)
	fd := uint64(g.mustOpen("f", opening{oflags: openCreate}))
	g.must("fd_filestat_set_times", fd, 1e9+5, 2e9+7, setAtime|setMtime)
	st, e := g.stat("f", false)
	if e != Success || st.Atime != 1e9+5 || st.Mtime != 2e9+7 {
		t.Errorf("times %d, %d, %v", st.Atime, st.Mtime, e)
	}
	g.must("fd_filestat_set_times", fd, 0, 0, setMtimeNow)
	if st, _ := g.stat("f", false); st.Atime != 1e9+5 || st.Mtime < 1e18 {
		t.Errorf("times %d, %d", st.Atime, st.Mtime)
	}
	for _, flags := range []uint64{setAtime | setAtimeNow, setMtime | setMtimeNow, 16} {
		expect(t, fmt.Sprintf("flags %b", flags), g.call("fd_filestat_set_times", fd, 0, 0, flags), Einval)
	}
	os.Symlink("f", filepath.Join(dir, "l"))
	p, n := g.data("l")
	g.must("path_filestat_set_times", 3, 0, p, n, 0, 42, setMtime)
	if st, _ := g.stat("l", false); st.Mtime != 42 {
		t.Errorf("time of the link %d", st.Mtime)
	}
	g.must("path_filestat_set_times", 3, 1, p, n, 0, 43, setMtime)
	if st, _ := g.stat("f", false); st.Mtime != 43 {
		t.Errorf("time of its target %d", st.Mtime)
	}
	g.must("fd_filestat_set_times", 3, 0, 44, setMtime)
	if st, _ := g.stat(".", false); st.Mtime != 44 {
		t.Errorf("time of the directory %d", st.Mtime)
	}
}

func TestDirectoriesLinksRename(t *testing.T) {
	g, dir := newDirGuest(t)
	expect(t, "mkdir", g.onPath("path_create_directory", "d"), Success)
	expect(t, "mkdir again", g.onPath("path_create_directory", "d"), Eexist)
	expect(t, "mkdir with slash", g.onPath("path_create_directory", "d/e/"), Success)
	expect(t, "mkdir below nothing", g.onPath("path_create_directory", "x/y"), Enoent)
	expect(t, "rmdir of a full one", g.onPath("path_remove_directory", "d"), Enotempty)
	expect(t, "unlink a directory", g.onPath("path_unlink_file", "d"), Eisdir)
	expect(t, "unlink a directory with slash", g.onPath("path_unlink_file", "d/"), Eisdir)
	expect(t, "rmdir", g.onPath("path_remove_directory", "d/e/"), Success)
	os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o600)
	expect(t, "rmdir of a file", g.onPath("path_remove_directory", "f"), Enotdir)
	expect(t, "unlink with slash", g.onPath("path_unlink_file", "f/"), Enotdir)

	expect(t, "symlink", g.symlink("f", "l"), Success)
	expect(t, "symlink again", g.symlink("f", "l"), Eexist)
	expect(t, "symlink with slash", g.symlink("f", "m/"), Enoent)
	expect(t, "empty symlink", g.symlink("", "m"), Enoent)
	p, n := g.data("l")
	buf, out := g.alloc(8), g.alloc(4)
	g.must("path_readlink", 3, p, n, uint64(buf), 8, uint64(out))
	if g.u32(out) != 1 || g.mem[buf] != 'f' {
		t.Errorf("readlink %d bytes", g.u32(out))
	}
	expect(t, "symlink to a long path", g.symlink("abcdefghij", "long"), Success)
	q, m := g.data("long")
	g.must("path_readlink", 3, q, m, uint64(buf), 4, uint64(out))
	if g.u32(out) != 4 || string(g.mem[buf:buf+4]) != "abcd" {
		t.Errorf("short readlink %q", g.mem[buf:buf+4])
	}
	p, n = g.data("f")
	expect(t, "readlink of a file", g.call("path_readlink", 3, p, n, uint64(buf), 8, uint64(out)), Einval)

	expect(t, "link", g.link("f", "hard", 0), Success)
	expect(t, "link again", g.link("f", "hard", 0), Eexist)
	expect(t, "link a directory", g.link("d", "hd", 0), Eperm)
	expect(t, "link with slash", g.link("f", "x/", 0), Enoent)
	expect(t, "link a symlink", g.link("l", "l2", 0), Success)
	if st, _ := g.stat("l2", false); st.Type != TypeSymlink {
		t.Errorf("link to a symlink has type %d", st.Type)
	}
	expect(t, "link a symlink's target", g.link("l", "f2", 1), Success)
	if st, _ := g.stat("f2", false); st.Type != TypeRegular || st.Links != 3 {
		t.Errorf("link through a symlink: %+v", st)
	}
	expect(t, "unknown flag", g.link("l", "f3", 2), Einval)

	expect(t, "rename", g.rename("f", "d/g"), Success)
	expect(t, "rename nothing", g.rename("f", "h"), Enoent)
	expect(t, "rename a directory over a file", g.rename("d", "hard"), Enotdir)
	expect(t, "rename a file over a directory", g.rename("hard", "d"), Eisdir)
	expect(t, "rename into itself", g.rename("d", "d/x"), Einval)
	expect(t, "rename a directory with slashes", g.rename("d/", "e/"), Success)
	if _, err := os.Stat(filepath.Join(dir, "e", "g")); err != nil {
		t.Error(err)
	}
}

func TestStat(t *testing.T) {
	g, dir := newDirGuest(t)
	os.WriteFile(filepath.Join(dir, "f"), []byte("12345"), 0o600)
	os.Symlink("f", filepath.Join(dir, "l"))
	f, e := g.stat("f", false)
	if e != Success || f.Size != 5 || f.Type != TypeRegular || f.Links != 1 || f.Mtime < 1e18 || f.Inode == 0 {
		t.Errorf("stat f: %+v, %v", f, e)
	}
	if l, _ := g.stat("l", false); l.Type != TypeSymlink || l.Inode == f.Inode {
		t.Errorf("stat l: %+v", l)
	}
	if l, _ := g.stat("l", true); l != f {
		t.Errorf("stat through l: %+v, want %+v", l, f)
	}
	fd := g.mustOpen("f", opening{readOnlyRights: true})
	p := g.alloc(filestatSize)
	g.must("fd_filestat_get", uint64(fd), uint64(p))
	if g.filestat(p) != f {
		t.Errorf("fd_filestat_get %+v", g.filestat(p))
	}
	g.must("fd_filestat_get", 1, uint64(p))
	expect(t, "outside memory", g.call("fd_filestat_get", uint64(fd), guestMemory-63), Efault)
}

// readdir lists a directory with a buffer of the given size, as libraries do.
func (g *guest) readdir(fd uint32, size int) []string {
	g.t.Helper()
	buf, used := g.alloc(size), g.alloc(4)
	var names []string
	cookie := uint64(0)
	for range 10000 {
		g.must("fd_readdir", uint64(fd), uint64(buf), uint64(size), cookie, uint64(used))
		b := g.mem[buf : buf+g.u32(used)]
		got := 0
		for len(b) >= direntSize {
			n := int(le.Uint32(b[16:]))
			if len(b) < direntSize+n {
				break
			}
			names = append(names, fmt.Sprintf("%s:%d", b[direntSize:direntSize+n], b[20]))
			cookie = le.Uint64(b)
			b = b[direntSize+n:]
			got++
		}
		if int(g.u32(used)) < size {
			sort.Strings(names)
			return names
		}
		if got == 0 {
			g.t.Fatalf("a buffer of %d holds no entry", size)
		}
	}
	g.t.Fatalf("directory without end")
	return nil
}

func TestReaddir(t *testing.T) {
	g, dir := newDirGuest(t)
	want := []string{".:3", "..:3", "d:3", "l:7"}
	os.Mkdir(filepath.Join(dir, "d"), 0o700)
	os.Symlink("d", filepath.Join(dir, "l"))
	for i := range 300 {
		name := fmt.Sprintf("file-with-a-long-name-%03d", i)
		os.WriteFile(filepath.Join(dir, name), nil, 0o600)
		want = append(want, name+":4")
	}
	sort.Strings(want)
	for _, size := range []int{64, 100, 4096, 65536} {
		if got := g.readdir(3, size); !slices.Equal(got, want) {
			t.Errorf("buffer of %d: %d entries, want %d", size, len(got), len(want))
		}
	}
	used := g.alloc(4)
	buf := g.alloc(8)
	g.must("fd_readdir", 3, uint64(buf), 8, 0, uint64(used))
	if g.u32(used) != 8 {
		t.Errorf("tiny buffer: %d", g.u32(used))
	}
	g.must("fd_readdir", 3, uint64(buf), 0, 0, uint64(used))
	g.must("fd_readdir", 3, uint64(buf), 8, 1<<63, uint64(used))
	if g.u32(used) != 0 {
		t.Errorf("entries beyond the end")
	}
	fd := g.mustOpen("file-with-a-long-name-000", opening{readOnlyRights: true})
	expect(t, "readdir of a file", g.call("fd_readdir", uint64(fd), uint64(buf), 8, 0, uint64(used)), Ebadf)
}

func TestRights(t *testing.T) {
	g, _ := newDirGuest(t)
	fd := g.mustOpen("f", opening{oflags: openCreate, base: RightFdRead | RightFdWrite | RightFdTell | RightSockAccept, inherit: RightFdRead})
	st := g.alloc(fdstatSize)
	g.must("fd_fdstat_get", uint64(fd), uint64(st))
	if got := Rights(g.u64(st + 8)); got != RightFdRead|RightFdWrite|RightFdTell {
		t.Errorf("rights %b", got)
	}
	_, e := g.seek(fd, 1, whenceSet)
	expect(t, "seek without the right", e, Enotcapable)
	_, e = g.seek(fd, 0, whenceCur)
	expect(t, "tell by seeking", e, Success)
	expect(t, "size without the right", g.call("fd_filestat_set_size", uint64(fd), 0), Enotcapable)
	expect(t, "stat without the right", g.call("fd_filestat_get", uint64(fd), uint64(st)), Enotcapable)
	g.must("fd_fdstat_set_rights", uint64(fd), uint64(RightFdWrite), 0)
	_, e = g.read(fd, 1)
	expect(t, "read after dropping the right", e, Enotcapable)
	expect(t, "add a right", g.call("fd_fdstat_set_rights", uint64(fd), uint64(RightFdWrite|RightFdRead), 0), Enotcapable)
	expect(t, "add an inherited right", g.call("fd_fdstat_set_rights", uint64(fd), 0, 1), Enotcapable)

	g.onPath("path_create_directory", "d")
	dir := g.mustOpen("d", opening{oflags: openDirectory, base: RightPathOpen | RightPathCreateFile, inherit: RightFdRead})
	_, e = g.open("x", opening{dir: dir, oflags: openCreate, base: RightFdRead | RightFdWrite})
	expect(t, "more than is inherited", e, Enotcapable)
	_, e = g.open("x", opening{dir: dir, oflags: openCreate, base: RightFdRead})
	expect(t, "what is inherited", e, Success)
	_, e = g.open("x", opening{dir: dir, oflags: openTruncate, noRights: true})
	expect(t, "truncate without the right", e, Enotcapable)
	g.must("fd_fdstat_set_rights", 3, uint64(rightsDir&^RightPathUnlinkFile), uint64(rightsAll))
	expect(t, "unlink without the right", g.onPath("path_unlink_file", "f"), Enotcapable)
}

func TestDirectoryIO(t *testing.T) {
	g, _ := newDirGuest(t)
	p := uint64(g.alloc(64))
	v, c := g.iovec(uint32(p), 8)
	for name, args := range map[string][]uint64{
		"fd_read": {3, v, c, p}, "fd_write": {3, v, c, p}, "fd_pread": {3, v, c, 0, p}, "fd_pwrite": {3, v, c, 0, p},
		"fd_seek": {3, 0, 0, p}, "fd_tell": {3, p}, "fd_allocate": {3, 0, 1}, "fd_filestat_set_size": {3, 0}, "fd_advise": {3, 0, 0, 0},
	} {
		expect(t, name, g.call(name, args...), Eisdir)
	}
}

func TestRenumberAndClose(t *testing.T) {
	g, _ := newDirGuest(t)
	a := g.mustOpen("a", opening{oflags: openCreate})
	b := g.mustOpen("b", opening{oflags: openCreate})
	g.write(a, "in a")
	g.must("fd_renumber", uint64(a), uint64(b))
	expect(t, "close the old number", g.call("fd_close", uint64(a)), Ebadf)
	g.seek(b, 0, whenceSet)
	if s, _ := g.read(b, 10); s != "in a" {
		t.Errorf("read %q", s)
	}
	expect(t, "renumber to nothing", g.call("fd_renumber", uint64(b), uint64(a)), Ebadf)
	expect(t, "renumber nothing", g.call("fd_renumber", uint64(a), uint64(b)), Ebadf)
	g.must("fd_renumber", uint64(b), uint64(b))
	g.must("fd_renumber", uint64(b), 3)
	expect(t, "the mount is gone", g.call("fd_prestat_get", 3, 0), Ebadf)
	g.must("fd_close", 3)
	g.must("fd_close", 1)
	expect(t, "close twice", g.call("fd_close", 1), Ebadf)
	expect(t, "close a huge number", g.call("fd_close", 1<<32-1), Ebadf)
}

func TestDescriptorLimit(t *testing.T) {
	g := newGuest(t, Config{Mounts: []Mount{{Guest: "/", FD: openPath(t, t.TempDir())}}, Descriptors: 6})
	for range 2 {
		g.mustOpen(".", opening{noRights: true})
	}
	_, e := g.open(".", opening{noRights: true})
	expect(t, "one too many", e, Emfile)
	g.must("fd_close", 4)
	if fd := g.mustOpen(".", opening{noRights: true}); fd != 4 {
		t.Errorf("descriptor %d", fd)
	}
}
