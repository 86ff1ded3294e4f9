package alloystack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weft-run/weft/internal/flow"
)

// TestFiles reads the files of testdata. In each, `read NAME` is followed by a
// workflow file, and gives what was read, or all that is wrong with it.
// `go test -rewrite` writes the outputs anew.
func TestFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no files", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				if d.Cmd != "read" {
					d.Fatalf(t, "unknown command %q", d.Cmd)
				}
				f, err := Read(d.CmdArgs[0].Key, []byte(d.Input))
				if err != nil {
					return err.Error()
				}
				return describe(t, f)
			})
		})
	}
}

func describe(t *testing.T, f *File) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", f.Name)
	if f.Image != "" {
		fmt.Fprintf(&b, " image %s,", f.Image)
	}
	if !f.LibOS {
		b.WriteString(" without libos,")
	}
	fmt.Fprintf(&b, " modules %v, functions %v\n", f.Modules(), f.Functions())
	for _, s := range f.Services {
		if s.Library != "lib"+s.Name+".so" {
			fmt.Fprintf(&b, "%s is %s\n", s.Name, s.Library)
		}
	}
	w := f.Workflow()
	if problems := flow.Check(w, nil); problems != nil {
		t.Fatalf("the workflow is not sound: %v", problems)
	}
	g, err := flow.NewGraph(w)
	if err != nil {
		t.Fatal(err)
	}
	for i, level := range g.Levels() {
		fmt.Fprintf(&b, "stage %d", i)
		if i > 0 {
			fmt.Fprintf(&b, " after %s", strings.Join(g.Step(level[0]).Needs, ", "))
		}
		b.WriteString("\n")
		for _, name := range level {
			s := g.Step(name)
			fmt.Fprintf(&b, "  %s: %s", name, s.Call.Name)
			if v, ok := s.With.Constant(); ok {
				fmt.Fprintf(&b, " with %s", toJSON(t, v))
			}
			if v, ok := s.Foreach.Constant(); ok {
				for _, item := range v.([]any) {
					fmt.Fprintf(&b, "\n    with %s", toJSON(t, item))
				}
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func toJSON(t *testing.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every step of a stage waits for every step of the stage before.
func TestBarrier(t *testing.T) {
	f, err := Read("w.json", []byte(`{"services": [], "apps": [["a", "liba.so"], ["b", "libb.so"]],
		"groups": [{"list": ["a", "b", "a"]}, {"list": ["b", "b"]}, {"list": ["b", "a"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	m, err := flow.New(flow.Spec{Workflow: f.Workflow(), RunID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	var trace []string
	todo := m.Apply(flow.Started{}, 0)
	for len(todo) > 0 {
		var open []flow.CallID
		var started []string
		for _, c := range todo {
			if c, ok := c.(flow.StartCall); ok {
				open, started = append(open, c.Call), append(started, c.Path)
			}
		}
		trace = append(trace, strings.Join(started, " "))
		todo = nil
		for i, id := range open {
			if todo = m.Apply(flow.StepFinished{Call: id}, 0); i < len(open)-1 {
				for _, c := range todo {
					if c, ok := c.(flow.StartCall); ok {
						t.Errorf("%s starts before its stage", c.Path)
					}
				}
			}
		}
	}
	if got, want := strings.Join(trace, "; "), "a_0_0 b_0_1 a_0_2; b_1[0] b_1[1]; b_2_0 a_2_1; "; got != want {
		t.Errorf("the stages are %q, want %q", got, want)
	}
	if m.Status() != flow.Succeeded {
		t.Errorf("the run %s", m.Status())
	}
}

// What Read accepts makes a workflow that is sound; what it refuses has a
// place within the file.
func FuzzRead(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for section := range strings.SplitSeq(string(text), "\nread ") {
			_, body, _ := strings.Cut(section, "\n")
			body, _, _ = strings.Cut(body, "\n----")
			f.Add([]byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Read("f.json", src)
		if err != nil {
			lines := strings.Count(string(src), "\n") + 1
			problems := err.(*InvalidError).Problems
			for _, p := range problems {
				if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Column > len(src)+1 {
					t.Fatalf("a problem at %d:%d, which is not in the file", p.Line, p.Column)
				}
			}
			if len(problems) == 0 {
				t.Fatal("refused without a reason")
			}
			return
		}
		w := file.Workflow()
		if problems := flow.Check(w, nil); problems != nil {
			t.Fatalf("the workflow is not sound: %v", problems)
		}
		if _, err := flow.New(flow.Spec{Workflow: w, RunID: "r"}); err != nil {
			t.Fatal(err)
		}
		if len(file.Functions()) == 0 {
			t.Fatal("a file without functions")
		}
	})
}
