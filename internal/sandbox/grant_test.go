package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// realTempDir returns a temporary folder without symbolic links in its path.
func realTempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// granted starts a host that has dir, and returns it with the descriptor.
func grantedHost(t *testing.T, s *Spawner, dir string, readOnly bool) (*host, int, *Grant) {
	t.Helper()
	g, err := s.OpenDir(dir, readOnly)
	if err != nil {
		t.Fatal(err)
	}
	h := spawn(t, s, SpawnOptions{Grants: []*Grant{g}})
	return h, h.grant(g.File), g
}

func TestGrantedFolder(t *testing.T) {
	s := newSpawner(t)
	top := realTempDir(t)
	secret, dir := filepath.Join(top, "secret"), filepath.Join(top, "data")
	for _, err := range []error{
		os.WriteFile(secret, []byte("secret"), 0o644),
		os.MkdirAll(filepath.Join(dir, "sub"), 0o700),
		os.WriteFile(filepath.Join(dir, "private"), []byte("mine"), 0o600),
		os.Symlink("../secret", filepath.Join(dir, "relative")),
		os.Symlink(secret, filepath.Join(dir, "absolute")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	hidden := unix.ENOENT
	if !s.Isolation().Mount {
		hidden = unix.EACCES
	}
	for _, readOnly := range []bool{true, false} {
		t.Run(fmt.Sprint("readOnly=", readOnly), func(t *testing.T) {
			h, fd, g := grantedHost(t, s, dir, readOnly)
			if g.Degraded != "" {
				t.Logf("degraded: %s", g.Degraded)
				if s.Isolation().Mount {
					t.Error("the folder is not as well guarded as it can be")
				}
			}
			f := h.want(0, request{Op: "open", FD: fd, Path: "private"})
			if a := h.want(0, request{Op: "read", FD: f.Num}); a.Text != "mine" {
				t.Errorf("read %q", a.Text)
			}
			if s.Isolation().Mount {
				here, above := h.try(request{Op: "inode", FD: fd, Path: "."}), h.try(request{Op: "inode", FD: fd, Path: "../.."})
				if here.Num != above.Num {
					t.Errorf("the parent of the folder is inode %d, the folder %d", above.Num, here.Num)
				}
			}
			for _, path := range []string{"../secret", "sub/../../secret", "relative", "absolute"} {
				h.want(hidden, request{Op: "open", FD: fd, Path: path})
			}
			refused := unix.Errno(0)
			if readOnly {
				refused = unix.EROFS
				if !s.Isolation().Mount {
					refused = unix.EACCES
				}
			}
			h.want(refused, request{Op: "open", FD: fd, Path: "private", Num: unix.O_RDWR})
			f = h.want(refused, request{Op: "open", FD: fd, Path: "new", Num: unix.O_CREAT | unix.O_WRONLY})
			h.want(refused, request{Op: "mkdir", FD: fd, Path: "newdir"})
			h.want(unix.EPERM, request{Op: "create-setuid", FD: fd, Path: "setuid"})
			if readOnly {
				h.want(refused, request{Op: "rename", FD: fd, Path: "private:sub/moved"})
				return
			}
			h.want(0, request{Op: "write", FD: f.Num, Path: "hello"})
			h.want(0, request{Op: "rename", FD: fd, Path: "new:sub/moved"}) // from one folder into another
			for _, name := range []string{"sub/moved", "newdir"} {
				var st unix.Stat_t
				if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || int(st.Uid) != os.Getuid() || int(st.Gid) != os.Getgid() {
					t.Errorf("%s belongs to %d:%d, %v", name, st.Uid, st.Gid, err)
				}
			}
			if b, err := os.ReadFile(filepath.Join(dir, "sub/moved")); string(b) != "hello" {
				t.Errorf("the file holds %q, %v", b, err)
			}
		})
	}
}

func TestGrantedFile(t *testing.T) {
	s := newSpawner(t)
	path := filepath.Join(realTempDir(t), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{true, false} {
		f, err := OpenFile(path, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		h := spawn(t, s, SpawnOptions{})
		fd := h.grant(f)
		if a := h.want(0, request{Op: "read", FD: fd}); a.Text != "content" {
			t.Errorf("read %q", a.Text)
		}
		refused := unix.Errno(0)
		if readOnly {
			refused = unix.EBADF
		}
		h.want(refused, request{Op: "write", FD: fd, Path: "more"})
		h.want(unix.ENOTDIR, request{Op: "open", FD: fd, Path: ".."})
	}
}

func TestGrantRefuses(t *testing.T) {
	s := newSpawner(t)
	dir := realTempDir(t)
	file := filepath.Join(dir, "file")
	for _, err := range []error{
		os.WriteFile(file, nil, 0o600),
		os.Symlink(dir, filepath.Join(dir, "link")),
		os.Symlink(file, filepath.Join(dir, "filelink")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	folder := func(path string) error { _, err := s.OpenDir(path, true); return err }
	single := func(path string) error { _, err := OpenFile(path, true); return err }
	mount := func(path string) error { _, err := s.OpenFileMount(path, true); return err }
	for _, c := range []struct {
		open func(string) error
		path string
		want string
	}{
		{folder, "data", "grant folder data: the path is not absolute"},
		{folder, dir + "/no/such", "grant folder DIR/no/such: DIR/no does not exist"},
		{folder, file, "grant folder DIR/file: it is not a folder"},
		{folder, dir + "/link", "grant folder DIR/link: the path leads through a symbolic link; grant DIR instead"},
		{folder, "/proc", "grant folder /proc: the files of the process file system are not granted"},
		{single, "file", "grant file file: the path is not absolute"},
		{single, dir, "grant file DIR: it is not a regular file but d---------"},
		{mount, dir, "grant file DIR: it is not a regular file but d---------"},
		{mount, dir + "/pipe", "grant file DIR/pipe: it is not a regular file but p---------"},
		{mount, dir + "/filelink", "grant file DIR/filelink: the path leads through a symbolic link; grant DIR/file instead"},
		{mount, "/proc/version", "grant file /proc/version: the files of the process file system are not granted"},
		{single, dir + "/pipe", "grant file DIR/pipe: it is not a regular file but p---------"},
		{single, dir + "/filelink", "grant file DIR/filelink: the path leads through a symbolic link; grant DIR/file instead"},
		{single, dir + "/link/file", "grant file DIR/link/file: the path leads through a symbolic link; grant DIR/file instead"},
		{single, dir + "/none", "grant file DIR/none: DIR/none does not exist"},
	} {
		err := c.open(c.path)
		if err == nil {
			t.Errorf("%s: granted", c.path)
		} else if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestGrantShowsNothingThatIsMountedBelow(t *testing.T) {
	s := newSpawner(t)
	if os.Getuid() != 0 || !s.Isolation().Mount {
		t.Skip("needs root, to mount something")
	}
	dir := realTempDir(t)
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("weft-test", below, "tmpfs", 0, ""); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer unix.Unmount(below, 0)
	if err := os.WriteFile(filepath.Join(below, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h, fd, _ := grantedHost(t, s, dir, true)
	if a := h.want(0, request{Op: "list", FD: fd, Path: "below"}); a.Text != "" {
		t.Errorf("found %q", a.Text)
	}
}
