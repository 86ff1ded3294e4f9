package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/yamlfile"
)

// compileSchema compiles the published schema.
func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("app.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("app.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// schemaVerdict says what the published schema thinks of an app file.
func schemaVerdict(s *jsonschema.Schema, src string) (accepts, readable bool) {
	r := yamlfile.NewReader("weft.yaml", form)
	root := r.Document([]byte(src))
	if root == nil || len(r.Errors()) > 0 {
		return false, false
	}
	return s.Validate(root.Plain()) == nil, true
}

// TestGolden runs the cases in testdata: app files, and below each what
// parsing it gives, for people to read. `go test -rewrite` writes the results
// anew.
func TestGolden(t *testing.T) {
	schema := compileSchema(t)
	for folder, wantValid := range map[string]bool{"valid": true, "errors": false} {
		cases := 0
		datadriven.Walk(t, filepath.Join("testdata", folder), func(t *testing.T, path string) {
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				cases++
				a, err := Parse("weft.yaml", []byte(d.Input))
				accepts, readable := schemaVerdict(schema, d.Input)
				if (err == nil) != wantValid {
					t.Errorf("%s: valid is %v, want %v: %v", d.Pos, err == nil, wantValid, err)
				}
				if err == nil {
					if !accepts {
						t.Errorf("%s: the schema refuses a valid file", d.Pos)
					}
					return dump(a)
				}
				out := err.Error() + "\n"
				if readable && accepts {
					out += "(the schema accepts this)\n"
				}
				if readable && accepts && strings.Contains(err.Error(), "unknown key") {
					t.Errorf("%s: the schema accepts an unknown key", d.Pos)
				}
				return out
			})
		})
		if least := map[bool]int{true: 10, false: 35}[wantValid]; cases < least {
			t.Errorf("%d cases in %s, want at least %d", cases, folder, least)
		}
	}
}

// dump writes what an App holds.
func dump(a *App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "app %s load=%s pass=%s\n", a.Name, a.Load, a.Pass)
	for _, name := range slices.Sorted(maps.Keys(a.Functions)) {
		f := *a.Functions[name]
		fmt.Fprintf(&b, "function %s at %d:%d\n", f.Name, f.Pos.Line, f.Pos.Column)
		v := reflect.ValueOf(f)
		for i := range v.NumField() {
			if field := v.Type().Field(i).Name; field != "Name" && field != "Pos" && field != "places" && !v.Field(i).IsZero() {
				fmt.Fprintf(&b, "  %s: %+v\n", field, v.Field(i))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Services)) {
		s := a.Services[name]
		fmt.Fprintf(&b, "service %s at %d:%d %s %s keyed=%v methods=%v attempts=%d timeout=%v retention=%v concurrency=%d env=%v memory=%d\n",
			s.Name, s.Pos.Line, s.Pos.Column, s.Code.Runtime, s.Code.Source, s.Keyed, s.Methods, s.Attempts, s.Timeout, s.Retention, s.Limits.Concurrency, s.Code.Env, s.Code.Memory)
		if s.Volatile || s.ObjectLocks || s.NoTransactions {
			fmt.Fprintf(&b, "  volatile=%v object-locks=%v no-transactions=%v\n", s.Volatile, s.ObjectLocks, s.NoTransactions)
		}
		if s.Limits.Rate > 0 || s.Limits.Key != (Limit{}) {
			fmt.Fprintf(&b, "  limits %+v\n", s.Limits)
		}
		if s.Callers != nil {
			fmt.Fprintf(&b, "  callers %+v\n", *s.Callers)
		}
		if s.Modes != nil {
			fmt.Fprintf(&b, "  modes %v\n", s.Modes)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Workflows)) {
		w, o := a.Workflows[name], a.Outlines[name]
		fmt.Fprintf(&b, "workflow %s at %d:%d", name, o.Pos.Line, o.Pos.Column)
		if o.Description != "" {
			fmt.Fprintf(&b, " %q", o.Description)
		}
		if w.Timeout > 0 {
			fmt.Fprintf(&b, " timeout=%v", w.Timeout)
		}
		if o.Retention > 0 {
			fmt.Fprintf(&b, " retention=%v", o.Retention)
		}
		fmt.Fprintf(&b, "%s\n", dumpTemplate("output", w.Output))
		if o.Input != nil {
			in, _ := json.Marshal(o.Input)
			fmt.Fprintf(&b, "  input %s\n", in)
		}
		for _, s := range w.Steps {
			at := o.Steps[s.Name]
			fmt.Fprintf(&b, "  step %s at %d:%d", s.Name, at.Line, at.Column)
			if !s.Call.IsZero() {
				fmt.Fprintf(&b, " call=%s:%s", s.Call.Kind, s.Call.Name)
			}
			if len(s.Needs) > 0 {
				fmt.Fprintf(&b, " needs=%v", s.Needs)
			}
			b.WriteString(dumpTemplate("with", s.With) + dumpTemplate("stdin", s.Stdin) + dumpTemplate("when", s.When) +
				dumpTemplate("foreach", s.Foreach) + dumpTemplate("wait", s.Wait))
			if s.Concurrency > 0 {
				fmt.Fprintf(&b, " concurrency=%d", s.Concurrency)
			}
			if s.Retry.Max > 0 {
				fmt.Fprintf(&b, " retry=%+v", s.Retry)
			}
			if s.Timeout > 0 {
				fmt.Fprintf(&b, " timeout=%v", s.Timeout)
			}
			if s.Catch != nil {
				fmt.Fprintf(&b, " catch(%s:%s%s%s)", s.Catch.Call.Kind, s.Catch.Call.Name, dumpTemplate("with", s.Catch.With), dumpTemplate("value", s.Catch.Value))
			}
			b.WriteByte('\n')
		}
	}
	for _, t := range a.Triggers {
		fmt.Fprintf(&b, "trigger %s at %d:%d\n", t.Name, t.Pos.Line, t.Pos.Column)
		v := reflect.ValueOf(t)
		for i := range v.NumField() {
			switch field := v.Type().Field(i).Name; field {
			case "Name", "Pos", "Filter", "With":
			default:
				if !v.Field(i).IsZero() {
					fmt.Fprintf(&b, "  %s: %+v\n", field, v.Field(i))
				}
			}
		}
		if !t.Filter.IsZero() {
			fmt.Fprintf(&b, " %s\n", dumpTemplate("Filter", t.Filter))
		}
		if !t.With.IsZero() {
			fmt.Fprintf(&b, " %s\n", dumpTemplate("With", t.With))
		}
	}
	return b.String()
}

func dumpTemplate(key string, t flow.Template) string {
	if t.IsZero() {
		return ""
	}
	if v, ok := t.Constant(); ok {
		j, _ := json.Marshal(v)
		return fmt.Sprintf(" %s=%s", key, j)
	}
	var list []string
	for _, x := range t.Expressions() {
		list = append(list, x.Path+"${"+x.Source+"}")
	}
	return fmt.Sprintf(" %s=%s", key, strings.Join(list, ","))
}

// TestSchemaKeys holds the schema against the tables that the parser reads.
func TestSchemaKeys(t *testing.T) {
	var doc struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	for object, keys := range map[string][]string{
		"":         yamlfile.Names(appFields),
		"function": yamlfile.Names(allFunctionFields),
		"workflow": yamlfile.Names(workflowFields),
		"step":     yamlfile.Names(stepFields),
		"retry":    yamlfile.Names(retryFields),
		"catch":    yamlfile.Names(catchFields),
		"trigger":  yamlfile.Names(triggerFields),

		"instances": yamlfile.Names(instanceFields),
		"secret":    yamlfile.Names(secretFields),
		"signal":    yamlfile.Names(signalFields),
	} {
		properties := doc.Properties
		if object != "" {
			properties = doc.Defs[object].Properties
		}
		if known := slices.Sorted(maps.Keys(properties)); !slices.Equal(known, slices.Sorted(slices.Values(keys))) {
			t.Errorf("%s: the schema has %v, the parser %v", object, known, slices.Sorted(slices.Values(keys)))
		}
	}
}

// Files that no person would put into a golden file.
func TestParseBadBytes(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 9; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Repeat(ref+",", 9)+ref)
	}
	for _, test := range []struct{ name, src, want string }{
		{"empty", "", "weft.yaml: file is empty"},
		{"comment only", "# nothing\n", "weft.yaml: file is empty"},
		{"binary", "\x7fELF\x00\xff\xfe", "weft.yaml:1:6: file is not text: byte 0xff is not UTF-8"},
		{"latin 1", "name: x\n# caf\xe9\n", "weft.yaml:2:6: byte 0xe9 is not UTF-8"},
		{"huge", strings.Repeat("# x\n", 300_000), "file has 1200000 bytes; the limit is 1048576"},
		{"alias bomb", bomb, "file holds more than 200000 values"},
		{"deep flow", "name: " + strings.Repeat("[", 5000), "values are nested more than 64 deep"},
		{"deep block", "name:\n" + strings.Repeat("- ", 5000) + "x", "values are nested more than 64 deep"},
		{"deep anchors", "name: " + strings.Repeat("&a ", 5000) + "x", "values are nested more than 64 deep"},
		{"many keys", strings.Repeat("a: 1\n", 30_000), "file has more than 20000 keys"},
		{"recursive alias", "name: &a [*a]\n", "alias *a has no anchor above it"},
		{"long expression", "name: x\nworkflows: {m: {steps: {a: {with: \"${ ." + strings.Repeat("x", 20_000) + " }\"}}}}\n", "expression has 20001 bytes; the limit is 16384"},
		{"long line", "name: x\nnmae: " + strings.Repeat("x", 100_000), "unknown key \"nmae\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := Parse("weft.yaml", []byte(test.src))
			if a != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %.2000v, want %q", err, test.want)
			}
			if len(err.Error()) > 20_000 {
				t.Errorf("message has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestLineEndsAndByteOrderMark(t *testing.T) {
	a, err := Parse("weft.yaml", []byte("\xef\xbb\xbfname: x\r\nfunctions:\r\n  f: {source: ./f}\r\n"))
	if err != nil || a.Functions["f"].Source != "./f" || a.Functions["f"].Pos != (Pos{Line: 3, Column: 3}) {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestPlacesOfFunctions(t *testing.T) {
	a, err := Parse("weft.yaml", []byte("name: x\nfunctions:\n  f:\n    source: ./f\n    memory: 1MiB\n    dial: [a.example:80,\n      b.example:80]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]Pos{
		"memory": {Line: 5, Column: 13}, "dial[0]": {Line: 6, Column: 12}, "dial[1]": {Line: 7, Column: 7}, "dial[2]": {Line: 3, Column: 3}, "files[0]": {Line: 3, Column: 3},
	} {
		if got := a.Functions["f"].Place(key); got != want {
			t.Errorf("%s is at %v, want %v", key, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "no such app file") || !strings.Contains(err.Error(), "weft init") {
		t.Errorf("without a file: %v", err)
	}
	file := filepath.Join(dir, FileName)
	if err := os.WriteFile(file, []byte("name: x\nfunctions: {f: {source: ./f}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file} {
		if a, err := Load(path); err != nil || a.Dir != dir || a.File != file {
			t.Errorf("Load(%s) = %+v, %v", path, a, err)
		}
	}
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), yamlfile.MaxSize+10), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "the limit is") {
		t.Errorf("huge file: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder in its place: %v", err)
	}
}

func TestErrorsAsData(t *testing.T) {
	_, err := Parse("weft.yaml", []byte("name: x\nfunctions:\n  f: {sorce: ./f}\n"))
	var list Errors
	var one *Error
	if !errors.As(err, &list) || !errors.As(err, &one) {
		t.Fatalf("got %T", err)
	}
	data, _ := json.Marshal(list)
	want := `[{"file":"weft.yaml","line":3,"column":3,"message":"function f has no source","hint":"add ` + "`source: ./f`" + `","excerpt":"    3 |   f: {sorce: ./f}\n      |   ^"},` +
		`{"file":"weft.yaml","line":3,"column":7,"message":"unknown key \"sorce\" in function f","hint":"did you mean \"source\"?","excerpt":"    3 |   f: {sorce: ./f}\n      |       ^^^^^"}]`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}

func TestCheckInput(t *testing.T) {
	a, err := Parse("weft.yaml", []byte("name: x\nworkflows:\n  main:\n    input: {type: object, required: [n], properties: {n: {type: integer, minimum: 1}}}\n    steps: {a: {with: 1}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	o := a.Outlines["main"]
	if err := o.CheckInput(map[string]any{"n": 2.0}); err != nil {
		t.Error(err)
	}
	if err := o.CheckInput(map[string]any{"n": 0}); err == nil || !strings.Contains(err.Error(), "/n") {
		t.Errorf("got %v", err)
	}
	if err := (*Outline)(nil).CheckInput(1); err != nil {
		t.Error(err)
	}
}

// The same strings, written in the ways that YAML has, point at the same
// character.
func TestPlaceInScalars(t *testing.T) {
	for _, test := range []struct {
		src  string
		want Pos
	}{
		{"name: x\nworkflows: {m: {steps: {a: {with: \"${ 1 + % }\"}}}}\n", Pos{Line: 2, Column: 43}},
		{"name: x\nworkflows: {m: {steps: {a: {with: '${ 1 + % }'}}}}\n", Pos{Line: 2, Column: 43}},
		{"name: x\nworkflows: {m: {steps: {a: {with: \"\\u00e9\\t${ 1 + % }\"}}}}\n", Pos{Line: 2, Column: 51}},
		{"name: x\nworkflows: {m: {steps: {a: {with: 'it''s ${ 1 + % }'}}}}\n", Pos{Line: 2, Column: 49}},
		{"name: x\nworkflows:\n  m:\n    steps:\n      a:\n        with: é ${ 1 + % }\n", Pos{Line: 6, Column: 24}},
		{"name: x\nworkflows:\n  m:\n    steps:\n      a:\n        with: |\n          first\n          é ${ 1 + % }\n", Pos{Line: 8, Column: 20}},
		{"name: x\nworkflows:\n  m:\n    steps:\n      a:\n        with: >-\n          ${ 1\n          + % }\n", Pos{Line: 8, Column: 13}},
		{"name: x\nworkflows:\n  m:\n    steps:\n      a:\n        with: \"${ 1\n          + % }\"\n", Pos{Line: 7, Column: 13}},
	} {
		_, err := Parse("weft.yaml", []byte(test.src))
		var e *Error
		if !errors.As(err, &e) || (Pos{Line: e.Line, Column: e.Column}) != test.want {
			t.Errorf("%q:\ngot %v, want %v", test.src, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*/*")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "\n\n") {
			if _, rest, ok := strings.Cut(part, "parse\n"); ok {
				src, _, _ := strings.Cut(rest, "\n----")
				f.Add([]byte(src))
			}
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		a, err := Parse("weft.yaml", src)
		if (a == nil) == (err == nil) {
			t.Fatalf("app %v, error %v", a, err)
		}
		var list Errors
		if err != nil && !errors.As(err, &list) {
			t.Fatalf("error of type %T", err)
		}
		for _, e := range list {
			if e.Message == "" || e.Line < 0 || e.Column < 0 {
				t.Errorf("bad error %+v", e)
			}
			_ = e.Render()
		}
	})
}
