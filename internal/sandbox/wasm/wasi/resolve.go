package wasi

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Paths are resolved beneath a directory descriptor. openat2(2) with
// RESOLVE_BENEATH does it inside the kernel, atomically; a kernel or a seccomp
// filter without it (ENOSYS) is answered by walking the path component by
// component, never letting the kernel follow a link or "..".

const (
	// createMode and directoryMode are what new files and directories get,
	// less the host process's umask.
	createMode    = 0o666
	directoryMode = 0o777
	// maxLinks is how many symbolic links one path may lead through, as on
	// Linux.
	maxLinks = 40
	// maxRaces is how often a resolution is tried again when the kernel says
	// that a rename elsewhere got in its way (EAGAIN).
	maxRaces = 64
)

// noOpenat2 is set once openat2 has answered ENOSYS.
var noOpenat2 atomic.Bool

// openBeneath opens path below dir. It never returns a descriptor of anything
// outside dir; such a path is PERM.
func openBeneath(dir int, path string, flags int, mode uint32) (int, Errno) {
	if path == "" {
		return -1, Enoent
	}
	if path[0] == '/' {
		return -1, Eperm
	}
	if noOpenat2.Load() {
		return walkOpen(dir, path, flags, mode)
	}
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode)
	}
	if flags&unix.O_PATH == 0 { // with which openat2 takes few other flags
		how.Flags |= unix.O_NOCTTY
	}
	for range maxRaces {
		fd, err := unix.Openat2(dir, path, &how)
		switch err {
		case nil:
			return fd, Success
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.EXDEV:
			return -1, Eperm
		case unix.ENOSYS:
			noOpenat2.Store(true)
			return walkOpen(dir, path, flags, mode)
		}
		return -1, toErrno(err)
	}
	return -1, Eagain
}

// openParent opens the directory that holds the last component of path, and
// returns that component, with its trailing slash if it has one. The component
// is safe to hand to calls that do not follow their last component: mkdirat,
// unlinkat, renameat, symlinkat, and with AT_SYMLINK_NOFOLLOW and without the
// slash, the rest. done closes what was opened.
func openParent(dir int, path string) (parent int, name string, done func(), e Errno) {
	if path == "" {
		return -1, "", nil, Enoent
	}
	if path[0] == '/' {
		return -1, "", nil, Eperm
	}
	trimmed := strings.TrimRight(path, "/")
	i := strings.LastIndexByte(trimmed, '/')
	name = trimmed[i+1:]
	if len(trimmed) < len(path) && name != "." && name != ".." {
		name += "/"
	}
	if i < 0 {
		return dir, name, func() {}, Success
	}
	fd, e := openBeneath(dir, trimmed[:i+1], unix.O_PATH|unix.O_DIRECTORY, 0)
	if e != Success {
		return -1, "", nil, e
	}
	return fd, name, func() { closeFD(fd) }, Success
}

// plain reports whether name is a component that the kernel looks up in the
// directory itself: neither "." nor "..", and without a slash, which would make
// it follow a link.
func plain(name string) bool {
	return name != "." && name != ".." && !strings.HasSuffix(name, "/")
}

// walker resolves a path without openat2. It holds a descriptor of each
// directory from the root of the walk to where it is, so that ".." is a step
// back in its own list, whatever is renamed meanwhile.
type walker struct {
	stack []int // O_PATH; the first is the caller's
	links int
}

func (w *walker) top() int { return w.stack[len(w.stack)-1] }

func (w *walker) close() {
	for _, fd := range w.stack[1:] {
		closeFD(fd)
	}
}

// walkOpen is openBeneath for kernels without openat2.
func walkOpen(dir int, path string, flags int, mode uint32) (int, Errno) {
	if path == "" {
		return -1, Enoent
	}
	if path[0] == '/' {
		return -1, Eperm
	}
	w := walker{stack: []int{dir}}
	defer w.close()
	rest := path
	for {
		name, after, more := strings.Cut(rest, "/")
		after = strings.TrimLeft(after, "/")
		switch name {
		case "", ".":
			if after == "" {
				return openat(w.top(), ".", flags, mode)
			}
		case "..":
			if len(w.stack) == 1 {
				return -1, Eperm
			}
			closeFD(w.top())
			w.stack = w.stack[:len(w.stack)-1]
			if after == "" {
				return openat(w.top(), ".", flags, mode)
			}
		default:
			last := after == ""
			if last && more { // trailing slash: must be a directory, and is followed
				if flags&unix.O_CREAT != 0 {
					return -1, Eisdir
				}
				flags = flags&^unix.O_NOFOLLOW | unix.O_DIRECTORY
			}
			target, e := w.link(name)
			if e != Success {
				return -1, e
			}
			if target == "" && last {
				fd, e := openat(w.top(), name, flags|unix.O_NOFOLLOW, mode)
				if e == Eloop && flags&unix.O_NOFOLLOW == 0 {
					continue // became a link since
				}
				return fd, e
			}
			if target == "" {
				fd, e := openat(w.top(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
				if e != Success {
					return -1, e
				}
				w.stack = append(w.stack, fd)
				break
			}
			if last && flags&unix.O_NOFOLLOW != 0 {
				return openat(w.top(), name, flags, mode) // the link itself, or LOOP
			}
			if last && flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL {
				return -1, Eexist
			}
			if w.links++; w.links > maxLinks {
				return -1, Eloop
			}
			if target[0] == '/' {
				return -1, Eperm
			}
			if len(target)+len(after) > maxPath {
				return -1, Enametoolong
			}
			rest = target
			if more {
				rest += "/" + after
			}
			continue
		}
		rest = after
	}
}

// link returns what the name in the current directory points to, or nothing
// when it is not a symbolic link or does not exist.
func (w *walker) link(name string) (string, Errno) {
	var buf [maxPath + 1]byte
	for {
		n, err := unix.Readlinkat(w.top(), name, buf[:])
		switch err {
		case nil:
			return string(buf[:n]), Success
		case unix.EINVAL, unix.ENOENT:
			return "", Success
		case unix.EINTR:
			continue
		}
		return "", toErrno(err)
	}
}

// openat opens one component.
func openat(dir int, name string, flags int, mode uint32) (int, Errno) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOCTTY, mode)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, toErrno(err)
		}
		return fd, Success
	}
}

// closeFD closes a host descriptor. Linux frees the number whatever close(2)
// returns, so there is nothing to do about an error here.
func closeFD(fd int) { _ = unix.Close(fd) }
