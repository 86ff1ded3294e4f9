package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/itchyny/gojq"
)

// Each expression gives the same for the parts of the scope that it is said
// to read as for the whole scope.
func TestExpressionReads(t *testing.T) {
	var scope map[string]any
	if err := json.Unmarshal([]byte(`{"a": {"list": [1, 2], "n": 3, "b": "k", "k": 9}, "b": "k", "input": {"x": [1, 2]}, "run": {"id": "r"}}`), &scope); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ source, reads string }{
		{".", "*"},
		{".a", "a"},
		{".a.list[0]", "a"},
		{`.a["list"][ -1 ]`, "a"},
		{`.["a"].n`, "a"},
		{`.a[.b]`, "a b"},
		{`.a | .b`, "a"},
		{`.a | .n, .b`, ""},
		{`[.a | .n, .b]`, "a"},
		{`[.a.list[] | select(. > 1)] | length`, "a"},
		{`(.a | length) > (.b | length)`, "a b"},
		{`(.a | length) > length`, "*"},
		{`keys`, "*"},
		{`.a | keys`, "a"},
		{`. | keys`, "*"},
		{`{x: .a.n | . + 1, y: .b}`, "a b"},
		{`{a}`, "*"},
		{`{"q": .a}`, "a"},
		{`if .a.n > 2 then .b | length else .input end`, "a b input"},
		{`if .a.n > 5 then .b | length else . end`, "*"},
		{`.a.n as $x | .b + ($x | tostring)`, "*"},
		{`.a.n = 1`, "*"},
		{`.a.n |= 1`, "*"},
		{`.a | .n |= . + 1`, "a"},
		{`.a.n += 1`, "*"},
		{`.a.n == 3 and .b != "z" or false`, "a b"},
		{`.a.n >= 3 // .input`, "a input"},
		{`"\(.b)"`, "*"},
		{`.a.none?`, "a"},
		{`.a."list"`, "a"},
		{`."a"`, "*"},
		{`..|numbers`, ""},
		{`[.a | ..] | length`, "a"},
		{`reduce .a.list[] as $n (0; . + $n)`, "*"},
		{`.a.list | map(. + 1)`, "a"},
		{`.a.list | map(. + 1) | .[1:]`, "a"},
		{`.a.list[1:] | first(.[])`, "a"},
		{`.a.list + [.5, 1.5, 2]`, "a"},
		{`1 + 2`, ""},
		{`null`, ""},
		{`$ENV | length`, "*"},
		{`.b | @base64`, "*"},
		{`try error("x") catch .`, "*"},
		{`[limit(1; .a.list[])]`, "*"},
		{`.a | has("n") and has("z")`, "a"},
		{`.a .n`, "a"},
		{`-.a.n`, "a"},
	} {
		e := parseExpression(test.source, "")
		reads := strings.Join(e.reads, " ")
		if e.whole {
			reads = "*"
		}
		if test.reads != "" && reads != test.reads {
			t.Errorf("%s reads %q, want %q", test.source, reads, test.reads)
		}
		part := map[string]any{}
		for name, v := range scope {
			if e.whole || slices.Contains(e.reads, name) {
				part[name] = v
			}
		}
		query, err := gojq.Parse(test.source)
		if err != nil {
			t.Fatalf("%s: %v", test.source, err)
		}
		want := results(query, scope)
		if got := results(query, part); got != want {
			t.Errorf("%s gives %s for what it reads, %s for all", test.source, got, want)
		}
		if !e.Plain() {
			continue
		}
		v, err := lookup(scope, e.path)
		if got := fmt.Sprintln(v, err); got != want {
			t.Errorf("lookup %s gives %s, jq gives %s", test.source, got, want)
		}
	}
}

func results(query *gojq.Query, input any) string {
	var b strings.Builder
	iter := query.Run(input)
	for v, ok := iter.Next(); ok; v, ok = iter.Next() {
		err, failed := v.(error)
		if failed {
			v = nil
		}
		fmt.Fprintln(&b, v, err)
	}
	return b.String()
}

// A plain path gives what jq gives for it: the same value, or also an error.
func FuzzLookup(f *testing.F) {
	for _, source := range []string{".", ".a.b[0].c", `.a["b"][-1]`, ".a[0].b", ".n.x", ".a.none.x[3]", `.["a"]`, ".[0]", " .a ", ".a[ 1 ]", `.a["\u0062"]`, ".a[007]"} {
		f.Add(source)
	}
	input := map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": 1}, nil}}, "n": 2, "s": "x", "l": []any{1, 2}}
	f.Fuzz(func(t *testing.T, source string) {
		path, plain := parsePath(source)
		if !plain {
			return
		}
		query, err := gojq.Parse(source)
		if err != nil {
			t.Fatalf("%q is not jq: %v", source, err)
		}
		want, _ := query.Run(input).Next()
		wantErr, failed := want.(error)
		got, err := lookup(input, path)
		if failed != (err != nil) || !failed && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q gives %v, %v; jq gives %v, %v", source, got, err, want, wantErr)
		}
	})
}
