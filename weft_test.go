package weft_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft"
)

type point struct {
	X, Y float64
	Tag  [3]uint8
}

type tree struct {
	Name     string
	Children []*tree
	Born     time.Time
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{weft.Describe[uint32](), "uint32"},
		{weft.Describe[int](), "int64"},
		{weft.Describe[[]uint32](), "[]uint32"},
		{weft.Describe[[4]float32](), "[4]float32"},
		{weft.Describe[point](), "struct{X float64;Y float64;Tag [3]uint8}"},
		{weft.Describe[map[string]*bool](), "map[string]*bool"},
		{weft.Describe[tree](), "struct{Name string;Children []*^1;Born time.Time}"},
		{weft.Describe[any](), "any"},
		{weft.Describe[struct{}](), "struct{}"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

// The same constant is in testdata/fingerprint.c: both languages compute it.
func TestFingerprintIsTheOneOfC(t *testing.T) {
	if got := weft.Fingerprint[[]uint32](); got != 0x9a582f7337719fac {
		t.Errorf("fingerprint of []uint32 is %#x", got)
	}
	compiler, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang")
	}
	program := filepath.Join(t.TempDir(), "fingerprint")
	out, err := exec.Command(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", "-I", "sdk/c", "-o", program, "testdata/fingerprint.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestPutTakeBorrow(t *testing.T) {
	for _, size := range []int{0, 1, 100, 16<<10 - 1, 16 << 10, 64 << 10, 1<<20 + 5} {
		slot := fmt.Sprint("bytes", size)
		want := bytes.Repeat([]byte{7, 1, 9}, size/3+1)[:size]
		if err := weft.Put(slot, want); err != nil {
			t.Fatal(err)
		}
		if err := weft.Put(slot, want); !errors.Is(err, weft.ErrExists) {
			t.Errorf("second put: %v", err)
		}
		if n, err := weft.Len(slot); n != int64(size) || err != nil {
			t.Errorf("length %d %v, want %d", n, err, size)
		}
		for _, read := range []func(string) (*weft.View, error){weft.Borrow, weft.Take} {
			v, err := read(slot)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(v.Bytes(), want) {
				t.Errorf("%d bytes came back different", size)
			}
			for i := range v.Bytes() {
				v.Bytes()[i] = 0xff // must not reach the next reader
			}
			if err := v.Release(); err != nil {
				t.Error(err)
			}
			if err := v.Release(); err != nil {
				t.Errorf("second release: %v", err)
			}
		}
		if _, err := weft.Take(slot); !errors.Is(err, weft.ErrNotFound) {
			t.Errorf("take of a consumed slot: %v", err)
		}
	}
}

func TestAllocIsZeroAfterReuse(t *testing.T) {
	for i := range 3 {
		slot := fmt.Sprint("part", i)
		b, err := weft.Alloc(100 << 10)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range b.Bytes() {
			if c != 0 {
				t.Fatalf("byte %d is %d", i, c)
			}
			b.Bytes()[i] = 1
		}
		b.Truncate(70 << 10)
		if err := b.Publish(slot); err != nil {
			t.Fatal(err)
		}
		if err := b.Release(); err != nil {
			t.Fatal(err)
		}
		v, err := weft.Take(slot)
		if err != nil || len(v.Bytes()) != 70<<10 || v.Bytes()[0] != 1 {
			t.Fatalf("%v, %d bytes", err, len(v.Bytes()))
		}
		if err := v.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Setenv("WEFT_STEP", "map")
	t.Setenv("WEFT_INDEX", "2")
	if err := weft.Put("words", []byte("x")); err != nil {
		t.Fatal(err)
	}
	ref, err := weft.RefTo("words")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(ref)
	if string(text) != `{"$buffer":"map[2]/words","size":1}` {
		t.Errorf("reference %s", text)
	}
	t.Setenv("WEFT_STEP", "reduce")
	t.Setenv("WEFT_INDEX", "")
	if _, err := weft.Borrow("words"); err != nil {
		t.Errorf("by its last part: %v", err)
	}
	if err := weft.Put("words", []byte("own")); err != nil {
		t.Fatal(err)
	}
	if v, err := weft.Take("words"); err != nil || string(v.Bytes()) != "own" {
		t.Errorf("own step does not come first: %v", err)
	}
	if _, err := ref.Take(); err != nil {
		t.Error(err)
	}
	if err := weft.Put("/all", nil); err != nil {
		t.Error(err)
	}
	if _, err := weft.Take("/all"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "a b", "other/x", strings.Repeat("x", 129)} {
		if err := weft.Put(name, nil); !errors.Is(err, weft.ErrName) {
			t.Errorf("put %q: %v", name, err)
		}
	}
}

func TestSlices(t *testing.T) {
	s, err := weft.AllocSlice[point](10_000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s {
		s[i].X = float64(i)
	}
	if err := weft.PutSlice("points", s); err != nil {
		t.Fatal(err)
	}
	if err := weft.Release(s); err != nil {
		t.Fatal(err)
	}
	if _, err := weft.TakeSlice[uint32]("points"); !errors.Is(err, weft.ErrType) {
		t.Errorf("as []uint32: %v", err)
	}
	got, err := weft.TakeSlice[point]("points")
	if err != nil || len(got) != 10_000 || got[9_999].X != 9_999 {
		t.Errorf("%v, %d points", err, len(got))
	}
	if err := weft.Release(got); err != nil {
		t.Error(err)
	}
	if err := weft.PutSlice("strings", []string{"a"}); err == nil || !strings.Contains(err.Error(), "no fixed size") {
		t.Errorf("slice of strings: %v", err)
	}
	if err := weft.PutSlice("small", []uint16{1, 2, 3}); err != nil {
		t.Error(err)
	}
	if got, err := weft.TakeSlice[uint16]("small"); err != nil || len(got) != 3 || got[2] != 3 {
		t.Errorf("%v %v", got, err)
	}
}

func TestValues(t *testing.T) {
	if err := weft.PutValue("raw", point{X: 1, Y: 2}); err != nil {
		t.Fatal(err)
	}
	if p, err := weft.BorrowValue[point]("raw"); err != nil || p.Y != 2 {
		t.Errorf("%v %v", p, err)
	}
	if _, err := weft.TakeValue[[2]float64]("raw"); !errors.Is(err, weft.ErrType) {
		t.Errorf("other type: %v", err)
	}
	want := tree{Name: "root", Children: []*tree{{Name: "leaf"}}}
	if err := weft.PutValue("json", want); err != nil {
		t.Fatal(err)
	}
	if got, err := weft.TakeValue[tree]("json"); err != nil || got.Children[0].Name != "leaf" {
		t.Errorf("%v %v", got, err)
	}
}

func TestWait(t *testing.T) {
	if err := weft.Wait("late", time.Millisecond); !errors.Is(err, weft.ErrTimeout) {
		t.Errorf("got %v", err)
	}
	published := make(chan error)
	go func() { published <- weft.Put("late", []byte("x")) }()
	if err := weft.Wait("late", -1); err != nil {
		t.Error(err)
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
	if _, err := weft.Take("late"); err != nil {
		t.Error(err)
	}
}

func TestConnections(t *testing.T) {
	l, err := weft.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("accept with nobody there: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := weft.Dial("127.0.0.1", 1); err == nil {
		t.Error("dial of a closed port succeeded")
	}
}

// A program built for the sandbox imports nothing but what the host offers.
func TestBuildsForTheSandbox(t *testing.T) {
	for _, mode := range []string{"default", "c-shared"} {
		cmd := exec.Command("go", "build", "-buildmode="+mode, "-o", filepath.Join(t.TempDir(), "f.wasm"), "./testdata/function")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
}

func TestInputAndOutput(t *testing.T) {
	in, out := os.Stdin, os.Stdout
	defer func() { os.Stdin, os.Stdout = in, out }()
	call := func(text string) (int32, string) {
		r, w, _ := os.Pipe()
		io.WriteString(w, text)
		w.Close()
		r2, w2, _ := os.Pipe()
		os.Stdin, os.Stdout = r, w2
		status := weft.Call()
		w2.Close()
		answer, _ := io.ReadAll(r2)
		return status, string(answer)
	}
	calls := 0
	weft.Resident(func(in struct{ N int }) (int, error) {
		if in.N < 0 {
			return 0, errors.New("negative")
		}
		calls++
		return in.N*10 + calls, nil
	})
	for _, c := range []struct {
		in     string
		status int32
		out    string
	}{
		{`{"N": 4}`, 0, "41\n"},
		{``, 0, "2\n"},
		{`{"N": -1}`, 1, ""},
		{`{"N": `, 1, ""},
		{`{"N": 1}`, 0, "13\n"},
	} {
		if status, out := call(c.in); status != c.status || out != c.out {
			t.Errorf("%s gave %d %q, want %d %q", c.in, status, out, c.status, c.out)
		}
	}
}
