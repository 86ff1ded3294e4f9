package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/weft-run/weft/internal/scratch"
)

// maxModule bounds the size of a module.
const maxModule = 512 << 20

// Config says where and how to build.
type Config struct {
	CacheDir   string // modules and records; created when absent
	IncludeDir string // folder with weft.h; empty: the one that came with this program
	Parallel   int    // compilers at a time; 0: as many as there are cores
}

// Source is what to build.
type Source struct {
	Function string // name, for messages
	Runtime  string // app.RuntimeWasm, the default, app.RuntimePython or app.RuntimeNative
	Path     string // absolute, or relative to the app's folder
	Place    string // where the app file names it, such as weft.yaml:4:3; may be empty
}

// Module is a built function: a WebAssembly module, an executable, or an archive
// of Python files, which Extract unpacks.
type Module struct {
	Path   string // of a file that never changes
	Digest string // SHA-256 of the file in hex
	Size   int64  // bytes
	Cached bool   // no compiler was started
	Info   Info   // of a WebAssembly module
}

// EventKind is a kind of event.
type EventKind string

// The kinds of events of a build, in their order. A build that finds its
// module in the cache has only Finished.
const (
	Started  EventKind = "started"  // a compiler starts
	Finished EventKind = "finished" // the module is there
	Failed   EventKind = "failed"
)

// Event is progress of a build.
type Event struct {
	Kind     EventKind
	Function string
	Command  string        // of Started: the compiler's command line
	Elapsed  time.Duration // of Finished and Failed
	Cached   bool          // of Finished
}

// Builder builds functions and remembers what it built. Its methods may be
// called from several goroutines.
type Builder struct {
	cfg   Config
	slots chan struct{} // one for each compiler that may run

	mu   sync.Mutex
	busy map[string]chan struct{} // by source; closed when its build is over
}

// New returns a Builder. It touches no file.
func New(cfg Config) *Builder {
	if cfg.Parallel <= 0 {
		cfg.Parallel = runtime.NumCPU()
	}
	// Compilers run in other folders than this process.
	if abs, err := filepath.Abs(cfg.CacheDir); err == nil {
		cfg.CacheDir = abs
	}
	return &Builder{cfg: cfg, slots: make(chan struct{}, cfg.Parallel), busy: map[string]chan struct{}{}}
}

// Build returns the module of a source, which it compiles when it has to. The
// progress function may be nil; it is called from this goroutine only. Errors
// are of type *Error, apart from those of a cancelled context.
func (b *Builder) Build(ctx context.Context, dir string, f Source, progress func(Event)) (Module, error) {
	start := time.Now()
	if progress == nil {
		progress = func(Event) {}
	}
	m, err := b.build(ctx, dir, f, progress)
	if ctx.Err() != nil {
		err = fmt.Errorf("build function %s: %w", f.Function, context.Cause(ctx))
	}
	if err != nil {
		progress(Event{Kind: Failed, Function: f.Function, Elapsed: time.Since(start)})
		return Module{}, err
	}
	progress(Event{Kind: Finished, Function: f.Function, Elapsed: time.Since(start), Cached: m.Cached})
	return m, nil
}

func (b *Builder) build(ctx context.Context, dir string, f Source, progress func(Event)) (Module, error) {
	if err := os.MkdirAll(filepath.Join(b.cfg.CacheDir, "modules"), 0o755); err != nil {
		return Module{}, &Error{Source: f, Message: "cannot write to the cache", Hint: "set another cache folder, or free space", Err: err}
	}
	path := f.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Module{}, &Error{Source: f, Message: "cannot find the source", Err: err}
	}
	plan, err := b.plan(dir, path, f)
	if err != nil {
		return Module{}, err
	}
	release, err := b.exclusive(ctx, plan.identity())
	if err != nil {
		return Module{}, err
	}
	defer release()
	recordFile := filepath.Join(b.cfg.CacheDir, "records", plan.identity()+".json")
	if m, ok := b.recall(recordFile, plan.form); ok {
		return m, nil
	}
	if plan.compile == nil {
		return b.take(f, path, recordFile, plan.form)
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return Module{}, ctx.Err()
	}
	folder, err := scratch.Make(b.cfg.CacheDir)
	if err != nil {
		return Module{}, &Error{Source: f, Message: "cannot write to the cache", Hint: "set another cache folder, or free space", Err: err}
	}
	defer folder.Remove()
	// What the compiler reads is recorded with the state that it had before,
	// so that a change during the build is seen by the next one.
	begun := time.Now()
	out := filepath.Join(folder.Path, "out"+plan.form.ext)
	inputs, err := plan.compile(ctx, &job{source: f, dir: folder.Path, out: out, progress: progress})
	if err != nil {
		return Module{}, b.suspectDisk(err)
	}
	m, err := b.keep(f, out, plan.form)
	if err != nil {
		return Module{}, b.suspectDisk(err)
	}
	b.remember(recordFile, m, inputs, begun)
	prune(b.cfg.CacheDir, maxCache, time.Now())
	return m, nil
}

// exclusive waits until no other build of the same source is on its way.
func (b *Builder) exclusive(ctx context.Context, id string) (release func(), err error) {
	for {
		b.mu.Lock()
		other, taken := b.busy[id]
		if !taken {
			done := make(chan struct{})
			b.busy[id] = done
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				delete(b.busy, id)
				b.mu.Unlock()
				close(done)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take copies a module that is there already into the cache.
func (b *Builder) take(f Source, path, recordFile string, as form) (Module, error) {
	begun := time.Now()
	info, err := os.Stat(path)
	if err != nil {
		return Module{}, sourceError(f, path, err)
	}
	if info.Size() > maxModule {
		return Module{}, &Error{Source: f, Message: fmt.Sprintf("%s has %d bytes; the limit is %d", path, info.Size(), maxModule)}
	}
	m, err := b.keep(f, path, as)
	if err != nil {
		return Module{}, err
	}
	m.Cached = true
	b.remember(recordFile, m, []string{path}, begun)
	return m, nil
}

// littleSpace is less than compilers need, in bytes.
const littleSpace = 16 << 20

// suspectDisk gives a failed build a hint when the disk of the cache is next to
// full: compilers then fail in many ways, or leave half a module and succeed.
func (b *Builder) suspectDisk(err error) error {
	var st syscall.Statfs_t
	if syscall.Statfs(b.cfg.CacheDir, &st) != nil || int64(st.Bavail)*st.Bsize >= littleSpace {
		return err
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Hint == "" {
		e.Hint = "the disk of " + b.cfg.CacheDir + " is almost full: free space, or set another cache folder"
	}
	return err
}

// keep inspects a module and puts it into the cache under its digest.
func (b *Builder) keep(f Source, path string, as form) (Module, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Module{}, sourceError(f, path, err)
	}
	info, err := as.inspect(data)
	if err != nil {
		return Module{}, &Error{Source: f, Message: "source " + f.Path + " " + as.verb(err), Err: err}
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	m := Module{Path: filepath.Join(b.cfg.CacheDir, "modules", digest+as.ext), Digest: digest, Size: int64(len(data)), Info: info}
	if kept, err := os.Stat(m.Path); err == nil && kept.Size() == m.Size {
		use(m.Path)
		return m, nil
	}
	if err := writeFile(m.Path, data, as.mode); err != nil {
		return Module{}, &Error{Source: f, Message: "cannot write the module to the cache", Hint: "set another cache folder, or free space", Err: err}
	}
	return m, nil
}

// writeFile writes a file that appears complete or not at all.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
