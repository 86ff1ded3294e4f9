package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/node"
)

func TestOutput(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct {
		name, function, do string
		kind, want         string // want: of the failure, or with kind "" the output
	}{
		{"json", "{source: ACTOR}", "raw 5b312c325d", "", "[1 2]"},
		{"nothing", "{source: ACTOR}", "raw", "", "<nil>"},
		{"not json", "{source: ACTOR}", "raw 68656c6c6f", "output", `its output is not JSON (invalid character 'h' looking for beginning of value): "hello"; print one JSON value on stdout and logs on stderr, or say output: text`},
		{"two values", "{source: ACTOR}", "raw 312032", "output", "there is more after the first value"},
		{"half a value", "{source: ACTOR}", "raw 5b312c", "output", "unexpected EOF"},
		{"text", "{source: ACTOR, output: text}", "raw 68c3a9", "", "hé"},
		{"text not UTF-8", "{source: ACTOR, output: text}", "raw 68ff", "output", "its output is not UTF-8 text; say output: bytes"},
		{"over max_output", "{source: ACTOR, output: text, max_output: 1000B}", "emit 1001", "output", "standard output is longer than 1000 bytes; raise max_output, or put a buffer"},
		{"at max_output", "{source: ACTOR, output: text, max_output: 1000B}", "emit 1000", "", strings.Repeat("e", 1000)},
		{"over max_output as a buffer", "{source: ACTOR, output: text, max_output: 1MiB}", "emit 1048577", "output", "standard output is longer than 1048576 bytes"},
		{"exit status", "{source: ACTOR}", "exit 7", "exit", "step s: function f exited with status 7"},
		{"trap", "{source: ACTOR}", "trap", "trap", "step s: function f trapped: wasm `unreachable` instruction executed"},
		{"trap says where", "{source: ACTOR}", "trap", "trap", "actor.c:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := load(t, fmt.Sprintf("functions:\n  f: %s\nworkflows:\n  main:\n    steps:\n      s: {call: f, with: {do: %q}}\n", test.function, test.do))
			r := run(t, n, a)
			if test.kind == "" {
				wantOutput(t, r, test.want)
			} else {
				wantFailure(t, r, test.kind, test.want)
			}
		})
	}
}

func TestLongOutputIsReference(t *testing.T) {
	n := newNode(t)
	for _, pass := range []string{"reference", "file"} {
		for _, test := range []struct {
			output string
			size   int
		}{{"json", 65537}, {"text", 3 << 20}, {"bytes", 5}, {"bytes", 0}, {"bytes", 200_000}} {
			t.Run(fmt.Sprintf("%s %s %d", pass, test.output, test.size), func(t *testing.T) {
				a := load(t, fmt.Sprintf(`
functions:
  emit: {source: ACTOR, output: %s}
  read: {source: ACTOR, args: [do, input]}
workflows:
  main:
    steps:
      a: {call: emit, with: {do: emit %d}}
      b: {call: read, needs: [a], stdin: "${ .a }"}
    output: ["${ .a }", "${ .b[0] }"]
`, test.output, test.size))
				r := run(t, n, a, func(r *node.RunRequest) { r.Pass = pass })
				if r.Failure != nil {
					t.Fatal(r.Failure.Error())
				}
				out := r.Output.([]any)
				want := strings.Repeat("e", test.size)
				if got := content(t, r, out[0]); got != want {
					t.Errorf("the buffer holds %d bytes, want %d", len(got), len(want))
				}
				if size := out[0].(map[string]any)["size"]; fmt.Sprint(size) != fmt.Sprint(test.size) {
					t.Errorf("size %v, want %d", size, test.size)
				}
				if said, want := fmt.Sprint(out[1]), fmt.Sprintf("input: %d bytes of %d", test.size, checksum(want)); said != want {
					t.Errorf("the next step read %q, want %q", said, want)
				}
			})
		}
	}
}

func TestLongInput(t *testing.T) {
	n := newNode(t)
	a := load(t, "functions:\n  f: {source: ACTOR, args: [do, input]}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n")
	for _, size := range []int{0, 65534, 65535, 65536, 1 << 20} {
		text := strings.Repeat("i", size)
		r := run(t, n, a, func(r *node.RunRequest) { r.Input = text })
		wantOutput(t, r, fmt.Sprintf("[input: %d bytes of %d]", size+2, checksum(`"`+text+`"`)))
	}
}

// checksum is the actor's.
func checksum(s string) (h uint32) {
	for i := range len(s) {
		h = h*31 + uint32(s[i])
	}
	return h
}
