package lint

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pure are the folders whose packages take events and time as arguments and return decisions.
var pure = []string{"internal/flow", "internal/cpu/profile", "internal/cpu/sim", "internal/cpu/policy", "internal/service/lock", "internal/service/wire", "internal/service/record", "internal/service/journal", "internal/service/machine"}

// pureFiles are single files that obey the same rule inside packages that do more.
var pureFiles = []string{"internal/buffer/table.go", "internal/buffer/resolve.go", "internal/buffer/wait.go", "internal/buffer/name.go"}

// forbiddenInPure are the packages through which the world would get into a pure package.
var forbiddenInPure = []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "math/rand", "math/rand/v2", "crypto/rand",
	"golang.org/x/sys/unix", "io/ioutil", "log", "log/slog", "runtime"}

// clockCalls are the functions of package time that read the clock or wait for it.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// purity keeps the clock, chance, goroutines and the operating system out of the pure packages.
func purity(t *tree) []string {
	const why = "is pure: it takes time, seeds and results as arguments, so that tables, properties and the simulator can test it in microseconds"
	var out []string
	for _, f := range t.files {
		if f.test || !slices.Contains(pureFiles, f.path) && !slices.ContainsFunc(pure, f.below) {
			continue
		}
		for p, spec := range f.imports() {
			if slices.Contains(forbiddenInPure, p) {
				out = append(out, t.complaint(spec.Pos(), "import of %s: %s %s", p, f.dir, why))
			}
		}
		clock := f.localName("time")
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, t.complaint(n.Pos(), "go statement: %s %s", f.dir, why))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && clock != "" && x.Name == clock && slices.Contains(clockCalls, n.Sel.Name) {
					out = append(out, t.complaint(n.Pos(), "time.%s: %s %s", n.Sel.Name, f.dir, why))
				}
			}
			return true
		})
	}
	return out
}

// cgoFolders are the folders that may import "C".
var cgoFolders = []string{"internal/sandbox/wasm/engine", "internal/sandbox/wasm/confine", "internal/sandbox/process/warden", "cmd/weft-host"}

// cgo keeps C out of everything but the domain host.
func cgo(t *tree) []string {
	var out []string
	for _, f := range t.files {
		if spec, ok := f.imports()["C"]; ok && !slices.ContainsFunc(cgoFolders, f.below) {
			out = append(out, t.complaint(spec.Pos(), `import "C": the weft binary builds without cgo; C belongs in %s`, strings.Join(cgoFolders, ", ")))
		}
	}
	return out
}

// vagueNames say nothing about what a package is responsible for.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "managers", "misc", "shared", "base"}

// nouns refuses packages that are named after nothing.
func nouns(t *tree) []string {
	var out []string
	for _, f := range t.files {
		name := strings.TrimSuffix(f.ast.Name.Name, "_test")
		if slices.Contains(vagueNames, name) || slices.Contains(vagueNames, path.Base(f.dir)) {
			out = append(out, t.complaint(f.ast.Name.Pos(), "package %s: a package is one noun that says what it holds", name))
		}
	}
	return out
}

// unfinishedMark matches the usual notes to oneself, spelt so that this line is none.
var unfinishedMark = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

// finished refuses notes to oneself in comments.
func finished(t *tree) []string {
	var out []string
	for _, f := range t.files {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if m := unfinishedMark.FindString(c.Text); m != "" {
					out = append(out, t.complaint(c.Pos(), "%s in a comment: do it, or write down in docs/RATIONALE.md why not", m))
				}
			}
		}
	}
	return out
}

// maxLines is where a file has more than one subject.
const maxLines = 600

// oneSubject refuses long files; tables of test cases may be as long as they need.
func oneSubject(t *tree) []string {
	var out []string
	for _, f := range t.files {
		if !f.test && f.lines > maxLines && !ast.IsGenerated(f.ast) {
			out = append(out, t.complaint(f.ast.Package, "%d lines: a file has one subject and at most %d lines; split it by subject", f.lines, maxLines))
		}
	}
	return out
}
