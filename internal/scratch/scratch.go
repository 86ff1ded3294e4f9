// Package scratch makes folders for files that a process needs while it lives.
// A folder belongs to whoever holds the lock on it (flock(2)), which the kernel
// gives up at the end of the process: what a process leaves that was killed is
// removed by the next one.
//
//	f, err := scratch.Make("") // in $TMPDIR
//	defer f.Remove()
//	os.Create(filepath.Join(f.Path, "table"))
package scratch

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

// Names of folders begin with prefix, and with newPrefix until they are locked.
const (
	prefix    = "weft-scratch-"
	newPrefix = "weft-new-"
)

// Folder is a folder of this process. Remove it.
type Folder struct {
	Path string
	lock *os.File
}

// Make makes a folder in parent, by default the system's folder for temporary
// files ($TMPDIR), and sweeps parent.
func Make(parent string) (*Folder, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	Sweep(parent)
	made, err := os.MkdirTemp(parent, newPrefix)
	if err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	lock, err := lockFolder(made)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock scratch folder: %w", err), os.Remove(made))
	}
	path := filepath.Join(parent, prefix+strings.TrimPrefix(filepath.Base(made), newPrefix))
	if err := os.Rename(made, path); err != nil {
		return nil, errors.Join(fmt.Errorf("make scratch folder: %w", err), os.Remove(made), lock.Close())
	}
	return &Folder{Path: path, lock: lock}, nil
}

// Remove removes the folder with all in it.
func (f *Folder) Remove() error { return errors.Join(os.RemoveAll(f.Path), f.lock.Close()) }

// Sweep removes the folders in parent whose processes have ended.
func Sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		abandoned := strings.HasPrefix(e.Name(), prefix)
		if !abandoned && !strings.HasPrefix(e.Name(), newPrefix) || !e.IsDir() {
			continue
		}
		st, err := e.Info()
		if err != nil || st.Mode().Perm() != 0o700 || !owned(st) || !abandoned && time.Since(st.ModTime()) < time.Minute {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if lock, err := lockFolder(path); err == nil {
			os.RemoveAll(path) // what cannot be removed is no reason not to start
			lock.Close()
		}
	}
}

// owned reports whether a file is the user's own.
func owned(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
}

func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
