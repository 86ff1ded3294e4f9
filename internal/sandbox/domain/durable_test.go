package domain

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/buffer"
)

// brief writes effects on one line.
func brief(e Effects) string {
	var b strings.Builder
	for _, s := range e.Puts {
		fmt.Fprintf(&b, "+%s by %s %d", s.Name, s.By, s.Size)
		if s.Inline != nil {
			b.WriteString(" inline")
		}
		b.WriteString("; ")
	}
	for _, name := range e.Takes {
		fmt.Fprintf(&b, "-%s; ", name)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestEffects(t *testing.T) {
	p := newPool(t)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) {
			s := newStage(t, p)
			if shared {
				if _, err := s.d.Put("/from-outside", strings.NewReader("x"), -1, 10); err != nil {
					t.Fatal(err)
				}
			}
			for _, step := range []struct{ path, script, want string }{
				{"a", "put small 10; put large 100000; put /wide 5", "+a/small by a 10 inline; +a/large by a 100000; +/wide by a 5 inline"},
				{"b[2]", "take large; put x 20", "+b[2]/x by b[2] 20 inline; -a/large"},
				{"c", "put own 30; take own; take /wide", "-/wide"},
				{"d", "borrow small", ""},
				{"e", "", ""},
			} {
				id, _ := s.do(t, step.path, step.script)
				e, err := s.d.Commit(id)
				if err != nil {
					t.Fatal(err)
				}
				if got := brief(e); got != step.want {
					t.Errorf("%s: %s\n got %s\nwant %s", step.path, step.script, got, step.want)
				}
			}
		})
	}
}

// saved keeps the bytes of what a commit has published.
func saved(t *testing.T, d *Domain, e Effects) []Saved {
	t.Helper()
	var all []Saved
	for _, s := range e.Puts {
		if s.Inline != nil {
			all = append(all, Saved{Slot: s})
			continue
		}
		r, n, release, err := d.Hold(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || int64(len(b)) != n || n != s.Size {
			t.Fatalf("slot %s: %d bytes of %d: %v", s.Name, len(b), n, err)
		}
		release()
		release()
		all = append(all, Saved{Slot: s, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }})
	}
	return all
}

// A run goes on in a new domain with what its finished calls have published.
func TestRestore(t *testing.T) {
	p := newPool(t)
	before := newStage(t, p)
	slots := saved(t, before.d, before.commit(t, "a", "put small 10 7; put large 100000; put /wide 5; put gone 9"))
	slots = append(slots, saved(t, before.d, before.commit(t, "outer/b[1]", "put x 200000 0 65"))...)
	for i := range slots {
		if slots[i].Name == "a/gone" {
			slots[i].Taken, slots[i].Inline = true, nil
		}
	}
	before.d.Close()

	s := newStage(t, p)
	if err := s.d.Restore(slots); err != nil {
		t.Fatal(err)
	}
	s.commit(t, "c", "len small; len large; len /wide; len gone; len outer/b[1]/x",
		"len small: 10 of type 7", "len large: 100000 of type 0", "len /wide: 5 of type 0", "len gone: errno 44", "len outer/b[1]/x: 200000 of type 0")
	_, said := s.do(t, "d", "take outer/b[1]/x; borrow large")
	if len(said) != 2 || !strings.HasPrefix(said[0], "take outer/b[1]/x: 200000 bytes of ") {
		t.Errorf("said %q", said)
	}
	e, err := s.d.Commit(s.last)
	if err != nil || brief(e) != "-outer/b[1]/x" {
		t.Errorf("%s, %v", brief(e), err)
	}
	// The names are in use, that of the taken one too; a sub-workflow that is tried again frees its own.
	s.d.Discard("outer")
	for _, step := range []struct {
		path, script string
		free         bool
	}{{"a", "put gone 1", false}, {"a", "put small 1", false}, {"e", "put /wide 1", false}, {"outer/b[1]", "put x 1", true}} {
		id, _ := s.do(t, step.path, step.script)
		if _, err := s.d.Commit(id); (err == nil) != step.free || err != nil && !errors.Is(err, buffer.ErrExists) {
			t.Errorf("%s: %s: %v", step.path, step.script, err)
		}
		s.d.Withdraw(id)
	}
}

func TestRestoreFails(t *testing.T) {
	p := newPool(t)
	d, _ := newDomain(t, p, func(o *Options) { o.Quota = 8 << 20 })
	bad := errors.New("unreadable")
	from := func(n int) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, n))), nil }
	}
	for _, test := range []struct {
		s    Saved
		want error
		text string
	}{
		{Saved{Slot: Slot{Name: "a/x", By: "a", Size: 5}, Open: func() (io.ReadCloser, error) { return nil, bad }}, bad, ""},
		{Saved{Slot: Slot{Name: "a/x", By: "a", Size: 500}, Open: from(400)}, nil, "it has 400 bytes, 500 were saved"},
		{Saved{Slot: Slot{Name: "a/x", By: "a", Size: 500}, Open: from(600)}, buffer.ErrTooLarge, ""},
		{Saved{Slot: Slot{Name: "a/x", By: "a", Size: 9 << 20}, Open: from(9 << 20)}, buffer.ErrQuota, ""},
		{Saved{Slot: Slot{Name: "a b", By: "a"}}, buffer.ErrName, ""},
	} {
		err := d.Restore([]Saved{test.s})
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, want %v %s", test.s.Name, err, test.want, test.text)
		}
	}
	if d.supplied != 0 || len(d.segments) != 0 {
		t.Errorf("%d bytes in %d segments are left", d.supplied, len(d.segments))
	}
}

// A run that is cancelled frees what was restored once, whoever hears of it last.
func TestRestoredAndCancelled(t *testing.T) {
	p := newPool(t)
	data := bytes.Repeat([]byte{66}, 300_000)
	for range 10 {
		begun := make(chan struct{}, 2)
		s := newStage(t, p, func(o *Options) { o.Log = func(uint64, []byte) { begun <- struct{}{} } })
		if err := s.d.Restore([]Saved{{Slot: Slot{Name: "a/x", By: "a", Size: 300_000}, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}}}); err != nil {
			t.Fatal(err)
		}
		s.commit(t, "b", "len x", "len x: 300000 of type 0")
		for i := range uint64(2) {
			s.d.Start(Call{ID: 100 + i, Function: s.f, Path: "c", Step: "c", Index: -1, Attempt: 1, Input: []byte(`{"do": "borrow x; log here; spin"}`)})
		}
		<-begun
		<-begun
		if err := s.d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A large slot is read when somebody wants it, once.
func TestRestoreLater(t *testing.T) {
	p := newPool(t)
	s := newStage(t, p)
	opened := map[string]int{}
	var mu sync.Mutex
	slot := func(name string, size int64, b []byte, err error) Saved {
		return Saved{Slot: Slot{Name: name, By: "a", Size: size}, Open: func() (io.ReadCloser, error) {
			mu.Lock()
			defer mu.Unlock()
			opened[name]++
			return io.NopCloser(bytes.NewReader(b)), err
		}}
	}
	data := bytes.Repeat([]byte{66}, 300_000)
	bad := errors.New("the disk is gone")
	if err := s.d.Restore([]Saved{
		slot("a/unused", 300_000, data, nil), slot("a/used", 300_000, data, nil), slot("a/held", 300_000, data, nil), slot("a/passed", 300_000, data, nil),
		slot("a/bad", 300_000, nil, bad), slot("a/short", 300_000, data[1:], nil), slot("a/tiny", 300_000, data[:1], nil), slot("a/long", 299_999, data, nil),
	}); err != nil {
		t.Fatal(err)
	}
	s.commit(t, "b", "len used", "len used: 300000 of type 0")
	s.commit(t, "c", "borrow used; borrow used; take used", "borrow used: 300000 bytes of 2346810368", "borrow used: 300000 bytes of 2346810368", "take used: 300000 bytes of 2346810368")
	r, n, release, err := s.d.Hold("a/held")
	if err != nil {
		t.Fatal(err)
	}
	s.commit(t, "d", "take held", "take held: 300000 bytes of 2346810368")
	if b, err := io.ReadAll(r); err != nil || n != 300_000 || !bytes.Equal(b, data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	release()
	s.commit(t, "e", "borrow passed; forward again; release", "borrow passed: 300000 bytes of 2346810368", "release: errno 0")
	s.commit(t, "f", "take passed; take again", "take passed: 300000 bytes of 2346810368", "take again: 300000 bytes of 2346810368")
	for name, want := range map[string]string{"bad": "the disk is gone", "short": "it has 299999 bytes, 300000 were saved", "tiny": "it has 1 bytes, 300000 were saved", "long": "too large"} {
		s.last++
		s.d.Start(Call{ID: s.last, Function: s.f, Path: "g", Step: "g", Index: -1, Attempt: int(s.last), Input: []byte(`{"do": "borrow ` + name + `"}`)})
		if r := next(t, s.results); r.Failure == nil || !strings.Contains(r.Failure.Message, want) || !r.Failure.Permanent {
			t.Errorf("%s: %+v", name, r.Failure)
		}
		s.d.Withdraw(s.last)
		if _, _, _, err := s.d.Hold("a/" + name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if opened["a/unused"] != 0 || opened["a/used"] != 1 || opened["a/held"] != 1 || opened["a/passed"] != 1 {
		t.Errorf("opened %v", opened)
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if len(s.d.segments) != 0 || s.d.supplied != 0 {
		t.Errorf("%d segments with %d bytes are left", len(s.d.segments), s.d.supplied)
	}
}

// What is held stays as it is, although its host would use the memory again.
func TestHoldKeepsWhatIsTaken(t *testing.T) {
	p := newPool(t)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) {
			s := newStage(t, p)
			s.commit(t, "a", "put x 300000 0 65")
			if shared {
				if _, err := s.d.Put("/from-outside", strings.NewReader("x"), -1, 10); err != nil {
					t.Fatal(err)
				}
			}
			r, n, release, err := s.d.Hold("a/x")
			if err != nil || n != 300_000 {
				t.Fatalf("%d, %v", n, err)
			}
			_, _, second, err := s.d.Hold("a/x")
			if err != nil {
				t.Fatal(err)
			}
			s.do(t, "b", "take x")
			_, _, third, err := s.d.Hold("a/x") // taken, but not for good
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.d.Commit(s.last); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := s.d.Hold("a/x"); !errors.Is(err, buffer.ErrNotFound) {
				t.Errorf("a slot that is gone: %v", err)
			}
			second()
			third()
			for i := range 8 { // would be given its memory
				s.commit(t, fmt.Sprintf("c%d", i), "put y 300000 0 66; take y", "take y: 300000 bytes of 2346810368")
			}
			b, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{65}, 300_000)) {
				t.Errorf("%d bytes changed, %v", len(b)-bytes.Count(b, []byte{65}), err)
			}
			s.d.Close()
			if _, err := r.(io.ReaderAt).ReadAt(b[:10], 100); err != nil {
				t.Errorf("read after Close: %v", err)
			}
			release()
		})
	}
}

func TestPut(t *testing.T) {
	p := newPool(t)
	s := newStage(t, p)
	s.commit(t, "first", "put mine 100000") // its host decides about slots, and has to hear
	for _, test := range []struct {
		n, size, most int64
		want          error
	}{
		{0, -1, 100, nil}, {10, -1, 10, nil}, {10, 10, 10, nil}, {10, -1, 9, buffer.ErrTooLarge}, {10, 10, 9, buffer.ErrTooLarge},
		{20_000, -1, 1 << 30, nil}, {20_000, 20_000, 1 << 30, nil}, {5 << 20, -1, 1 << 30, nil}, {5 << 20, -1, 4 << 20, buffer.ErrTooLarge},
		{3_000_000, 100, 1 << 30, nil}, {3_000_000, 20 << 20, 1 << 30, nil},
	} {
		name := fmt.Sprintf("/in-%d-%d-%d", test.n, max(test.size, 0), test.most)
		body := bytes.Repeat([]byte{65}, int(test.n))
		slot, err := s.d.Put(name, bytes.NewReader(body), test.size, test.most)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if err != nil {
			continue
		}
		if slot.Name != name || slot.Size != test.n || (slot.Inline != nil) != (test.n <= inlineMax) {
			t.Errorf("%s: %+v", name, slot)
		}
		r, n, release, err := s.d.Hold(name)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || n != test.n || !bytes.Equal(b, body) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		release()
		s.commit(t, fmt.Sprintf("read%d", s.last), "len "+name, fmt.Sprintf("len %s: %d of type 0", name, test.n))
	}
	if _, err := s.d.Put("/in-10-0-10", strings.NewReader("x"), -1, 10); !errors.Is(err, buffer.ErrExists) {
		t.Errorf("the same name again: %v", err)
	}
	bad := errors.New("broken")
	if _, err := s.d.Put("/broken", io.MultiReader(bytes.NewReader(make([]byte, 100_000)), failing{bad}), -1, 1<<20); !errors.Is(err, bad) {
		t.Errorf("a reader that fails: %v", err)
	}
	// Standard input from a slot.
	if _, err := s.d.Put("/script", strings.NewReader(`{"do": "len first/mine"}`), -1, 100); err != nil {
		t.Fatal(err)
	}
	s.d.Start(Call{ID: 1000, Function: s.f, Path: "stdin", Step: "stdin", Index: -1, Attempt: 1, Stdin: "/script"})
	if r := next(t, s.results); r.Failure != nil || !strings.Contains(string(r.Output), "100000 of type 0") {
		t.Errorf("%s, %+v", r.Output, r.Failure)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A call that waits goes on with what comes from outside.
func TestPutWakes(t *testing.T) {
	p := newPool(t)
	s := newStage(t, p)
	s.d.Start(Call{ID: 77, Function: s.f, Path: "a", Step: "a", Index: -1, Attempt: 1, Input: []byte(`{"do": "wait /late; len /late"}`)})
	eventually(t, "the wait", func() bool {
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		return s.d.calls[77].waiting != ""
	})
	if _, err := s.d.Put("/late", strings.NewReader("abc"), 3, 3); err != nil {
		t.Fatal(err)
	}
	if r := next(t, s.results); r.Failure != nil || !strings.Contains(string(r.Output), "3 of type 0") {
		t.Errorf("%s, %+v", r.Output, r.Failure)
	}
}

func TestSecrets(t *testing.T) {
	p := newPool(t)
	s := newStage(t, p)
	s.f.Secrets = []SecretFile{{Guest: "/secrets/key", Data: []byte("hush")}, {Guest: "/secrets/empty"}}
	s.commit(t, "a", "cat /secrets/key; cat /secrets/empty; write /secrets/key louder; write /secrets/other x; cat /secrets/key; ls /secrets",
		"cat /secrets/key: hush", "cat /secrets/empty: ", "write /secrets/key: Read-only file system",
		"write /secrets/other: Read-only file system", "cat /secrets/key: hush", "ls /secrets: 2")
	f, err := secretFile([]byte("hush"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("loud"), 0); err == nil {
		t.Error("a secret can be written")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("a secret can be truncated")
	}
}

// Whoever holds a slot that is being read from disk while the domain closes has
// its bytes, or an error.
func TestHoldWhileClosing(t *testing.T) {
	p := newPool(t)
	data := bytes.Repeat([]byte{66}, 300_000)
	for range 50 {
		d, _ := newDomain(t, p)
		if err := d.Restore([]Saved{{Slot: Slot{Name: "a/x", By: "a", Size: int64(len(data))}, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}}}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				r, _, release, err := d.Hold("a/x")
				if err != nil {
					return
				}
				defer release()
				if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, data) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		}
		wg.Go(func() { d.Close() })
		wg.Wait()
	}
}
