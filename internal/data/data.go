// Package data keeps values that are too large for a record of the store, in
// files: what a run's calls have published, its large inputs and outputs, and
// what was uploaded ahead of a run.
//
//	f, err := data.Open(dir, data.Options{})
//	n, err := f.Save(run, "call/17", r)          // on disk when it returns
//	file, size, err := f.Open(run, "call/17")
//	err = f.Drop(run)
//
// A value is on disk before the record that names it, so after a crash there may
// be values that no record names, never the other way round. Whoever owns the
// records sweeps (Owners, Drop); unclaimed uploads are swept by age (Sweep).
//
//	OWNER/NAME     a value; names are escaped, so that they are file names
//	.tmp/…         values that are being written
//	.upload/ID     uploads that nobody has claimed
package data

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// What a folder fails with.
var (
	ErrNotFound = errors.New("no such value")
	ErrTooLarge = errors.New("too large")
)

const (
	tmpDir    = ".tmp"
	uploadDir = ".upload"
	nameMax   = 200 // bytes of an escaped owner or name
)

// Options configure a Folder.
type Options struct {
	// NoSync leaves it to the kernel when values reach the disk. A crash of the
	// machine may lose them.
	NoSync bool

	disk disk
}

// Folder is a folder of values. It is safe for concurrent use; of two writers of
// one name the last one wins, whole.
type Folder struct {
	dir    string
	o      Options
	disk   disk
	owners sync.Map // folders of owners whose own entry is on disk

	mu      sync.Mutex
	holds   int             // guarded by mu, as dropped
	dropped map[string]bool // files and folders to be removed once nobody holds the folder
}

// Open opens or makes a folder, and drops what was being written when its last
// user ended. One process uses it at a time.
func Open(dir string, o Options) (*Folder, error) {
	f := &Folder{dir: dir, o: o, disk: o.disk}
	err := f.disk.removeAll(filepath.Join(dir, tmpDir))
	for _, d := range []string{tmpDir, uploadDir} {
		if err == nil {
			err = f.disk.mkdirAll(filepath.Join(dir, d))
		}
	}
	if err == nil {
		err = errors.Join(f.sync(dir), f.sync(filepath.Dir(dir)))
	}
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	return f, nil
}

// file is the name of the file, or folder, that stands for a name.
func file(name string) (string, error) {
	s := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
	if s == "" || len(s) > nameMax {
		return "", fmt.Errorf("name %q is empty or longer than %d bytes", name, nameMax)
	}
	return s, nil
}

func (f *Folder) path(owner, name string) (string, error) {
	o, err := file(owner)
	if err != nil {
		return "", err
	}
	n, err := file(name)
	return filepath.Join(f.dir, o, n), err
}

// Save writes a value. It is on disk when Save returns; until then Open finds
// the one before, if there is any.
func (f *Folder) Save(owner, name string, r io.Reader) (int64, error) {
	path, err := f.path(owner, name)
	var n int64
	var tmp string
	if err == nil {
		tmp, n, err = f.write(r)
	}
	if err == nil {
		err = f.place(f.disk.rename, tmp, path)
		f.disk.remove(tmp) // unless it has its name
	}
	if err != nil {
		return 0, fmt.Errorf("save %s of %s: %w", name, owner, err)
	}
	return n, nil
}

// write writes a temporary file.
func (f *Folder) write(r io.Reader) (path string, n int64, err error) {
	tmp, err := f.disk.create(filepath.Join(f.dir, tmpDir))
	if err != nil {
		return "", 0, err
	}
	n, err = f.disk.fill(tmp, r)
	if err == nil && !f.o.NoSync {
		err = f.disk.sync(tmp)
	}
	if err = errors.Join(err, f.disk.close(tmp)); err != nil {
		f.disk.remove(tmp.Name())
		return "", 0, err
	}
	return tmp.Name(), n, nil
}

// place gives a file its name, by a rename or as a second one, in a folder whose
// own entry is on disk too. If it fails, the file is where it was or has its name,
// which may not be on disk.
func (f *Folder) place(give func(from, to string) error, from, to string) error {
	owner := filepath.Dir(to)
	if _, known := f.owners.Load(owner); !known {
		if err := f.disk.mkdir(owner); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := f.sync(f.dir); err != nil {
			return err
		}
	}
	f.wanted(to)
	if err := give(from, to); err != nil {
		return err
	}
	f.owners.Store(owner, nil)
	return f.sync(owner)
}

// sync puts the entries of a folder on disk.
func (f *Folder) sync(dir string) error {
	if f.o.NoSync {
		return nil
	}
	d, err := f.disk.open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.disk.sync(d), f.disk.close(d))
}

// Open opens a value, or fails with ErrNotFound.
func (f *Folder) Open(owner, name string) (*os.File, int64, error) {
	path, err := f.path(owner, name)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s of %s: %w", name, owner, err)
	}
	v, err := f.disk.open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open %s of %s: %w", name, owner, err)
	}
	st, err := v.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open %s of %s: %w", name, owner, err), v.Close())
	}
	return v, st.Size(), nil
}

// Hold keeps every value that is there: Remove and Drop take effect when all who
// hold the folder have called release, once.
func (f *Folder) Hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds++
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.holds--; f.holds > 0 {
			return
		}
		for path := range f.dropped {
			f.owners.Delete(path)
			f.disk.removeAll(path) // what stays is swept by who owns the records
		}
		f.dropped = nil
	})
}

// remove removes a file or a folder, now or once nobody holds the folder.
func (f *Folder) remove(path string) error {
	f.mu.Lock()
	if f.holds > 0 {
		if f.dropped == nil {
			f.dropped = map[string]bool{}
		}
		f.dropped[path] = true
		f.mu.Unlock()
		return nil
	}
	f.mu.Unlock()
	f.owners.Delete(path)
	return f.disk.removeAll(path)
}

// wanted takes back a removal: the value is made anew.
func (f *Folder) wanted(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.dropped, path)
	delete(f.dropped, filepath.Dir(path))
}

// Remove removes a value, if it is there. Open files of it stay readable.
func (f *Folder) Remove(owner, name string) error {
	path, err := f.path(owner, name)
	if err == nil {
		err = f.remove(path)
	}
	if err != nil {
		return fmt.Errorf("remove %s of %s: %w", name, owner, err)
	}
	return nil
}

// Drop removes all values of an owner, for whom nothing is being saved.
func (f *Folder) Drop(owner string) error {
	name, err := file(owner)
	if err == nil {
		err = f.remove(filepath.Join(f.dir, name))
	}
	if err != nil {
		return fmt.Errorf("drop values of %s: %w", owner, err)
	}
	return nil
}

// Owners lists who has values.
func (f *Folder) Owners() ([]string, error) {
	entries, err := f.disk.list(f.dir)
	if err != nil {
		return nil, fmt.Errorf("list owners of values: %w", err)
	}
	var owners []string
	for _, e := range entries {
		if e.Name() == tmpDir || e.Name() == uploadDir {
			continue
		}
		owner, err := url.PathUnescape(e.Name())
		if err != nil {
			return nil, fmt.Errorf("list owners of values: folder %q is not one of weft's: %w", e.Name(), err)
		}
		owners = append(owners, owner)
	}
	return owners, nil
}

// Upload takes a value for a run that is still to come, of at most max bytes;
// more is ErrTooLarge. Claim gives it to the run.
func (f *Folder) Upload(r io.Reader, max int64) (id string, size int64, err error) {
	most := max
	if most < math.MaxInt64 {
		most++ // to see that there is more
	}
	tmp, n, err := f.write(io.LimitReader(r, most))
	if err == nil && n > max {
		err = fmt.Errorf("more than %d bytes: %w", max, ErrTooLarge)
	}
	id = strings.ToLower(rand.Text())
	if err == nil {
		err = f.place(f.disk.rename, tmp, filepath.Join(f.dir, uploadDir, id))
	}
	f.disk.remove(tmp) // unless it has its name
	if err != nil {
		return "", 0, fmt.Errorf("upload: %w", err)
	}
	return id, n, nil
}

// Claim makes an upload a value of an owner too. It fails with ErrNotFound if it is
// not there. Once the owner is there for good, Spend takes the upload away: an
// owner that a crash has prevented leaves it to the next one who claims it.
func (f *Folder) Claim(upload, owner, name string) (int64, error) {
	id, err := file(upload)
	if err != nil { // no upload is called so
		return 0, fmt.Errorf("claim upload %q: %w", upload, ErrNotFound)
	}
	to, err := f.path(owner, name)
	var size int64
	if err == nil {
		from := filepath.Join(f.dir, uploadDir, id)
		var st os.FileInfo
		if st, err = f.disk.stat(from); err == nil {
			size = st.Size()
			err = f.place(f.share, from, to)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("claim upload %s: %w", upload, err)
	}
	return size, nil
}

// share gives a file a second name, instead of one that may be there.
func (f *Folder) share(from, to string) error {
	err := f.disk.link(from, to)
	if errors.Is(err, fs.ErrExist) {
		if err = f.disk.remove(to); err == nil {
			err = f.disk.link(from, to)
		}
	}
	return err
}

// Spend takes away an upload that was claimed, if it is there.
func (f *Folder) Spend(upload string) error {
	id, err := file(upload)
	if err == nil {
		if err = f.disk.remove(filepath.Join(f.dir, uploadDir, id)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("take away upload %s: %w", upload, err)
	}
	return nil
}

// Sweep removes uploads that were made before a time and that nobody has
// claimed. It says how many.
func (f *Folder) Sweep(before time.Time) (int, error) {
	dir := filepath.Join(f.dir, uploadDir)
	entries, err := f.disk.list(dir)
	n := 0
	for _, e := range entries {
		st, infoErr := e.Info()
		if infoErr == nil && st.ModTime().Before(before) && f.disk.remove(filepath.Join(dir, e.Name())) == nil {
			n++
		}
	}
	if err != nil {
		return n, fmt.Errorf("sweep uploads: %w", err)
	}
	return n, nil
}
