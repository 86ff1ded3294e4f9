package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Grant is a folder that may be passed to a sandbox.
type Grant struct {
	File     *os.File // pass it by SCM_RIGHTS, then close it; it is an O_PATH descriptor
	ReadOnly bool     //
	Degraded string   // what is weaker than weft wants, and why; empty: nothing
}

// owner is who the files of a folder belong to.
type owner struct{ uid, gid int }

// mountAttributes hold for every granted folder: what is in it is data.
const mountAttributes = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// OpenDir opens the folder at path for a sandbox of this spawner. The path must
// be absolute and free of symbolic links. The descriptor is a detached mount of
// its own: `..` ends at its root, it cannot be written if readOnly, nothing in
// it can be executed or is a device, and what is mounted below the folder is
// not in it. Where the file system allows it, the files of the folder's owner
// belong to the sandbox's user, and the files that the sandbox creates belong
// to the folder's owner.
func (s *Spawner) OpenDir(path string, readOnly bool) (*Grant, error) {
	dir, err := openPlain(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("grant folder %s: %w", path, err)
	}
	return s.clone("folder", path, dir, readOnly)
}

// OpenFileMount is OpenDir for one regular file: a detached mount of it, which
// is to be attached at another file. Whoever has it has that file, also when
// something else takes its name.
func (s *Spawner) OpenFileMount(path string, readOnly bool) (*Grant, error) {
	f, err := openRegular(path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	return s.clone("file", path, f, readOnly)
}

// clone makes a detached mount of what dir is, which it closes unless that is
// the grant itself.
func (s *Spawner) clone(kind, path string, dir *os.File, readOnly bool) (*Grant, error) {
	var err error
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		dir.Close()
		return nil, fmt.Errorf("grant %s %s: %w", kind, path, err)
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		dir.Close()
		return nil, fmt.Errorf("grant %s %s: the files of the process file system are not granted", kind, path)
	}
	if !s.iso.Mount {
		return &Grant{File: dir, ReadOnly: readOnly,
			Degraded: "no mount namespaces here: the folder is guarded by Landlock and by the host's own checks"}, nil
	}
	defer dir.Close()
	var g *Grant
	if s.root {
		attributes := uint64(mountAttributes)
		if readOnly {
			attributes |= unix.MOUNT_ATTR_RDONLY
		}
		g, err = s.cloneAsRoot(path, dir, attributes)
	} else {
		g, err = s.cloneAsUser(path, dir, readOnly)
	}
	if err != nil {
		return nil, fmt.Errorf("grant %s %s: %w", kind, path, err)
	}
	return g, nil
}

// cloneAsRoot makes the detached mount. Root's workload runs under ids of its
// own, so the owner of the folder is mapped onto them.
func (s *Spawner) cloneAsRoot(path string, dir *os.File, attributes uint64) (*Grant, error) {
	fd, err := unix.OpenTree(int(dir.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("clone mount: %w", err)
	}
	g := &Grant{File: os.NewFile(uintptr(fd), path), ReadOnly: attributes&unix.MOUNT_ATTR_RDONLY != 0}
	attr := unix.MountAttr{Attr_set: attributes}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		g.File.Close()
		return nil, fmt.Errorf("set mount attributes: %w", err)
	}
	if err := s.mapOwner(fd, dir); err != nil {
		g.Degraded = fmt.Sprintf("owners cannot be mapped (%v): the sandbox sees the folder as user %d", err, s.iso.UID)
	}
	return g, nil
}

// mapOwner makes the owner of dir the sandbox's user within the detached mount.
func (s *Spawner) mapOwner(mount int, dir *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	who := owner{int(st.Uid), int(st.Gid)}
	if who == (owner{s.iso.UID, s.iso.GID}) {
		return nil
	}
	ns, err := s.ownerMap(who)
	if err != nil {
		return err
	}
	return unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH,
		&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())})
}

// ownerMap returns a user namespace that maps who to the sandbox's ids. It is
// kept for the next grant.
func (s *Spawner) ownerMap(who owner) (*os.File, error) {
	s.mu.Lock()
	ns, ok := s.ownerMaps[who]
	s.mu.Unlock()
	if ok {
		return ns, nil
	}
	var err error
	closed := s.do(func() { ns, err = userNamespace(who, owner{s.iso.UID, s.iso.GID}) })
	if err = errors.Join(closed, err); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.ownerMaps[who]; ok {
		ns.Close()
		return other, nil
	}
	s.ownerMaps[who] = ns
	return ns, nil
}

// userNamespace returns a user namespace in which inside is the id that outside
// is in this one. A process is started in it, stopped by tracing before it has
// run any instruction, and ended. The calling thread must be locked.
func userNamespace(inside, outside owner) (*os.File, error) {
	pid, _, err := syscall.StartProcess("/proc/self/exe", []string{"weft-map"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		Pdeathsig:   syscall.SIGKILL,
		Ptrace:      true,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: inside.uid, HostID: outside.uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: inside.gid, HostID: outside.gid, Size: 1}},
	}})
	if err != nil {
		return nil, fmt.Errorf("map owners: %w", err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	_ = unix.Kill(pid, unix.SIGKILL)
	reap(pid)
	return ns, err
}

// reap waits for the end of a short-lived child.
func reap(pid int) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err == nil && status.Stopped() || err == unix.EINTR {
			continue
		}
		return
	}
}

// cloneAsUser has the detached mount made by a helper in a user namespace,
// because an ordinary user may not make one. Nothing is mapped: the sandbox
// runs under the user's own ids.
func (s *Spawner) cloneAsUser(path string, dir *os.File, readOnly bool) (*Grant, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "control")
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	attr := Isolation{User: true, Mount: true, UID: s.iso.UID, GID: s.iso.GID}.attributes(false)
	attr.Pdeathsig = syscall.SIGKILL
	pid, err := s.exe([]string{"weft-host", "grant", mode, path}, nil, []*os.File{s.null, s.null, s.null, theirs}, attr, nil)
	theirs.Close()
	if err != nil {
		return nil, err
	}
	fd, err := receive(pair[0])
	reap(pid)
	if err != nil {
		return nil, fmt.Errorf("clone mount: %w", err)
	}
	g := &Grant{File: os.NewFile(uintptr(fd), path), ReadOnly: readOnly}
	var mine, got unix.Stat_t
	if err := errors.Join(unix.Fstat(int(dir.Fd()), &mine), unix.Fstat(fd, &got)); err != nil {
		g.File.Close()
		return nil, err
	}
	if mine.Dev != got.Dev || mine.Ino != got.Ino {
		g.File.Close()
		return nil, errors.New("it was replaced meanwhile")
	}
	return g, nil
}

// receive reads the helper's answer: an error number, and without an error a
// descriptor.
func receive(socket int) (int, error) {
	body := make([]byte, 4)
	control := make([]byte, unix.CmsgSpace(4))
	var n, cn int
	var err error
	for {
		n, cn, _, _, err = unix.Recvmsg(socket, body, control, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return -1, err
	}
	if n != len(body) {
		return -1, errors.New("the helper gave no answer")
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	errno := unix.Errno(uint32(body[0]) | uint32(body[1])<<8 | uint32(body[2])<<16 | uint32(body[3])<<24)
	if errno == unix.EINVAL {
		return -1, errors.New("something is mounted below the folder, which an ordinary user cannot leave out")
	}
	return -1, errno
}

// OpenFile opens one regular file for a sandbox: for reading, or for reading
// and writing. The path must be absolute and free of symbolic links.
func OpenFile(path string, readOnly bool) (*os.File, error) {
	flags := unix.O_RDWR
	if readOnly {
		flags = unix.O_RDONLY
	}
	// Without O_NONBLOCK, opening a pipe would wait for somebody to write to it.
	return openRegular(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY)
}

// openRegular is openPlain for a regular file.
func openRegular(path string, flags int) (*os.File, error) {
	f, err := openPlain(path, flags)
	if err != nil {
		return nil, fmt.Errorf("grant file %s: %w", path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is not a regular file but %s", info.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("grant file %s: %w", path, err)
	}
	return f, nil
}

// openPlain opens an absolute path in which nothing is a symbolic link. What an
// app may ask for is judged by its name, so the name must be the true one.
func openPlain(path string, flags int) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("the path is not absolute")
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.ELOOP:
			if real, err := filepath.EvalSymlinks(path); err == nil {
				return nil, fmt.Errorf("the path leads through a symbolic link; grant %s instead", real)
			}
			return nil, errors.New("the path leads through a symbolic link")
		case unix.ENOENT:
			return nil, fmt.Errorf("%s does not exist", firstMissing(path))
		case unix.ENOTDIR:
			return nil, errors.New("it is not a folder")
		}
		return nil, err
	}
}

// firstMissing returns the shortest prefix of path that does not exist.
func firstMissing(path string) string {
	for i := range path {
		if i == 0 || path[i] != '/' {
			continue
		}
		if _, err := os.Lstat(path[:i]); errors.Is(err, os.ErrNotExist) {
			return path[:i]
		}
	}
	return strings.TrimSuffix(path, "/")
}
