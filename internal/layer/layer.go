// Package layer installs what functions in Python require into layers: folders
// that are named by their content and never change.
//
//	s, err := layer.NewStore(layer.Options{Dir: dir})
//	lock, err := layer.ReadLock(appDir)                     // an absent one is empty
//	l, err := s.Install(ctx, layer.Request{Function: "report", Dir: appDir, File: "requirements.txt"}, lock)
//	err = lock.Write(appDir)                                // where Install has changed it
//	l.Path                                                  // is put on the module path
//
// The first installation has pip choose and download wheels, and the lock notes
// each with its SHA-256. Every later one, here or where the app is deployed,
// installs these and no others, and needs no network when the wheels are in the
// cache or came along (Request.Wheels). Packages without a wheel are refused:
// building one would run their code here, with results that no hash foretells.
//
// A wheel is an archive of what goes on the module path (PEP 427), so it is
// unpacked here and not by pip: nothing of a package runs before a function
// imports it in its sandbox. The modules are compiled, since whoever has a layer
// has it read-only.
//
//	requirement.go  what a function asks for
//	pip.go          which wheels that are, and where they come from
//	wheel.go        a wheel and its content
//	lock.go         weft.lock
//	keep.go         how long layers are kept
package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/python"
	"github.com/weft-run/weft/internal/scratch"
)

// Options configures NewStore.
type Options struct {
	Dir    string   // cache: wheels and layers; created when absent
	Python string   // name or path of the interpreter that functions run in; default python3
	Pip    []string // further arguments of pip, such as --no-index; default none, pip reads its own configuration
}

// Request is what to install.
type Request struct {
	Function string   // for messages
	Dir      string   // the app's folder, which paths in requirements are relative to
	File     string   // requirements file, relative to Dir; "": Lines
	Lines    []string // requirements
	Digest   string   // of what File and the files that it includes, or Lines, say, where they are not at hand; default: it is computed
	Wheels   string   // folder with wheels, as files or in a folder of their own, that are tried first; "": none
	Pack     bool     // the wheels are wanted too: Layer.Files has them all
	Offline  bool     // what neither the lock nor Wheels have is an error, and pip is not started
}

// Layer is an installed set of wheels.
type Layer struct {
	Key    string   // names the content: of wheels, Python and platform
	Path   string   // of the folder; it is there until the store is closed
	Wheels []Wheel  // in the order of their names
	Files  []string // of the wheels, in that order: absolute paths in the cache; with Request.Pack
	Cached bool     // it was there already
	Digest string   // of the request's requirements, for Request.Digest elsewhere
}

// Store installs layers. It is safe for concurrent use, also by several
// processes with the same folder.
type Store struct {
	o Options

	mu    sync.Mutex          // held while a layer is looked for or made
	found *python.Interpreter // guarded by mu
	held  map[string]*os.File // by key: locks on the layers in use; guarded by mu
}

// NewStore makes a store. Close it when its layers are not used any more.
func NewStore(o Options) (*Store, error) {
	if o.Python == "" {
		o.Python = "python3"
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("layers: %w", err)
	}
	o.Dir = dir
	return &Store{o: o, held: map[string]*os.File{}}, nil
}

// Close gives up the layers.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.held {
		errs = append(errs, f.Close())
	}
	clear(s.held)
	return errors.Join(errs...)
}

// Install returns the layer of a request, which it makes when it has to. What
// the lock does not say yet it says afterwards. Errors are of type *Error, apart
// from those of a cancelled context.
func (s *Store) Install(ctx context.Context, r Request, lock *Lock) (Layer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.install(ctx, &r, lock)
	l.Digest = r.Digest
	if ctx.Err() != nil {
		return l, fmt.Errorf("install what function %s requires: %w", r.Function, context.Cause(ctx))
	}
	return l, err
}

func (s *Store) install(ctx context.Context, given *Request, lock *Lock) (Layer, error) {
	if given.Digest == "" {
		sum, err := given.sum()
		if err != nil {
			return Layer{}, &Error{Request: *given, Message: "cannot read the requirements", Err: err}
		}
		given.Digest = sum
	}
	r := *given
	sum := r.Digest
	var err error
	if s.found == nil {
		if s.found, err = python.Find(ctx, s.o.Python); err != nil {
			return Layer{}, &Error{Request: r, Message: "there is no Python to install for", Err: err}
		}
	}
	pins := lock.find(sum, s.found.Tag)
	known := pins != nil
	if known {
		if l, ok := s.have(pins); ok && (!r.Pack || s.stocked(&l)) {
			return l, nil
		}
	}
	folder, err := s.scratch()
	if err != nil {
		return Layer{}, &Error{Request: r, Message: "cannot write to the cache", Hint: "set another cache folder, or free space", Err: err}
	}
	defer folder.Remove()
	j := &job{store: s, request: r, dir: folder.Path}
	if !known {
		if r.Offline {
			return Layer{}, j.unlocked(lock.tags(sum))
		}
		if pins, err = j.resolve(ctx); err != nil {
			return Layer{}, err
		}
	} else if err := j.fetch(ctx, pins); err != nil {
		return Layer{}, err
	}
	l, ok := s.have(pins)
	if !ok {
		if l, err = j.make(ctx, pins); err != nil {
			return Layer{}, err
		}
	}
	if r.Pack && !s.stocked(&l) {
		return Layer{}, &Error{Request: r, Message: "a wheel that was just there is gone from the cache"}
	}
	if !known {
		lock.put(r.name(), sum, s.found.Tag, pins)
	}
	s.prune(time.Now())
	return l, nil
}

// scratch makes a folder to work in, beside what is in the cache for good.
func (s *Store) scratch() (*scratch.Folder, error) {
	for _, name := range []string{"layers", "wheels"} {
		if err := os.MkdirAll(filepath.Join(s.o.Dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	return scratch.Make(s.o.Dir)
}

// formatVersion is part of every key. It is raised when what is made of the same
// wheels changes.
const formatVersion = 1

// key names the layer of some wheels for an interpreter.
func key(tag string, pins []Wheel) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n", formatVersion, tag)
	for _, w := range pins {
		fmt.Fprintf(h, "%s %s\n", w.File, w.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// have returns a layer that is there, and keeps it there.
func (s *Store) have(pins []Wheel) (Layer, bool) {
	l := Layer{Key: key(s.found.Tag, pins), Wheels: pins, Cached: true}
	l.Path = filepath.Join(s.o.Dir, "layers", l.Key)
	return l, s.hold(l.Key)
}

// stocked notes where the wheels of a layer are, and reports whether all are
// there.
func (s *Store) stocked(l *Layer) bool {
	l.Files = nil
	now := time.Now()
	for _, w := range l.Wheels {
		file := s.wheel(w)
		if os.Chtimes(filepath.Dir(file), now, now) != nil { // else it is not pruned while it is read
			return false
		}
		if _, err := os.Stat(file); err != nil {
			return false
		}
		l.Files = append(l.Files, file)
	}
	return true
}

// wheel is where the cache has a wheel.
func (s *Store) wheel(w Wheel) string { return filepath.Join(s.o.Dir, "wheels", w.SHA256, w.File) }

// digest is the SHA-256 of a file, in hex.
func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// make unpacks wheels that are in the cache, and compiles what is in them.
func (j *job) make(ctx context.Context, pins []Wheel) (Layer, error) {
	made := filepath.Join(j.dir, "layer")
	room := int64(maxLayer)
	for _, w := range pins {
		file := j.store.wheel(w)
		sum, err := digest(file)
		if err == nil && sum != w.SHA256 {
			err = fmt.Errorf("the cache is damaged: its SHA-256 is %s", sum)
		}
		if err == nil {
			room, err = unpack(file, made, room)
		}
		if err != nil {
			return Layer{}, &Error{Request: j.request, Message: "cannot unpack " + w.File, Err: err}
		}
	}
	if err := os.MkdirAll(made, 0o755); err != nil { // no wheels, an empty layer
		return Layer{}, &Error{Request: j.request, Message: "cannot write to the cache", Err: err}
	}
	if err := j.compile(ctx, made); err != nil {
		return Layer{}, err
	}
	id := key(j.store.found.Tag, pins)
	err := os.Rename(made, filepath.Join(j.store.o.Dir, "layers", id))
	if err != nil && !errors.Is(err, os.ErrExist) { // else another process was faster
		return Layer{}, &Error{Request: j.request, Message: "cannot write to the cache", Err: err}
	}
	l, ok := j.store.have(pins)
	if !ok {
		return Layer{}, &Error{Request: j.request, Message: "the layer that was just made is gone from the cache"}
	}
	l.Cached = false
	return l, nil
}
