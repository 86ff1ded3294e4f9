package build

import (
	"bufio"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of what PythonImports reads.
const (
	importFiles = 500
	importBytes = 1 << 20 // of a file
)

// PythonImports lists the modules that the Python files in a folder import where
// they begin, by statements that are not indented, sorted: of "import a.b as c"
// and "from a.b import d" a.b. Relative imports are left out. Nothing is executed,
// and nothing parsed but lines, so that a text with such a line counts too: a
// guess for who can do without. Of a large folder it reads a part.
func PythonImports(dir string) ([]string, error) {
	found := map[string]bool{}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || filepath.Ext(path) != ".py" {
			return nil
		}
		if files++; files > importFiles {
			return fs.SkipAll
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for _, name := range imports(io.LimitReader(f, importBytes)) {
			found[name] = true
		}
		return nil
	})
	return slices.Sorted(maps.Keys(found)), err
}

// imports lists the modules of one file. It ends at a line of more than 64 KiB.
func imports(r io.Reader) []string {
	var names []string
	add := func(name string) {
		name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
		for part := range strings.SplitSeq(name, ".") {
			if !identifier(part) {
				return
			}
		}
		if name != "__future__" && name != "__main__" {
			names = append(names, name)
		}
	}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line, _, _ := strings.Cut(strings.ReplaceAll(lines.Text(), "\t", " "), "#")
		line, _, _ = strings.Cut(line, ";")
		if from, ok := strings.CutPrefix(line, "from "); ok {
			if name, _, ok := strings.Cut(from, " import"); ok {
				add(name)
			}
		} else if list, ok := strings.CutPrefix(line, "import "); ok {
			for name := range strings.SplitSeq(list, ",") {
				add(name)
			}
		}
	}
	return names
}
