package layer

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// keepUnused is how long a layer, or a wheel, stays that nobody asks for.
const keepUnused = 30 * 24 * time.Hour

// hold keeps a layer from being removed as long as the store is open, and
// reports whether it is there. The folder itself is locked (flock(2)), which the
// kernel gives up with the process. The caller holds mu.
func (s *Store) hold(id string) bool {
	path := filepath.Join(s.o.Dir, "layers", id)
	now := time.Now()
	if s.held[id] != nil {
		if os.Chtimes(path, now, now) == nil {
			return true
		}
		s.held[id].Close() // somebody has removed it by hand
		delete(s.held, id)
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil { // it is being removed
		f.Close()
		return false
	}
	if os.Chtimes(path, now, now) != nil { // it was, before we had the lock
		f.Close()
		return false
	}
	s.held[id] = f
	return true
}

// prune removes the layers that nobody has asked for lately and nobody holds,
// and such wheels.
func (s *Store) prune(now time.Time) {
	for _, kind := range []string{"layers", "wheels"} {
		dir := filepath.Join(s.o.Dir, kind)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || now.Sub(info.ModTime()) < keepUnused {
				continue
			}
			remove(filepath.Join(dir, e.Name()))
		}
	}
}

// remove removes a folder unless somebody holds it. It gets another name first,
// so that nobody sees half of it; scratch sweeps what cannot be removed.
func remove(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	gone := path + ".gone"
	if os.Rename(path, gone) == nil {
		os.RemoveAll(gone) // what stays is removed with the rest of its kind
	}
}
