package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, s store.Store, file string) *Secrets {
	t.Helper()
	secrets, err := Open(t.Context(), s, file)
	if err != nil {
		t.Fatal(err)
	}
	secrets.now = func() time.Time { return noon }
	return secrets
}

func set(t *testing.T, s *Secrets, app, name, value string) {
	t.Helper()
	if err := s.Set(t.Context(), app, name, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, s *Secrets, app, name, value string) {
	t.Helper()
	got, err := s.Get(app, name)
	if err != nil || string(got) != value {
		t.Errorf("secret %s of %s is %.40q (%d bytes), %v; want %.40q (%d bytes)", name, app, got, len(got), err, value, len(value))
	}
}

func TestSecretsAreThereAgain(t *testing.T) {
	s, file := memory.New(memory.Options{}), filepath.Join(t.TempDir(), "secret.key")
	a := open(t, s, file)
	set(t, a, "shop", "api-key", "first")
	set(t, a, "shop", "api-key", "second")
	set(t, a, "shop", "empty", "")
	set(t, a, "shop", "more", "a name like a part")
	set(t, a, "shop-2", "api-key", "another app's")
	for _, s := range []*Secrets{a, open(t, s, file)} {
		want(t, s, "shop", "api-key", "second")
		want(t, s, "shop", "empty", "")
		want(t, s, "shop", "more", "a name like a part")
		want(t, s, "shop-2", "api-key", "another app's")
		list, err := s.List("shop")
		if got := fmt.Sprint(list); err != nil || got != fmt.Sprint([]Info{{"api-key", noon}, {"empty", noon}, {"more", noon}}) {
			t.Errorf("list is %v, %v", got, err)
		}
	}
	if list, err := a.List("none"); err != nil || len(list) != 0 {
		t.Errorf("an app without secrets has %v, %v", list, err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v, %v; want 0600", st.Mode(), err)
	}
}

// Values of every length around the store's limit come back, and a shorter one
// leaves nothing of the longer one before it.
func TestLongValues(t *testing.T) {
	s := memory.New(memory.Options{})
	a := open(t, s, filepath.Join(t.TempDir(), "secret.key"))
	for _, n := range []int{ValueMax, 1, ValueMax - 1, partMax - overhead - 1, partMax - overhead, partMax - overhead + 1, 0} {
		value := strings.Repeat("v", n)
		set(t, a, "shop", "long", value)
		want(t, a, "shop", "long", value)
	}
	if n := len(keys(t, s)); n != 1 {
		t.Errorf("%d keys are in the store, want 1", n)
	}
	if err := a.Set(t.Context(), "shop", "long", make([]byte, ValueMax+1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("too long: %v", err)
	}
	set(t, a, "shop", "long", strings.Repeat("v", ValueMax))
	if err := a.Delete(t.Context(), "shop", "long"); err != nil {
		t.Error(err)
	}
	if left := keys(t, s); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

func keys(t *testing.T, s store.Store) (all []string) {
	t.Helper()
	view := s.Snapshot()
	defer view.Close()
	if err := view.Scan(nil, nil, func(i store.Item) bool {
		all = append(all, string(i.Key))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDeleteAndDropApp(t *testing.T) {
	s := memory.New(memory.Options{})
	a := open(t, s, filepath.Join(t.TempDir(), "secret.key"))
	set(t, a, "shop", "a", "1")
	set(t, a, "shop", "b", strings.Repeat("2", ValueMax))
	set(t, a, "shop-2", "a", "3")
	if err := a.Delete(t.Context(), "shop", "a"); err != nil {
		t.Error(err)
	}
	if err := a.Delete(t.Context(), "shop", "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := a.Get("shop", "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	for _, app := range []string{"shop", "shop", "never", "Not/An/App"} {
		if err := a.DropApp(t.Context(), app); err != nil {
			t.Errorf("drop %s: %v", app, err)
		}
	}
	if _, err := a.Get("shop", "b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("dropped: %v", err)
	}
	want(t, a, "shop-2", "a", "3")
	if n := len(keys(t, s)); n != 1 {
		t.Errorf("%d keys are left, want 1", n)
	}
}

func TestNamesThatAreNotAllowed(t *testing.T) {
	a := open(t, memory.New(memory.Options{}), filepath.Join(t.TempDir(), "secret.key"))
	tests := []struct{ app, name string }{
		{"shop", ""}, {"shop", "a/b"}, {"shop", "a b"}, {"shop", "a\n"}, {"shop", "ä"}, {"shop", strings.Repeat("n", 65)},
		{"", "a"}, {"a/b", "a"}, {"Shop", "a"}, {strings.Repeat("a", 64), "a"},
	}
	for _, test := range tests {
		_, getErr := a.Get(test.app, test.name)
		for what, err := range map[string]error{
			"set": a.Set(t.Context(), test.app, test.name, nil), "get": getErr, "delete": a.Delete(t.Context(), test.app, test.name),
		} {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s %q of %q: %v, want ErrInvalid", what, test.name, test.app, err)
			}
		}
	}
	for _, name := range []string{"A.b_c-9", "..", strings.Repeat("n", 64)} {
		set(t, a, strings.Repeat("a", 63), name, "v")
	}
}

func TestNothingOfAValueIsInTheStore(t *testing.T) {
	s, file := memory.New(memory.Options{}), filepath.Join(t.TempDir(), "secret.key")
	a := open(t, s, file)
	value := "correct horse battery staple"
	set(t, a, "shop", "a", value)
	set(t, a, "shop", "b", value)
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var sealed [][]byte
	view := s.Snapshot()
	defer view.Close()
	view.Scan(nil, nil, func(i store.Item) bool {
		if bytes.Contains(i.Value, []byte(value[:8])) || bytes.Contains(i.Value, key[len(keyFileTitle):][:16]) {
			t.Errorf("%s holds the value or the key", i.Key)
		}
		sealed = append(sealed, bytes.Clone(i.Value[overhead-16:]))
		return true
	})
	if len(sealed) != 2 || bytes.Equal(sealed[0], sealed[1]) {
		t.Error("the same value is sealed the same way twice")
	}
}

// A record opens only where it was put, as it was put.
func TestRecordsCannotBeMovedOrChanged(t *testing.T) {
	s, file := memory.New(memory.Options{}), filepath.Join(t.TempDir(), "secret.key")
	a := open(t, s, file)
	set(t, a, "ab", "c", "value")
	view := s.Snapshot()
	item, err := view.Get(recordKey("ab", "c"))
	view.Close()
	if err != nil {
		t.Fatal(err)
	}
	try := func(app, name string, record []byte) error {
		var b store.Batch
		b.Put(recordKey(app, name), record)
		if _, err := s.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		_, err := a.Get(app, name)
		return err
	}
	for _, to := range []struct{ app, name string }{{"a", "bc"}, {"abc", "c"}, {"ab", "d"}, {"other", "c"}} {
		if err := try(to.app, to.name, item.Value); err == nil {
			t.Errorf("the record opens as %s of %s", to.name, to.app)
		}
	}
	for i := range item.Value {
		record := bytes.Clone(item.Value)
		record[i] ^= 1
		if err := try("ab", "c", record); err == nil {
			t.Errorf("the record opens though byte %d is another", i)
		}
		if err := try("ab", "c", item.Value[:i]); err == nil {
			t.Errorf("the record opens though it is cut at %d", i)
		}
	}
	if err := try("ab", "c", item.Value); err != nil {
		t.Errorf("the record itself: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	s, file := memory.New(memory.Options{}), filepath.Join(dir, "secret.key")
	a := open(t, s, file)
	set(t, a, "shop", "a", "1")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := good[len(keyFileTitle)+1:]
	tests := []struct {
		name string
		text []byte
		mode os.FileMode
		want string
	}{
		{"others may read it", good, 0o640, "chmod 600"},
		{"anybody may read it", good, 0o604, "chmod 600"},
		{"something else", []byte("-----BEGIN KEY-----\n"), 0o600, "first line"},
		{"no key", []byte(keyFileTitle + "\n\n"), 0o600, "no key"},
		{"cut", good[:len(good)-5], 0o600, "line 2"},
		{"key twice", append(bytes.Clone(good), line...), 0o600, "line 3"},
		{"large", make([]byte, 2<<20), 0o600, "too large"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			os.Remove(file)
			if err := os.WriteFile(file, test.text, test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), s, file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Open: %v, want %q", err, test.want)
			}
			if bytes.Contains([]byte(err.Error()), line[:8]) {
				t.Errorf("the message shows the key: %v", err)
			}
			if left, _ := os.ReadFile(file); !bytes.Equal(left, test.text) {
				t.Error("Open has changed the key file")
			}
		})
	}

	t.Run("missing", func(t *testing.T) {
		os.Remove(file)
		if _, err := Open(t.Context(), s, file); !errors.Is(err, ErrKey) {
			t.Errorf("Open: %v, want ErrKey", err)
		}
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Error("a key was made")
		}
	})
	t.Run("given up", func(t *testing.T) {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, s, file)
		if _, err := b.Get("shop", "a"); !errors.Is(err, ErrKey) {
			t.Errorf("Get: %v, want ErrKey", err)
		}
		if err := b.Rotate(t.Context()); !errors.Is(err, ErrKey) {
			t.Errorf("Rotate: %v, want ErrKey", err)
		}
		set(t, b, "shop", "a", "2")
		if err := b.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
		want(t, open(t, s, file), "shop", "a", "2")
	})
	t.Run("link", func(t *testing.T) {
		link := filepath.Join(dir, "link")
		if err := os.Symlink(file, link); err != nil {
			t.Fatal(err)
		}
		b := open(t, s, link)
		if err := b.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st, _ := os.Lstat(link); st.Mode()&os.ModeSymlink == 0 {
			t.Error("the link was replaced")
		}
		want(t, open(t, s, file), "shop", "a", "2")
	})
}

func TestAStoreThatFailsIsTold(t *testing.T) {
	s := memory.New(memory.Options{})
	a := open(t, s, filepath.Join(t.TempDir(), "secret.key"))
	set(t, a, "shop", "a", "1")
	s.Inject(func(op string) error {
		if op == "durable" {
			return errors.New("input/output error")
		}
		return nil
	})
	if err := a.Set(t.Context(), "shop", "a", []byte("2")); !errors.Is(err, store.ErrFailed) {
		t.Errorf("Set: %v", err)
	}
	if err := a.Delete(t.Context(), "shop", "a"); !errors.Is(err, store.ErrFailed) {
		t.Errorf("Delete: %v", err)
	}
}

func TestRotate(t *testing.T) {
	s, file := memory.New(memory.Options{}), filepath.Join(t.TempDir(), "secret.key")
	a := open(t, s, file)
	values := fill(t, a)
	before, _ := os.ReadFile(file)
	a.now = func() time.Time { return noon.Add(time.Hour) }
	if err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(file)
	if ring, err := decodeKeys(after); err != nil || len(ring) != 1 || bytes.Equal(before, after) {
		t.Errorf("the key file has %d keys, %v", len(ring), err)
	}
	for _, s := range []*Secrets{a, open(t, s, file)} {
		values.check(t, s)
		if list, _ := s.List("app-0"); len(list) == 0 || !list[0].Updated.Equal(noon) {
			t.Errorf("a rotation has changed when values were set: %v", list)
		}
	}
	// Nothing is sealed with the former key.
	os.Remove(file)
	if err := os.WriteFile(file, before, 0o600); err != nil {
		t.Fatal(err)
	}
	for k := range values {
		if _, err := open(t, s, file).Get(k[0], k[1]); !errors.Is(err, ErrKey) {
			t.Errorf("the former key opens %v: %v", k, err)
		}
	}
}

type values map[[2]string]string

// fill sets secrets, of more bytes than a rotation writes at once.
func fill(t *testing.T, s *Secrets) values {
	t.Helper()
	v := values{}
	for i := range 40 {
		k := [2]string{fmt.Sprintf("app-%d", i%3), fmt.Sprintf("name.%d", i)}
		v[k] = strings.Repeat(fmt.Sprintf("%04d", i), (ValueMax/4)*(i%2)+i)
		if i%2 == 1 {
			v[k] = v[k][:ValueMax]
		}
		set(t, s, k[0], k[1], v[k])
	}
	return v
}

func (v values) check(t *testing.T, s *Secrets) {
	t.Helper()
	for k, value := range v {
		want(t, s, k[0], k[1], value)
	}
}

// disk is a store whose flushes happen when somebody waits for them.
type disk struct{ *memory.Store }

func (d disk) Durable(ctx context.Context, v store.Version) error {
	d.Notify(v, func(error) {}) // fails here if it is to
	d.Sync()
	return d.Store.Durable(ctx, v)
}

// Wherever a rotation is interrupted, by an error or by the machine's death, all
// values are there, before and after it is finished.
func TestInterruptedRotation(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for seed := range uint64(4) {
			for step := 1; !interruptRotation(t, crash, seed, step); step++ {
				if t.Failed() || step > 50 {
					t.Fatalf("crash %v, seed %d, step %d", crash, seed, step)
				}
			}
		}
	}
}

// interruptRotation fails one step of a rotation. It reports whether there are
// fewer steps.
func interruptRotation(t *testing.T, crash bool, seed uint64, step int) (completed bool) {
	s, file := disk{memory.New(memory.Options{Manual: true, Seed: seed})}, filepath.Join(t.TempDir(), "secret.key")
	a := open(t, s, file)
	values := fill(t, a)
	died := errors.New("died")
	n := 0
	fault := func(string) error {
		if n++; n == step {
			return died
		}
		return nil
	}
	s.Inject(fault)
	a.save = func(path string, keys keyring) error {
		if err := fault("before save"); err != nil {
			return err
		}
		return errors.Join(writeKeys(path, keys), fault("after save"))
	}
	err := a.Rotate(t.Context())
	completed = n < step
	if (err == nil) != completed {
		t.Errorf("Rotate: %v", err)
	}
	values.check(t, a) // readers go on
	s.Inject(nil)
	if crash {
		s.Crash()
		a = open(t, s, file)
	} else {
		s.Sync()
		s.Crash() // of a store that has failed only this opens it again
		a.save = writeKeys
	}
	values.check(t, a)
	if err := a.Rotate(t.Context()); err != nil {
		t.Errorf("Rotate again: %v", err)
	}
	text, _ := os.ReadFile(file)
	if ring, err := decodeKeys(text); err != nil || len(ring) != 1 {
		t.Errorf("the key file has %d keys, %v", len(ring), err)
	}
	values.check(t, open(t, s, file))
	return completed
}

// A value that cannot be opened keeps the former keys, and nothing else from a new one.
func TestRotateAroundADamagedRecord(t *testing.T) {
	s, file := memory.New(memory.Options{}), filepath.Join(t.TempDir(), "secret.key")
	a := open(t, s, file)
	values := fill(t, a)
	var b store.Batch
	b.Put(recordKey("app-0", "bad"), []byte("\x01not what was sealed"))
	if _, err := s.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := a.Rotate(t.Context()); err == nil || !strings.Contains(err.Error(), `"bad" of app "app-0"`) {
		t.Errorf("Rotate: %v", err)
	}
	a = open(t, s, file)
	values.check(t, a)
	if err := a.Delete(t.Context(), "app-0", "bad"); err != nil {
		t.Error(err)
	}
	a = open(t, s, file) // finishes the rotation
	values.check(t, a)
	text, _ := os.ReadFile(file)
	if ring, err := decodeKeys(text); err != nil || len(ring) != 1 {
		t.Errorf("the key file has %d keys, %v", len(ring), err)
	}
}

func TestReadersAndWritersDuringRotations(t *testing.T) {
	s, file := memory.New(memory.Options{}), filepath.Join(t.TempDir(), "secret.key")
	a := open(t, s, file)
	set(t, a, "shop", "stays", "value")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			name := fmt.Sprint(w)
			for i := range 50 {
				want(t, a, "shop", "stays", "value")
				set(t, a, "shop", name, fmt.Sprint(i))
				want(t, a, "shop", name, fmt.Sprint(i))
			}
		})
	}
	for range 5 {
		if err := a.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	b := open(t, s, file)
	for w := range 4 {
		want(t, b, "shop", fmt.Sprint(w), "49")
	}
}

// No record opens that was not sealed, and reading one never panics.
func FuzzUnseal(f *testing.F) {
	k := newKey()
	good, err := seal(k, "shop", "a", []byte("value"), noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:20], "shop", "a")
	f.Add([]byte{}, "", "")
	f.Add(bytes.Repeat([]byte{1}, overhead), "shop", "a")
	f.Fuzz(func(t *testing.T, record []byte, app, name string) {
		readHeader(record)
		if value, err := unseal(k, app, name, record); err == nil {
			t.Errorf("%q opens a record that nobody has sealed", value)
		}
	})
}

func FuzzDecodeKeys(f *testing.F) {
	f.Add(keyring{newKey(), newKey()}.encode())
	f.Add([]byte(keyFileTitle))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeKeys(text)
		if err != nil {
			return
		}
		again, err := decodeKeys(r.encode())
		if err != nil || len(again) != len(r) || again.current() != r.current() {
			t.Errorf("%d keys became %d, %v", len(r), len(again), err)
		}
	})
}
