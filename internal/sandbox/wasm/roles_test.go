package wasm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEvaluate(t *testing.T) {
	scope := `{"input": {"n": 3, "list": [1, 2.5, "x"], "big": 12345678901234567890}}`
	for _, test := range []struct {
		expressions string // separated by ";;"
		want, err   string
	}{
		{".input.n + 1", "[4]", ""},
		{".input.n;;.input.list", `[3,[1,2.5,"x"]]`, ""},
		{".input.big", "[12345678901234567890]", ""},
		{".missing", "[null]", ""},
		{"{a: 1, b: [.input.n]}", `[{"a":1,"b":[3]}]`, ""},
		{`"<&>"`, `["<&>"]`, ""},
		{"nan", "[null]", ""},
		{"empty", "", "expression empty: it gives no value"},
		{".input.list[]", "", "expression .input.list[]: it gives more than one value; wrap it in [ ]"},
		{"1, error(\"later\")", "", "it gives more than one value"},
		{"error(\"now\")", "", "expression error(\"now\"): error: now"},
		{"halt_error", "", "expression halt_error: "},
		{"1 +", "", "expression 1 +: unexpected EOF"},
		{"nonsense", "", "expression nonsense: function not defined: nonsense/0"},
		{"import \"a\" as a; 1", "", "expression import"},
		{"input", "", "expression input: "},
		{"env.PATH", "[null]", ""},
		{"$ENV.PATH", "[null]", ""},
		{".input.n;;.input | keys[9]", "[3,null]", ""},
	} {
		got, err := evaluate(strings.Split(test.expressions, ";;"), []byte(scope))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: error %v, want %q", test.expressions, err, test.err)
			}
		} else if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v; want %s", test.expressions, got, err, test.want)
		}
	}
	if _, err := evaluate([]string{"."}, []byte("{")); err == nil || !strings.Contains(err.Error(), "read scope") {
		t.Errorf("half a scope: %v", err)
	}
}

// traps is a C program whose lines are looked up.
const traps = `
static volatile int zero;

__attribute__((noinline)) int divide(int n) {
	return n / zero; /* line 5 */
}

__attribute__((noinline)) int call(int n) {
	return divide(n) + 1; /* line 9 */
}

int main(int argc, char **argv) {
	return call(argc);
}
`

func TestLocate(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang, lld and wasi-libc: run make deps")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "traps.c"), []byte(traps), 0o644); err != nil {
		t.Fatal(err)
	}
	build := func(out string, flags ...string) []byte {
		cmd := exec.Command(clang, append(flags, "--target=wasm32-wasi", "-O1", "traps.c", "-o", out)...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("needs clang, lld and wasi-libc: run make deps: %s", text)
		}
		b, err := os.ReadFile(filepath.Join(dir, out))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	lookUp := func(file string, offsets ...uint64) []string {
		f, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return locate(offsets, []*os.File{f}).Lines
	}
	wasm := build("debug.wasm", "-g")
	// i32.div_s is found in the code by what stands around it: a load of zero, and
	// the end of the function.
	code, sections := sectionsOf(wasm)
	if code == 0 || len(sections[".debug_line"]) == 0 {
		t.Fatalf("code at %d, sections %d", code, len(sections))
	}
	div := bytes.Index(wasm[code:], []byte{0x6d, 0x0b})
	if div < 0 {
		t.Fatal("the module divides nowhere")
	}
	at := code + uint64(div)
	if got := lookUp("debug.wasm", at, 0, 1<<40); !slices.Equal(got, []string{"traps.c:5", "", ""}) {
		t.Errorf("lines %q", got)
	}
	build("plain.wasm", "-s")
	if got := lookUp("plain.wasm", at); !slices.Equal(got, []string{""}) {
		t.Errorf("lines of a module without debug information: %q", got)
	}
	// Whatever a module holds, looking it up ends and does not panic.
	for n := 0; n < len(wasm); n += 97 {
		if err := os.WriteFile(filepath.Join(dir, "cut.wasm"), wasm[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if got := lookUp("cut.wasm", at); len(got) != 1 {
			t.Errorf("cut at %d: %q", n, got)
		}
	}
	info := bytes.Index(wasm, sections[".debug_info"])
	line := bytes.Index(wasm, sections[".debug_line"])
	for i := range 200 {
		damaged := bytes.Clone(wasm)
		damaged[info+i%len(sections[".debug_info"])] ^= 0x55
		damaged[line+(i*7)%len(sections[".debug_line"])] ^= 0xaa
		if err := os.WriteFile(filepath.Join(dir, "damaged.wasm"), damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := lookUp("damaged.wasm", at); len(got) != 1 {
			t.Errorf("damaged at %d: %q", i, got)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		s    string
		most int
		want string
	}{{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"aäb", 2, "a…"}} {
		if got := shorten(test.s, test.most); got != test.want {
			t.Errorf("shorten(%q, %d) = %q", test.s, test.most, got)
		}
	}
}
