package layer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// LockName is the file beside weft.yaml that pins what functions require. It
// belongs under version control, and goes with the app where it is deployed.
const LockName = "weft.lock"

// lockFormat is the version of the file's form.
const lockFormat = 1

// maxLock bounds a lock's size, in bytes.
const maxLock = 4 << 20

// Lock says which wheels stand for which requirements. It is safe for concurrent
// use.
type Lock struct {
	mu      sync.Mutex
	sets    []set // in the order of requirements and Python; guarded by mu
	changed bool  // since it was read; guarded by mu
}

// set is the wheels of one function or file, for one Python.
type set struct {
	Requirements string  `json:"requirements"` // a file's name, or whose they are
	Digest       string  `json:"digest"`       // of their text: if that changes, the set is chosen anew
	Python       string  `json:"python"`       // what it was chosen for, such as cp311-linux_x86_64
	Wheels       []Wheel `json:"wheels"`       // by name of file
}

// file is the form of a lock on disk.
type file struct {
	Format int   `json:"format"`
	Python []set `json:"python"`
}

// ReadLock reads the lock of an app's folder; without one it is empty.
func ReadLock(dir string) (*Lock, error) {
	path := filepath.Join(dir, LockName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	l, err := ParseLock(text)
	if err != nil {
		return nil, fmt.Errorf("read lock %s: %w; remove it to have it made anew", path, err)
	}
	return l, nil
}

// ParseLock reads the text of a lock.
func ParseLock(text []byte) (*Lock, error) {
	if len(text) > maxLock {
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", len(text), maxLock)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	if f.Format != lockFormat {
		return nil, fmt.Errorf("its format is %d, this weft reads %d", f.Format, lockFormat)
	}
	for _, s := range f.Python {
		for _, w := range s.Wheels {
			if err := w.check(); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Requirements, err)
			}
		}
		if !slices.IsSortedFunc(s.Wheels, byFile) {
			return nil, fmt.Errorf("%s: the wheels are not in the order of their names", s.Requirements)
		}
	}
	return &Lock{sets: f.Python}, nil
}

func byFile(a, b Wheel) int { return cmp.Compare(a.File, b.File) }

// Changed reports whether an installation has changed it since it was read.
func (l *Lock) Changed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Text is the lock as a file has it.
func (l *Lock) Text() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, err := json.MarshalIndent(file{Format: lockFormat, Python: l.sets}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return append(text, '\n'), nil
}

// Write puts the lock into an app's folder.
func (l *Lock) Write(dir string) error {
	text, err := l.Text()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, LockName)
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	l.mu.Lock()
	l.changed = false
	l.mu.Unlock()
	return nil
}

// find returns the wheels of requirements; nil: it does not say.
func (l *Lock) find(digest, tag string) []Wheel {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sets {
		if s.Digest == digest && s.Python == tag {
			return append([]Wheel{}, s.Wheels...)
		}
	}
	return nil
}

// tags lists what it has requirements for.
func (l *Lock) tags(digest string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, s := range l.sets {
		if s.Digest == digest {
			out = append(out, s.Python)
		}
	}
	return out
}

// put notes the wheels of requirements. What was noted for an earlier text of
// them is gone.
func (l *Lock) put(name, digest, tag string, wheels []Wheel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sets = slices.DeleteFunc(l.sets, func(s set) bool {
		return s.Requirements == name && (s.Digest != digest || s.Python == tag)
	})
	l.sets = append(l.sets, set{Requirements: name, Digest: digest, Python: tag, Wheels: wheels})
	slices.SortFunc(l.sets, func(a, b set) int {
		return cmp.Or(cmp.Compare(a.Requirements, b.Requirements), cmp.Compare(a.Python, b.Python))
	})
	l.changed = true
}
