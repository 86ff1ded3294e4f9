package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Scratch folders have names that begin with scratchPrefix, and newPrefix until
// their owner has locked them.
const (
	scratchPrefix = "weft-scratch-"
	newPrefix     = "weft-new-"
)

// MakeScratch makes a folder in $TMPDIR in which a process keeps files while it
// lives, and removes those of processes that were killed. A folder belongs to
// whoever holds the lock on it (flock(2)), which the kernel gives up at the end
// of the process: close it after removing the folder.
func MakeScratch() (dir string, lock *os.File, err error) {
	sweepScratch(os.TempDir(), scratchPrefix, 0)
	sweepScratch(os.TempDir(), newPrefix, time.Minute)
	made, err := os.MkdirTemp("", newPrefix)
	if err != nil {
		return "", nil, fmt.Errorf("make scratch folder: %w; set TMPDIR to a folder that can be written", err)
	}
	if lock, err = lockFolder(made); err != nil {
		return "", nil, errors.Join(fmt.Errorf("lock scratch folder: %w", err), os.Remove(made))
	}
	dir = filepath.Join(filepath.Dir(made), scratchPrefix+strings.TrimPrefix(filepath.Base(made), newPrefix))
	if err = os.Rename(made, dir); err != nil {
		return "", nil, errors.Join(fmt.Errorf("make scratch folder: %w", err), os.Remove(made), lock.Close())
	}
	return dir, lock, nil
}

// sweepScratch removes the folders that begin with prefix and that nobody has
// locked or made within the last while.
func sweepScratch(parent, prefix string, while time.Duration) {
	old, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range old {
		st, err := os.Lstat(dir)
		if err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 || time.Since(st.ModTime()) < while || !owned(st) {
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
