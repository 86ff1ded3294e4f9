package wasi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bothResolvers runs a test with openat2 and without.
func bothResolvers(t *testing.T, test func(t *testing.T)) {
	t.Run("openat2", test)
	t.Run("walk", func(t *testing.T) {
		old := noOpenat2.Swap(true)
		defer noOpenat2.Store(old)
		test(t)
	})
}

func TestOpenFlags(t *testing.T) {
	bothResolvers(t, func(t *testing.T) {
		g, dir := newDirGuest(t)
		os.WriteFile(filepath.Join(dir, "f"), []byte("abc"), 0o600)
		os.Mkdir(filepath.Join(dir, "d"), 0o700)
		os.Symlink("f", filepath.Join(dir, "l"))
		os.Symlink("d", filepath.Join(dir, "ld"))
		os.Symlink("loop", filepath.Join(dir, "loop"))
		os.Symlink("made", filepath.Join(dir, "dangling"))
		none := opening{noRights: true}
		cases := []struct {
			path string
			o    opening
			want Errno
		}{
			{"f", none, Success},
			{"f", opening{}, Success},
			{"./f", none, Success},
			{"d//..//f", none, Success},
			{"d/.", none, Success},
			{"d/", none, Success},
			{"ld/", none, Success},
			{"ld/../f", none, Success},
			{"f/", none, Enotdir},
			{"f/x", none, Enotdir},
			{"", none, Enoent},
			{"none", none, Enoent},
			{"f\x00", none, Einval},
			{"f", opening{oflags: openCreate | openExclusive}, Eexist},
			{"l", opening{oflags: openCreate | openExclusive, follow: true}, Eexist},
			{"f", opening{oflags: openDirectory, noRights: true}, Enotdir},
			{"d", opening{oflags: openDirectory, noRights: true}, Success},
			{"d", opening{}, Eisdir},
			{"d", opening{oflags: openDirectory | openCreate, noRights: true}, Einval},
			{"l", none, Eloop},
			{"l", opening{noRights: true, follow: true}, Success},
			{"loop", opening{noRights: true, follow: true}, Eloop},
			{"loop/x", none, Eloop},
			{"dangling", opening{noRights: true, follow: true}, Enoent},
			{"dangling", opening{oflags: openCreate, follow: true}, Success},
			{"f", opening{noRights: true, fdflags: 64}, Einval},
			{"f", opening{noRights: true, oflags: 16}, Einval},
			{strings.Repeat("x", 300), none, Enametoolong},
			{strings.Repeat("x/", 2100), none, Enametoolong},
		}
		for _, c := range cases {
			fd, e := g.open(c.path, c.o)
			if e != c.want {
				t.Errorf("open %.20q %+v: %v, want %v", c.path, c.o, e, c.want)
			}
			if e == Success {
				g.must("fd_close", uint64(fd))
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
			t.Errorf("creating through a dangling link: %v", err)
		}
		fd := g.mustOpen("f", opening{noRights: true, oflags: openTruncate})
		g.must("fd_close", uint64(fd))
		if st, _ := os.Stat(filepath.Join(dir, "f")); st.Size() != 0 {
			t.Errorf("not truncated")
		}
		if fd := g.mustOpen("f", none); fd != 4 {
			t.Errorf("lowest free descriptor is %d, want 4", fd)
		}
		if e := g.call("path_open", 3, 2, 0, 1, 0, 0, 0, 0, 0); e != Einval {
			t.Errorf("unknown lookup flag: %v", e)
		}
		_, e := g.open("x", opening{dir: 1, noRights: true})
		expect(t, "relative to a stream", e, Enotdir)
		_, e = g.open("x", opening{dir: 99, noRights: true})
		expect(t, "relative to nothing", e, Ebadf)
	})
}

func TestEscapes(t *testing.T) {
	bothResolvers(t, func(t *testing.T) {
		top := t.TempDir()
		inside, outside := filepath.Join(top, "in"), filepath.Join(top, "out")
		os.MkdirAll(filepath.Join(inside, "sub"), 0o700)
		os.Mkdir(outside, 0o700)
		os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600)
		for name, target := range map[string]string{
			"abs": outside, "rel": "../out", "file": "../out/secret", "absfile": outside + "/secret",
			"dangling": "../out/new", "sub/up": "../..", "magic": "/proc/self/root", "chain": "sub/up/out", "self": "../in",
		} {
			if err := os.Symlink(target, filepath.Join(inside, name)); err != nil {
				t.Fatal(err)
			}
		}
		g := newGuest(t, Config{Mounts: []Mount{{Guest: "/", FD: openPath(t, inside)}}})
		g.must("fd_fdstat_get", 3, uint64(g.alloc(fdstatSize)))
		sub := g.mustOpen("sub", opening{noRights: true, inherit: rightsAll, oflags: openDirectory})
		g.s.fds[sub].base, g.s.fds[sub].inherit = rightsDir, rightsAll

		escapes := []string{
			"..", "../out/secret", "sub/../../out/secret", "/", "/etc/passwd", outside + "/secret", "abs/secret", "rel/secret",
			"file", "absfile", "sub/up/out/secret", "chain/secret", "magic/etc/passwd", "self/sub", "sub/up",
			"sub/../..", "./..", "rel/", "abs/", "rel/.", "sub/up/in/sub",
		}
		for _, path := range escapes {
			for _, o := range []opening{{noRights: true, follow: true}, {oflags: openCreate, follow: true}} {
				fd, e := g.open(path, o)
				want := Eperm
				if o.oflags != 0 && plainSlash(path) {
					want = Eisdir // as the kernel has it for any such name
				}
				if e != want {
					t.Errorf("open %s: %v, want %v", path, e, want)
				}
				if e == Success {
					g.must("fd_close", uint64(fd))
				}
			}
			if _, e := g.stat(path, true); e != Eperm {
				t.Errorf("stat %s: %v, want perm", path, e)
			}
		}
		_, e := g.open("../f", opening{dir: sub, oflags: openCreate})
		expect(t, "above a sub-directory", e, Eperm)
		_, e = g.open("up", opening{dir: sub, noRights: true, follow: true})
		expect(t, "link above a sub-directory", e, Eperm)

		_, e = g.open("dangling", opening{oflags: openCreate, follow: true})
		expect(t, "create through a dangling link", e, Eperm)
		for _, name := range []string{"path_create_directory", "path_remove_directory", "path_unlink_file"} {
			for _, path := range []string{"../out/made", "rel/secret", "abs/secret", "/tmp/x", "sub/../../out/secret", "magic/tmp/x"} {
				expect(t, name+" "+path, g.onPath(name, path), Eperm)
			}
		}
		for _, path := range []string{"../out/secret", "rel/secret", outside + "/secret"} {
			expect(t, "rename from "+path, g.rename(path, "stolen"), Eperm)
			expect(t, "rename to "+path, g.rename("sub", path), Eperm)
			expect(t, "link from "+path, g.link(path, "stolen", 0), Eperm)
			expect(t, "link to "+path, g.link("sub", path, 0), Eperm)
			expect(t, "symlink at "+path, g.symlink("x", path), Eperm)
			p, n := g.data(path)
			expect(t, "readlink "+path, g.call("path_readlink", 3, p, n, 0, 8, 8), Eperm)
			expect(t, "times of "+path, g.call("path_filestat_set_times", 3, 1, p, n, 0, 0, setMtimeNow), Eperm)
		}
		for _, path := range []string{"file", "absfile"} {
			expect(t, "link to the target of "+path, g.link(path, "stolen", 1), Eperm)
			p, n := g.data(path)
			expect(t, "times of the target of "+path, g.call("path_filestat_set_times", 3, 1, p, n, 0, 0, setMtimeNow), Eperm)
		}
		for _, path := range []string{"rel/", "abs/"} {
			_, e := g.stat(path, false)
			expect(t, "stat "+path, e, Eperm)
			p, n := g.data(path)
			expect(t, "readlink "+path, g.call("path_readlink", 3, p, n, 0, 8, 8), Eperm)
			expect(t, "times of "+path, g.call("path_filestat_set_times", 3, 0, p, n, 0, 0, setMtimeNow), Eperm)
		}
		expect(t, "absolute symlink", g.symlink("/etc/passwd", "a"), Eperm)
		expect(t, "remove ..", g.onPath("path_remove_directory", ".."), Enotempty)
		expect(t, "remove .", g.onPath("path_remove_directory", "."), Einval)
		expect(t, "rename ..", g.rename("..", "x"), Ebusy)

		if entries, _ := os.ReadDir(outside); len(entries) != 1 {
			t.Errorf("outside was changed: %v", entries)
		}
		if b, _ := os.ReadFile(filepath.Join(outside, "secret")); string(b) != "secret" {
			t.Errorf("the secret is now %q", b)
		}
	})
}

// plainSlash reports whether path is a single name and a slash.
func plainSlash(path string) bool {
	return len(path) > 1 && strings.IndexByte(path, '/') == len(path)-1
}
