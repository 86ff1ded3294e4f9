package domain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// storing is a module whose one function stores so many times: its machine code
// cannot be made any smaller.
func storing(times int) []byte {
	leb := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	section := func(id byte, b []byte) []byte { return slices.Concat([]byte{id}, leb(len(b)), b) }
	body := []byte{0}
	for i := range times { // store(i % 60000, i % 60)
		body = append(body, 0x41, byte(i%60), 0x41, byte(i%60), 0x36, 2)
		body = binary.AppendUvarint(body, uint64(i%60000))
	}
	body = append(body, 0x0b)
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, []byte{1, 0x60, 0, 0}), section(3, []byte{1, 0}), section(5, []byte{1, 0, 1}),
		section(7, []byte("\x02\x06memory\x02\x00\x06_start\x00\x00")),
		section(10, slices.Concat([]byte{1}, leb(len(body)), body)))
}

func moduleFile(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// imageOf gets an image and closes it.
func imageOf(t *testing.T, p *Pool, module string) *Image {
	t.Helper()
	i, err := p.Image(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	return i
}

func (c *images) files(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImageIsCached(t *testing.T) {
	p := newPool(t)
	module := moduleFile(t, storing(10))
	first, again := imageOf(t, p, module), imageOf(t, p, module)
	if first.Cached || !again.Cached || first.Key != again.Key || first.Size != again.Size || first.Size == 0 {
		t.Errorf("first %+v, then %+v", first, again)
	}
	if other := imageOf(t, p, moduleFile(t, storing(11))); other.Cached || other.Key == first.Key {
		t.Errorf("another module has the image %+v", other)
	}
	p.images.cpu += " more"
	if other := imageOf(t, p, module); other.Cached || other.Key == first.Key {
		t.Errorf("on another processor the image is %+v", other)
	}
}

// An image file that is not what was written is made again: a crash of the
// machine can cut it short or leave zeros in it.
func TestDamagedImage(t *testing.T) {
	p := newPool(t)
	module := moduleFile(t, storing(1000))
	first := imageOf(t, p, module)
	path, err := filepath.Glob(filepath.Join(p.images.dir, first.Key+"*"))
	if err != nil || len(path) != 1 {
		t.Fatal(path, err)
	}
	whole, err := os.ReadFile(path[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"empty": nil, "short": whole[:len(whole)/2], "one byte short": whole[:len(whole)-1],
		"zeros": make([]byte, len(whole)), "one bit": slices.Concat(whole[:5000], []byte{whole[5000] ^ 1}, whole[5001:]), "long": append(slices.Clip(whole), 0),
	} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(os.Remove(path[0]), os.WriteFile(path[0], damaged, 0o444)); err != nil {
				t.Fatal(err)
			}
			if i := imageOf(t, p, module); i.Cached || i.Size != first.Size {
				t.Errorf("a damaged image was taken: %+v", i)
			}
			if i := imageOf(t, p, module); !i.Cached {
				t.Error("the image was not made again")
			}
		})
	}
}

// Whoever asks for an image at the same time gets the same one, compiled once.
func TestImageIsCompiledOnce(t *testing.T) {
	p := newPool(t)
	module := moduleFile(t, storing(20_000))
	var wg sync.WaitGroup
	made := make(chan *Image, 8)
	for range cap(made) {
		wg.Go(func() {
			i, err := p.Image(t.Context(), module)
			if err != nil {
				t.Error(err)
				return
			}
			made <- i
		})
	}
	wg.Wait()
	close(made)
	compiled := 0
	for i := range made {
		if !i.Cached {
			compiled++
		}
		i.Close()
	}
	if compiled != 1 {
		t.Errorf("it was compiled %d times", compiled)
	}
}

// Who asks and goes away does not spoil it for the others.
func TestImageOfACancelledRequest(t *testing.T) {
	p := newPool(t)
	module := moduleFile(t, storing(100_000))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := p.Image(ctx, module)
		failed <- err
	}()
	eventually(t, "the compilation", func() bool {
		p.images.mu.Lock()
		defer p.images.mu.Unlock()
		return len(p.images.pending) > 0
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || errors.Is(err, ErrModule) {
		t.Errorf("cancelled: %v", err)
	}
	imageOf(t, p, module)
}

func TestBadModules(t *testing.T) {
	p := newPool(t)
	whole := storing(100)
	for _, test := range []struct {
		name   string
		module []byte
		want   string
	}{
		{"empty", nil, "invalid module: "},
		{"text", []byte("hello"), "invalid module: "},
		{"truncated", whole[:len(whole)-1], "invalid module: "},
		{"unknown import", slices.Concat(whole[:8], []byte("\x01\x04\x01\x60\x00\x00\x02\x08\x01\x01e\x02fn\x00\x00")), ""},
	} {
		_, err := p.Image(t.Context(), moduleFile(t, test.module))
		if test.want == "" {
			continue // what it imports is checked when it is loaded
		}
		if !errors.Is(err, ErrModule) || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := p.Image(t.Context(), filepath.Join(t.TempDir(), "gone.wasm")); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrModule) {
		t.Errorf("missing: %v", err)
	}
}

// A module that takes a compiler too much is refused at the limit, by its name.
func TestCompileLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits CompileLimits
		want   string
	}{
		{"time", CompileLimits{Time: 300 * time.Millisecond}, "invalid module: it took longer than 300ms"},
		{"processor", CompileLimits{CPU: time.Second}, "invalid module: it needs more than 1s of CPU time"},
		{"memory", CompileLimits{Memory: 128 << 20}, "invalid module: it needs more than 128 MiB of memory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPool(t, func(o *PoolOptions) { o.Compile = test.limits })
			if test.name == "memory" && slices.ContainsFunc(p.Degraded(), func(s string) bool { return strings.Contains(s, "memory") }) {
				t.Skip("needs a memory cgroup")
			}
			_, err := p.Image(t.Context(), moduleFile(t, storing(600_000)))
			if !errors.Is(err, ErrModule) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			for _, file := range p.images.files(t) {
				if strings.HasPrefix(filepath.Base(file), ".new-") {
					t.Errorf("%s is left", file)
				}
			}
			imageOf(t, p, moduleFile(t, storing(10))) // the next one is none the worse
		})
	}
}

// The cache drops what was unused the longest, but nothing young, and what a
// killed node left half-written.
func TestEviction(t *testing.T) {
	c, err := newImages(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	age := func(name string, size int64, d time.Duration) {
		path := filepath.Join(c.dir, name)
		f, err := os.Create(path)
		if err == nil {
			err = errors.Join(f.Truncate(size), f.Close(), os.Chtimes(path, time.Now(), time.Now().Add(-d)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	age("oldest.image", 2<<30, 3*time.Hour)
	age("old.image", 2<<30, 2*time.Hour)
	age("middle.image", 1<<30, time.Hour)
	age("young.image", 2<<30, time.Second)
	age(".new-old", 1<<20, 2*time.Hour)
	age(".new-young", 1<<20, time.Second)
	c.evict()
	var left []string
	for _, f := range append(c.files(t), filepath.Join(c.dir, ".new-old"), filepath.Join(c.dir, ".new-young")) {
		if _, err := os.Stat(f); err == nil {
			left = append(left, filepath.Base(f))
		}
	}
	slices.Sort(left)
	left = slices.Compact(left)
	if want := []string{".new-young", "middle.image", "young.image"}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}

func TestEvaluate(t *testing.T) {
	p := newPool(t, func(o *PoolOptions) { o.Expressions = 300 * time.Millisecond })
	evaluate := func(expression string) (string, error) {
		values, err := p.Evaluate(t.Context(), []string{expression}, map[string]any{"input": 1})
		return fmt.Sprint(values), err
	}
	for _, test := range []struct{ expression, want, err string }{
		{".input + 1", "[2]", ""},
		{"last(range(1e12))", "", "it took longer than 300ms"},
		{".input + 2", "[3]", ""},
		{"def f: f; f", "", "it took longer than 300ms"},
		{strings.Repeat("1+", 100_000) + "1", "", "the limit is"},
		{".input + 3", "[4]", ""},
	} {
		got, err := evaluate(test.expression)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%.20s: %v, want %q", test.expression, err, test.err)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: %s, %v", test.expression, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Evaluate(ctx, []string{"1 + 1"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
