package wasi

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Paths are resolved beneath a directory descriptor. openat2(2) with
// RESOLVE_BENEATH does it inside the kernel, in one call; where the kernel or
// the seccomp filter does not have it (ENOSYS), the path is walked component by
// component, never letting the kernel follow a link or "..". The filter of a
// domain host has no openat2, whose mode it could not see, so there it is the
// walk that guards the border; both pass the same tests.

const (
	// createMode and directoryMode are what new files and directories get,
	// less the host process's umask.
	createMode    = 0o666
	directoryMode = 0o777
	// maxLinks is how many symbolic links one path may lead through, as on
	// Linux.
	maxLinks = 40
	// maxRaces is how often a resolution is tried again when the kernel says
	// that a rename elsewhere got in its way (EAGAIN), before walking instead.
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
	return walkOpen(dir, path, flags, mode)
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
// back in its own list, whatever is renamed meanwhile. Every component is opened
// with O_NOFOLLOW, and looked at more closely only when that fails.
type walker struct {
	stack []int // O_PATH; the first is the caller's
	links int   // followed so far
}

func (w *walker) top() int { return w.stack[len(w.stack)-1] }

func (w *walker) close() {
	for _, fd := range w.stack[1:] {
		closeFD(fd)
	}
}

// walkOpen is openBeneath for kernels and filters without openat2.
func walkOpen(dir int, path string, flags int, mode uint32) (int, Errno) {
	var stack [8]int
	w := walker{stack: append(stack[:0], dir)}
	defer w.close()
	for rest := path; ; {
		name, after, more := strings.Cut(rest, "/")
		after = strings.TrimLeft(after, "/")
		switch name {
		case "", ".":
		case "..":
			if len(w.stack) == 1 {
				return -1, Eperm
			}
			closeFD(w.top())
			w.stack = w.stack[:len(w.stack)-1]
		default:
			fd, target, e := w.step(name, flags, mode, after == "", more)
			switch {
			case e != Success:
				return -1, e
			case target != "":
				if rest, e = w.follow(target, after, more); e != Success {
					return -1, e
				}
				continue
			case after == "":
				return fd, Success
			}
			w.stack = append(w.stack, fd)
		}
		if after == "" {
			return openat(w.top(), ".", flags, mode)
		}
		rest = after
	}
}

// step opens a component, or returns what it points to when it is a symbolic
// link to follow. The last component is opened as the caller wants it, the
// others as directories.
func (w *walker) step(name string, flags int, mode uint32, last, slash bool) (fd int, target string, e Errno) {
	if !last {
		flags = unix.O_PATH | unix.O_DIRECTORY
	} else if slash { // what a slash follows must be a directory, and is followed
		if flags&unix.O_CREAT != 0 {
			return -1, "", Eisdir
		}
		flags = flags&^unix.O_NOFOLLOW | unix.O_DIRECTORY
	}
	fd, e = openat(w.top(), name, flags|unix.O_NOFOLLOW, mode)
	if last && flags&unix.O_NOFOLLOW != 0 {
		return fd, "", e
	}
	switch {
	case e == Success && flags&(unix.O_PATH|unix.O_DIRECTORY) == unix.O_PATH: // may be the link itself
		if target, _ = readlinkat(fd, ""); target != "" {
			closeFD(fd)
		}
	case e == Eloop, e == Enotdir:
		var failed Errno
		if target, failed = readlinkat(w.top(), name); failed == Success {
			e = Success
		}
	}
	return fd, target, e
}

// follow returns the path to go on with after a symbolic link.
func (w *walker) follow(target, after string, more bool) (string, Errno) {
	if w.links++; w.links > maxLinks {
		return "", Eloop
	}
	if target[0] == '/' {
		return "", Eperm
	}
	if more {
		target += "/" + after
	}
	if len(target) > maxPath {
		return "", Enametoolong
	}
	return target, Success
}

// readlinkat returns what a symbolic link points to; with no name, the one that
// dir itself stands for.
func readlinkat(dir int, name string) (string, Errno) {
	var buf [maxPath + 1]byte
	for {
		n, err := unix.Readlinkat(dir, name, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", toErrno(err)
		}
		return string(buf[:n]), Success
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
