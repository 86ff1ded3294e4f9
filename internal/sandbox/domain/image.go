package domain

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

const (
	imageMax   = 1 << 30          // bytes of one image
	moduleMax  = 256 << 20        // bytes of one module
	imagesMax  = int64(4) << 30   // bytes of the whole cache
	evictAfter = 10 * time.Minute // an image that young is never evicted
)

// CompileLimits bound what compiling one module may take. A module that needs
// more is refused.
type CompileLimits struct {
	Memory int64         // bytes; default 3 GiB
	CPU    time.Duration // of all threads together; default 5 minutes
	Time   time.Duration // wall time; default 3 minutes
}

// EnsureDefaults fills in what is not set.
func (l *CompileLimits) EnsureDefaults() {
	if l.Memory <= 0 {
		l.Memory = 3 << 30
	}
	if l.CPU <= 0 {
		l.CPU = 5 * time.Minute
	}
	if l.Time <= 0 {
		l.Time = 3 * time.Minute
	}
}

// Image is a module compiled for this machine.
type Image struct {
	Key    string // of module, engine and CPU
	Size   int64  // bytes
	Cached bool   // it was in the cache
	Took   time.Duration

	module string // path of the module, for source lines
	file   *os.File
}

// Close releases the image. Hosts that have mapped it keep it.
func (i *Image) Close() error { return i.file.Close() }

// ErrModule is wrapped by the errors of modules that cannot be compiled.
var ErrModule = errors.New("invalid module")

// images is the image cache: a folder that only the node writes, one file an
// image, named by a key over everything that the machine code depends on, by
// its size and its checksum: a file that a crash of the machine has cut short is
// not taken for an image.
type images struct {
	dir string
	cpu string

	mu      sync.Mutex
	pending map[string]chan struct{} // keys being compiled; guarded by mu
}

func newImages(dir string) (*images, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make image cache: %w", err)
	}
	cpu, err := cpuFeatures()
	if err != nil {
		return nil, err
	}
	return &images{dir: dir, cpu: cpu, pending: map[string]chan struct{}{}}, nil
}

// cpuFeatures describes what machine code for this machine may use.
func cpuFeatures() (string, error) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("read cpu features: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			if k = strings.TrimSpace(k); k == "flags" || k == "Features" {
				return strings.TrimSpace(v), nil
			}
		}
	}
	return "unknown", nil
}

// Image returns the image of a module file, compiling it in a confined process
// when the cache does not have it. Errors about the module wrap ErrModule.
func (p *Pool) Image(ctx context.Context, module string) (*Image, error) {
	begun := time.Now()
	c := p.images
	f, err := os.Open(module)
	if err != nil {
		return nil, fmt.Errorf("open module: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, moduleMax+1))
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	if n > moduleMax {
		return nil, fmt.Errorf("module %s: %w: it is larger than %d MiB", module, ErrModule, moduleMax>>20)
	}
	io.WriteString(sum, "\x00"+wire.Images+"\x00"+c.cpu)
	key := hex.EncodeToString(sum.Sum(nil))

	for {
		if img, size := c.find(key); img != nil {
			return &Image{Key: key, Size: size, Cached: true, Took: time.Since(begun), module: module, file: img}, nil
		}
		c.mu.Lock()
		wait := c.pending[key]
		if wait == nil {
			c.pending[key] = make(chan struct{})
		}
		c.mu.Unlock()
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer func() {
		c.mu.Lock()
		close(c.pending[key])
		delete(c.pending, key)
		c.mu.Unlock()
	}()
	if img, size := c.find(key); img != nil { // another call was faster
		return &Image{Key: key, Size: size, Cached: true, Took: time.Since(begun), module: module, file: img}, nil
	}
	if err := p.compile(ctx, f, key); err != nil {
		return nil, fmt.Errorf("compile module %s: %w", filepath.Base(module), err)
	}
	img, size := c.find(key)
	if img == nil {
		return nil, fmt.Errorf("open image of module %s: it is gone from %s", filepath.Base(module), c.dir)
	}
	c.evict()
	return &Image{Key: key, Size: size, Took: time.Since(begun), module: module, file: img}, nil
}

// find opens the image of a key, or returns nil. Files that are not what their
// name says are removed.
func (c *images) find(key string) (*os.File, int64) {
	paths, _ := filepath.Glob(filepath.Join(c.dir, key+"-*.image"))
	for _, path := range paths {
		img, err := os.Open(path)
		if err != nil {
			continue
		}
		if name, size, err := imageName(key, img); err == nil && name == filepath.Base(path) {
			now := time.Now()
			os.Chtimes(path, now, now) // for eviction; a cache that cannot be touched still serves
			return img, size
		}
		img.Close()
		os.Remove(path)
	}
	return nil, 0
}

// imageName is the name of the file of an image: key, size and checksum.
func imageName(key string, r io.ReaderAt) (name string, size int64, err error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err = io.CopyBuffer(sum, io.NewSectionReader(r, 0, imageMax), make([]byte, 1<<20))
	return fmt.Sprintf("%s-%d-%08x.image", key, size, sum.Sum32()), size, err
}

// compile turns an open module into an image file, in a process of its own.
func (p *Pool) compile(ctx context.Context, module *os.File, key string) error {
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make memory file: %w", err)
	}
	out := os.NewFile(uintptr(fd), "image")
	defer out.Close()
	m, err := p.tool(ctx, sandbox.RoleCompile, &wire.Compile{}, int(module.Fd()), fd)
	if err != nil {
		return err
	}
	done, ok := m.(*wire.Compiled)
	if !ok {
		return fmt.Errorf("the compiler answered %T", m)
	}
	if done.Error != "" {
		return fmt.Errorf("%w: %s", ErrModule, done.Error)
	}
	image := io.NewSectionReader(out, 0, done.Size)
	name, size, err := imageName(key, image)
	if err != nil || size != done.Size {
		return errors.Join(fmt.Errorf("the compiler made %d of %d bytes", size, done.Size), err)
	}
	return writeAtomically(filepath.Join(p.images.dir, name), image)
}

// tool starts a confined process for one request, and ends it.
func (p *Pool) tool(ctx context.Context, role sandbox.Role, request wire.Message, fds ...int) (wire.Message, error) {
	limits := p.o.Compile
	confined := sandbox.Limits{Memory: limits.Memory, CPU: limits.CPU, FileSize: imageMax, Tiered: toolWeight, Pids: 64}
	h, err := spawn(ctx, p.spawner, role, confined)
	if err != nil {
		return nil, err
	}
	defer h.kill()
	bounded, cancel := context.WithTimeout(ctx, limits.Time)
	defer cancel()
	stop := context.AfterFunc(bounded, func() { h.process.Kill() })
	defer stop()
	var m wire.Message
	if err = h.conn.Send(request, fds...); err == nil {
		m, err = h.receive()
	}
	if err != nil {
		switch exit := h.process.Wait(); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case bounded.Err() != nil:
			return nil, fmt.Errorf("%w: it took longer than %v", ErrModule, limits.Time)
		case exit.Reason == sandbox.ReasonMemory:
			return nil, fmt.Errorf("%w: it needs more than %d MiB of memory", ErrModule, limits.Memory>>20)
		case exit.Reason == sandbox.ReasonCPU:
			return nil, fmt.Errorf("%w: it needs more than %v of CPU time", ErrModule, limits.CPU)
		case exit.Reason == sandbox.ReasonFileSize:
			return nil, fmt.Errorf("%w: the result is larger than %d MiB", ErrModule, imageMax>>20)
		}
		_, err = h.whyEnded(err)
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	return m, nil
}

// writeAtomically makes a file appear whole or not at all, so that a node that
// is killed leaves at most a file that nobody opens.
func writeAtomically(path string, r io.Reader) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err := io.Copy(tmp, r); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	// A host opens its descriptor once more, by path, to map it, and is another
	// user. The folder keeps everybody else out.
	if err := errors.Join(tmp.Chmod(0o444), tmp.Close()); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}

// evict removes the images unused the longest while the cache is over its
// bound, and what a killed node left half-written.
func (c *images) evict() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var all []fs.FileInfo
	var size int64
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			continue
		}
		if strings.HasPrefix(e.Name(), ".new-") {
			if time.Since(st.ModTime()) > time.Hour {
				os.Remove(filepath.Join(c.dir, e.Name()))
			}
			continue
		}
		all = append(all, st)
		size += st.Size()
	}
	slices.SortFunc(all, func(a, b fs.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	for _, st := range all {
		if size <= imagesMax || time.Since(st.ModTime()) < evictAfter {
			return
		}
		if os.Remove(filepath.Join(c.dir, st.Name())) == nil {
			size -= st.Size()
		}
	}
}

// locate names the source lines of the stack of a trap, innermost first, as
// far as the module tells.
func (p *Pool) locate(ctx context.Context, image *Image, frames []wire.Frame) []string {
	lines := make([]string, len(frames))
	f, err := os.Open(image.module)
	if err != nil {
		return lines
	}
	defer f.Close()
	offsets := make([]uint64, len(frames))
	for i, fr := range frames {
		offsets[i] = fr.Offset
	}
	m, err := p.tool(ctx, sandbox.RoleCompile, &wire.Locate{Offsets: offsets}, int(f.Fd()))
	if located, ok := m.(*wire.Located); err == nil && ok && len(located.Lines) == len(lines) {
		return located.Lines
	}
	return lines
}
