package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// scratchPrefix begins the names of scratch folders.
const scratchPrefix = "weft-scratch-"

// makeScratch makes the folder in which a node keeps files while it lives, and
// removes those of nodes that were killed. A folder belongs to the node that
// holds the lock on it (flock(2)), which the kernel gives up at its end.
func makeScratch() (dir string, lock *os.File, err error) {
	sweepScratch(os.TempDir())
	if dir, err = os.MkdirTemp("", scratchPrefix); err != nil {
		return "", nil, fmt.Errorf("make scratch folder: %w", err)
	}
	if lock, err = lockFolder(dir); err != nil {
		return "", nil, errors.Join(fmt.Errorf("lock scratch folder: %w", err), os.Remove(dir))
	}
	return dir, lock, nil
}

// scratchAge keeps a sweep away from a folder whose node has made it and not
// yet locked it.
const scratchAge = time.Minute

func sweepScratch(parent string) {
	old, _ := filepath.Glob(filepath.Join(parent, scratchPrefix+"*"))
	for _, dir := range old {
		st, err := os.Lstat(dir)
		if err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 || time.Since(st.ModTime()) < scratchAge || !owned(st) {
			continue
		}
		if lock, err := lockFolder(dir); err == nil {
			os.RemoveAll(dir) // what cannot be removed is no reason not to start
			lock.Close()
		}
	}
}

// owned reports whether a file is the user's own.
func owned(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
}

func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
