package generator_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/generator"
)

var update = flag.Bool("update", false, "write what is generated and refused into testdata and examples")

// What is generated is what is there, twice the same, also where it was there before and where it
// was not, and passes vet.
func TestGenerate(t *testing.T) {
	examples, err := filepath.Glob("../../examples/services/*/go/*/weft_gen.go")
	if err != nil || len(examples) == 0 {
		t.Fatal(examples, err)
	}
	dirs, vet := []string{"testdata/shapes", "testdata/program"}, []string{"vet"}
	for _, path := range examples {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		made, err := generator.Generate(t.Context(), dir)
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, f := range made.Files {
			if *update {
				os.MkdirAll(filepath.Dir(f.Path), 0o755)
				if err := os.WriteFile(f.Path, f.Text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			old, err := os.ReadFile(f.Path)
			if err != nil || string(old) != string(f.Text) {
				t.Errorf("%s is not what is generated (%v): weft generate %s, or go test -update", f.Path, err, dir)
			}
		}
		vet = append(vet, "./"+dir)
	}
	if out, err := exec.CommandContext(t.Context(), "go", vet...).CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

func TestRefuse(t *testing.T) {
	dirs, err := filepath.Glob("testdata/refused/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			_, err := generator.Generate(t.Context(), dir)
			var problems generator.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			var lines []string
			for _, p := range problems {
				p.Pos.Filename = filepath.Base(p.Pos.Filename)
				lines = append(lines, generator.Problems{p}.Error())
			}
			got, path := strings.Join(lines, "\n")+"\n", filepath.Join(dir, "problems.txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || got != string(want) {
				t.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

func TestNothingToGenerate(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ files, want string }{
		{"", "no Go files"},
		{"package p\n\ntype T struct{}\n", "no services"},
		{"package p\n\nfunc {\n", "expected"},
	} {
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/p\n"), 0o644)
		if c.files != "" {
			os.WriteFile(filepath.Join(dir, "p.go"), []byte(c.files), 0o644)
		}
		if _, err := generator.Generate(t.Context(), dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.files, err, c.want)
		}
	}
}
