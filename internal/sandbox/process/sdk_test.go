package process

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/buffer"
)

// sdkFunctions compiles a program for each SDK; both do the same. It skips the
// one whose compiler is not there.
func sdkFunctions(t *testing.T, each func(t *testing.T, f *Function)) {
	t.Run("go", func(t *testing.T) {
		dir := folder(t)
		goBuild(t, "build", "-o", filepath.Join(dir, "main"), "./testdata/slots")
		each(t, &Function{Name: "f", Version: unique(), Runtime: Native, Dir: dir, Program: "main"})
	})
	source, err := os.ReadFile("testdata/slots.c")
	if err != nil {
		t.Fatal(err)
	}
	include := sdkInclude(t)
	for name, link := range map[string]string{"c": "-static", "c dynamic": "-rdynamic"} {
		t.Run(name, func(t *testing.T) {
			each(t, cFunction(t, string(source), "-std=c99", "-Wall", "-Wextra", "-Werror", "-DWEFT_MAIN", "-pthread", link, "-I", include))
		})
	}
}

// sdkInclude is the folder of weft.h.
func sdkInclude(t testing.TB) string {
	t.Helper()
	include, err := filepath.Abs("../../../sdk/c")
	if err != nil {
		t.Fatal(err)
	}
	return include
}

// goBuild runs the go command for a program without cgo.
func goBuild(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("go is not installed: ", err)
	}
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// doomed are slots of which one can never be there.
type doomed struct{ *attempt }

func (d doomed) Wait(ctx context.Context, name string) error {
	if name == "dead/lock" {
		return &buffer.Deadlock{Waits: []buffer.Wait{{Attempt: d.a, Name: name}}}
	}
	return d.attempt.Wait(ctx, name)
}

func TestSDKs(t *testing.T) {
	for _, kind := range []Resident{ResidentNone, ResidentHandler} {
		t.Run(cmp.Or(string(kind), "process"), func(t *testing.T) { exerciseSDKs(t, kind) })
	}
}

func exerciseSDKs(t *testing.T, kind Resident) {
	p := newPool(t, Options{})
	sdkFunctions(t, func(t *testing.T, f *Function) {
		f.Resident, f.Workers, f.Limits.Memory = kind, 1, 2<<30
		m := newMemory(t, 256<<20)
		do := func(t *testing.T, what, step string) []string {
			t.Helper()
			r := run(t, p, Call{Function: f, Slots: doomed{m.attempt(step)}, Input: []byte(`{"do": "` + what + `"}`), Log: func(l string) { t.Log(l) },
				Run: "run", Step: "map", Attempt: 3, Key: "key", Env: []string{"WEFT_INDEX=2"}})
			if r.Failure != nil {
				t.Fatal(r.Failure)
			}
			var said []string
			if err := json.Unmarshal(r.Output, &said); err != nil {
				t.Fatalf("%s: %v", r.Output, err)
			}
			return said
		}
		t.Run("operations", func(t *testing.T) {
			for _, step := range []string{"a", "b"} {
				if err := m.attempt(step).Put("twice", buffer.Value{Holder: &buffer.Inline{}}); err != nil {
					t.Fatal(err)
				}
			}
			const no, missing, late = "no error", "no such slot", "timed out"
			want := []string{no, "slot is already published", no, "slot holds another type", no, missing, missing, "not a name of a slot", "not a name of a slot",
				"several slots have this name, write it with its step", "buffer quota of the run is exceeded", "buffer quota of the run is exceeded",
				late, late, "nobody is left to publish the slot", "not granted by the app file", "not granted by the app file"}
			if got := do(t, "operations", "operations"); !slices.Equal(got, want) {
				t.Errorf("got\n%q, want\n%q", got, want)
			}
		})
		t.Run("publish", func(t *testing.T) {
			if got, want := do(t, "publish", "publish"), []string{"aa", "aa", "ac", "ba"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			segments := map[string]uint64{}
			for slot, want := range map[string]string{"data": "aa", "same": "aa", "view": "ac", "again": "ba"} {
				v, err := m.attempt("look").Borrow("publish/"+slot, 0)
				if err != nil {
					t.Fatal(err)
				}
				g := v.Holder.(*buffer.Segment)
				b := make([]byte, v.Len)
				if _, err := g.ReadAt(b, 0); err != nil || string(b[:2]) != want || len(b) != 1<<20 || b[1<<20-1] != 'a' {
					t.Errorf("%s begins with %q and has %d bytes, %v; want %q", slot, b[:2], len(b), err, want)
				}
				segments[slot] = g.ID()
			}
			if segments["same"] != segments["data"] {
				t.Error("a view that nobody wrote to was copied")
			}
			if segments["view"] == segments["data"] || segments["again"] == segments["data"] {
				t.Error("what was written to is published by reference")
			}
		})
		t.Run("large", func(t *testing.T) {
			for _, side := range []string{"make", "use"} {
				got := do(t, side, side)
				if got[0] != "1966080" { // 16384 pages of 'x'
					t.Errorf("%s: sum of the pages is %s", side, got[0])
				}
				if got[1] != "0" {
					t.Errorf("%s: the buffer begins %s bytes behind a multiple of 2 MiB, so nothing can be mapped in huge pages", side, got[1])
				}
				if got[2] != "0" || got[3] != "4" {
					t.Errorf("%s: %s and then %s times 16 MiB are private; none want to be before it writes, 64 MiB after", side, got[2], got[3])
				}
			}
		})
		t.Run("threads", func(t *testing.T) {
			if got := do(t, "threads", "threads"); !slices.Equal(got, []string{"no error"}) {
				t.Error(got)
			}
		})
		t.Run("context", func(t *testing.T) {
			if got, want := do(t, "context", "map"), []string{"run", "map", "3", "key", "map[2]/x"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	})
}

// The tests of the Go SDK itself, which run over a table in memory where they are, run here as a native function.
func TestTestsOfTheGoSDK(t *testing.T) {
	p := newPool(t, Options{})
	dir := folder(t)
	goBuild(t, "test", "-c", "-o", filepath.Join(dir, "main"), "github.com/weft-run/weft")
	f := &Function{Name: "f", Version: unique(), Runtime: Native, Dir: dir, Program: "main", Args: []string{"-test.v", "-test.run", "^Test(PutTakeBorrow|AllocIsZeroAfterReuse|Slices|Values|Wait)$"}}
	r := run(t, p, Call{Function: f, Slots: newMemory(t, 0).attempt("test"), Log: func(l string) { t.Log(l) }})
	if out := string(r.Output); r.Failure != nil || strings.Count(out, "--- PASS") != 5 {
		t.Errorf("%v\n%s", r.Failure, out)
	}
}

// A control socket that ends in the middle is an error, not a hang.
func TestControlSocketEnds(t *testing.T) {
	sdkFunctions(t, func(t *testing.T, f *Function) {
		conn, theirs, err := newPair(frameMax)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(f.Dir, "main"))
		cmd.Env, cmd.ExtraFiles = []string{"WEFT_FD=3"}, []*os.File{theirs}
		cmd.Stdin = strings.NewReader(`{"do": "publish"}`)
		cmd.Stderr = io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		if _, _, err := conn.receive(); err != nil {
			t.Fatal(err)
		}
		conn.close()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("ended with %v, want status 1", err)
		}
	})
}

func TestResidentNative(t *testing.T) {
	p := newPool(t, Options{})
	sdkFunctions(t, func(t *testing.T, f *Function) {
		f.Resident, f.Workers = ResidentHandler, 1
		f.Limits.Time, f.Limits.CPU = 2*time.Second, time.Second
		m := newMemory(t, 0)
		calls := 0
		for _, c := range []struct{ do, want, kind, message, log string }{
			{do: "count", want: `["1"]`},
			{do: "count", want: `["2"]`},
			{do: "fail", kind: KindExit, message: "exited with status 1", log: "failed, as wanted"},
			{do: "log", want: "[]", log: "first\nsecond"},
			{do: "count", want: `["3"]`},
			{do: "keep", kind: KindExit, message: "published what it can still write"},
			{do: "exit", kind: KindExit, message: "exited with status 3"},
			{do: "count", want: `["1"]`}, // of another worker
			{do: "abort", kind: KindExit, log: "aborted, as wanted"},
			{do: "sleep", kind: KindTimeout, message: "ran longer than 2s"},
			{do: "count", want: `["1"]`},
		} {
			if c.do == "keep" && strings.HasSuffix(t.Name(), "/go") { // its SDK has no way to
				continue
			}
			calls++
			var log logged
			r := run(t, p, Call{Function: f, Input: []byte(`{"do": "` + c.do + `", "pad": "` + strings.Repeat("x", calls*4000) + `"}`), Log: log.add, Slots: m.attempt(fmt.Sprint(calls))})
			if c.kind == "" && (r.Failure != nil || strings.TrimSpace(string(r.Output)) != c.want) {
				t.Errorf("%s: %q, %v", c.do, r.Output, r.Failure)
			}
			if c.kind != "" && (r.Failure == nil || r.Failure.Kind != c.kind || !strings.Contains(r.Failure.Message, c.message)) {
				t.Errorf("%s: %+v, want %s with %q", c.do, r.Failure, c.kind, c.message)
			}
			if !strings.Contains(log.text(), c.log) || c.log == "" && log.text() != "" {
				t.Errorf("%s: log %q, want %q", c.do, log.text(), c.log)
			}
		}
	})
}

// BenchmarkResidentNative measures a call of a worker, from before Start until after Wait.
func BenchmarkResidentNative(b *testing.B) {
	p := newPool(b, Options{Log: func(string, string) {}})
	f := cFunction(b, "#include <weft.h>\nWEFT_HANDLER(empty) { return weft_return_json(\"1\"); }\n", "-DWEFT_MAIN", "-pthread", "-static", "-I", sdkInclude(b))
	for _, kind := range []Resident{ResidentNone, ResidentHandler} {
		b.Run(cmp.Or(string(kind), "process"), func(b *testing.B) {
			of := *f
			of.Version, of.Resident, of.Workers = unique(), kind, 1
			m := newMemory(b, 0)
			run(b, p, Call{Function: &of, Slots: m.attempt("first")})
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if r := run(b, p, Call{Function: &of, Input: []byte("{}"), Slots: m.attempt("x")}); r.Failure != nil {
					b.Fatal(r.Failure)
				}
				took = append(took, time.Since(began))
			}
			report(b, took)
		})
	}
}
