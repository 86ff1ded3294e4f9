package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPythonImports(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.py": "\"\"\"A text.\"\"\"\nfrom __future__ import annotations\nimport os, numpy.linalg as la, sys # all\nfrom requests import get\n" +
			"from . import own\nfrom .own import x\nfrom ..up import y\nimport yaml; print(1)\ntry:\n    import later\nexcept ImportError:\n    pass\nimportant = 1\nfrom\timport\n",
		"sub/more.py":   "import\tpandas\nfrom os.path import (\n    join)\nimport 1x\nimport bad-name\n",
		"sub/other.txt": "import not_python\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := PythonImports(dir)
	want := []string{"numpy.linalg", "os", "os.path", "pandas", "requests", "sys", "yaml"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := PythonImports(filepath.Join(dir, "none")); err == nil {
		t.Error("no error without a folder")
	}
}

func FuzzImports(f *testing.F) {
	f.Add("import a, b.c as d\nfrom x.y import z\n")
	f.Add("from . import a\nimport é\nimport a..b\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range imports(strings.NewReader(text)) {
			for part := range strings.SplitSeq(name, ".") {
				if !identifier(part) {
					t.Errorf("%q", name)
				}
			}
		}
	})
}
