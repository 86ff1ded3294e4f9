package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/node"
)

// TestExpression evaluates expressions that are more than paths: they run in a
// process of their own, which is ended when they take too much.
func TestExpression(t *testing.T) {
	n := newNode(t)
	input := map[string]any{"list": []any{3, 1, 2}, "name": "weft"}
	for _, test := range []struct{ name, expression, kind, want string }{
		{"arithmetic", "1 + 1", "", "2"},
		{"functions", ".input.list | sort | map(. * 2)", "", "[2 4 6]"},
		{"text", `"\(.input.name)!" | ascii_upcase`, "", "WEFT!"},
		{"big numbers", "9007199254740993 | tostring", "", "9007199254740993"},
		{"nothing", "empty", "expression", "it gives no value"},
		{"two values", "1, 2", "expression", "it gives more than one value; wrap it in [ ]"},
		{"an error", `error("so it is")`, "expression", "so it is"},
		{"a type error", ".input.name + 1", "expression", `cannot add: string ("weft") and number (1)`},
		{"no environment", "[env | length, ($ENV | length)]", "", "[0 0]"},
		{"a long value", `.input.name * 30000`, "expression", "the limit is 65536: pass a buffer instead"},
		{"a deep recursion", "def f: 1 + f; f", "expression", ""},
		{"memory", "[range(1e9)] | length", "expression", ""},
		{"after all that", "2 + 2", "", "4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := load(t, "functions:\n  f: {source: ./f.wasm}\nworkflows:\n  main:\n    steps:\n      s: {with: '${ "+strings.ReplaceAll(test.expression, "'", "''")+" }'}\n", "f.wasm", string(moduleOf("", 0)))
			r := run(t, n, a, func(r *node.RunRequest) { r.Input = input })
			if test.kind == "" {
				wantOutput(t, r, test.want)
			} else {
				wantFailure(t, r, test.kind, "step s: ", test.want)
			}
		})
	}
}

// An expression that is too long to send is an error, and not the end of the
// evaluator.
func TestLongExpression(t *testing.T) {
	n := newNode(t)
	module := string(moduleOf("", 0))
	long := `\"` + strings.Repeat("x", 15_000) + `\" | length`
	var with []string
	for range 12 {
		with = append(with, `"${ `+long+` }"`)
	}
	a := load(t, "functions:\n  f: {source: ./f.wasm}\nworkflows:\n  main:\n    steps:\n      s: {with: ["+strings.Join(with, ", ")+"]}\n", "f.wasm", module)
	wantFailure(t, run(t, n, a), "expression", "step s: ", "the limit is ")
	a = load(t, "functions:\n  f: {source: ./f.wasm}\nworkflows:\n  main:\n    steps:\n      s: {with: '${ 1 + 2 }'}\n", "f.wasm", module)
	wantOutput(t, run(t, n, a), "3")
}

// A scope of any size reaches the evaluator.
func TestLongScope(t *testing.T) {
	n := newNode(t)
	a := load(t, "functions:\n  f: {source: ./f.wasm}\nworkflows:\n  main:\n    steps:\n      s: {with: '${ .input | length }'}\n", "f.wasm", string(moduleOf("", 0)))
	for _, size := range []int{60_000, 70_000, 999_999} {
		r := run(t, n, a, func(r *node.RunRequest) { r.Input = strings.Repeat("x", size) })
		wantOutput(t, r, fmt.Sprint(size))
	}
}
