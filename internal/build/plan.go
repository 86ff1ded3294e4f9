package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/weft-run/weft/internal/app"
)

// plan is what is to be done to a source.
type plan struct {
	form    form
	key     []string // all that decides the result besides the files it reads
	compile func(context.Context, *job) (inputs []string, err error)
}

// job is one run of a plan.
type job struct {
	source   Source
	dir      string // for temporary files; removed afterwards
	out      string // where the module is to be written
	progress func(Event)
}

// identity names the plan's record.
func (p plan) identity() string {
	sum := sha256.Sum256([]byte(strings.Join(p.key, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// plan decides by the runtime and the form of a source how to build it.
func (b *Builder) plan(dir, path string, f Source) (plan, error) {
	info, err := os.Stat(path)
	if err != nil {
		return plan{}, sourceError(f, path, err)
	}
	var p plan
	switch f.Runtime {
	case app.RuntimePython:
		p, err = b.planPython(path, info, f)
	case app.RuntimeNative:
		p, err = b.planNative(dir, path, info, f)
	default:
		p, err = b.planWasm(dir, path, info, f)
	}
	p.form = formOf(f.Runtime)
	p.key = append([]string{p.form.ext}, p.key...)
	return p, err
}

// planWasm builds WebAssembly modules.
func (b *Builder) planWasm(dir, path string, info fs.FileInfo, f Source) (plan, error) {
	if info.IsDir() {
		goFiles, _ := filepath.Glob(filepath.Join(globEscape(path), "*.go"))
		cFiles, _ := filepath.Glob(filepath.Join(globEscape(path), "*.c"))
		switch {
		case len(goFiles) > 0:
			return b.planGo(path, goFiles, f, goTarget)
		case len(cFiles) > 0:
			sort.Strings(cFiles)
			return b.planC(dir, path, cFiles, f)
		}
		hint := "a source folder is a Go package or holds C files"
		if _, err := os.Stat(filepath.Join(path, "Cargo.toml")); err == nil {
			hint = "build the crate with cargo build --target wasm32-wasi and name the .wasm file, or name one Rust file"
		}
		return plan{}, &Error{Source: f, Message: fmt.Sprintf("source folder %s holds neither Go nor C files", f.Path), Hint: hint}
	}
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".wasm":
		return plan{key: []string{"wasm", path}}, nil
	case ".c":
		return b.planC(dir, path, []string{path}, f)
	case ".rs":
		return b.planRust(dir, path, f)
	case ".go":
		return plan{}, &Error{Source: f, Message: "source " + f.Path + " is a single Go file", Hint: "name the folder of its package: " + filepath.Dir(f.Path)}
	case ".wat":
		return plan{}, &Error{Source: f, Message: "source " + f.Path + " is WebAssembly text", Hint: "assemble it with wat2wasm and name the .wasm file"}
	default:
		hint := "a source is a Go package folder, a C file or folder, a Rust file or a .wasm file"
		if ext == ".js" || ext == ".py" || ext == ".ts" {
			hint += "; run scripts by an interpreter that is a .wasm file, with the script as a granted file"
		}
		if ext == ".py" {
			hint = "say `runtime: python`"
		}
		return plan{}, &Error{Source: f, Message: fmt.Sprintf("source %s is of an unknown kind %q", f.Path, ext), Hint: hint}
	}
}

// globEscape takes the meaning from characters that patterns use.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// fingerprint identifies a program file without running it: a toolchain that
// is updated has another one.
func fingerprint(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	in := observe(path)
	return fmt.Sprintf("%s %d %d %d", path, in.Size, in.Inode, in.Changed.UnixNano())
}
