package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	gobuild "go/build"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weft-run/weft/internal/app"
)

// goTarget is the environment that makes the Go toolchain build for WASI.
var goTarget = []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}

// goSettings are variables that change what the Go toolchain builds.
var goSettings = []string{"GOFLAGS", "GOEXPERIMENT", "GOTOOLCHAIN", "GOWORK", "GOWASM", "GOPATH", "GOMODCACHE", "GO111MODULE", "GOENV", "GODEBUG"}

// planGo builds a Go package.
func (b *Builder) planGo(dir string, files []string, f Source, target []string) (plan, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return plan{}, &Error{Source: f, Message: "Go is not installed", Hint: "install Go 1.24 or later from https://go.dev/dl and have it on PATH", Err: err}
	}
	key := []string{"go", dir, fingerprint(goTool)}
	for _, name := range goSettings {
		key = append(key, name+"="+os.Getenv(name))
	}
	return plan{key: key, compile: func(ctx context.Context, j *job) ([]string, error) {
		resident, err := exportsHandle(dir, files, f)
		resident = resident && f.Runtime != app.RuntimeNative // a process is not called into
		if err != nil {
			return nil, err
		}
		inputs, err := goInputs(ctx, j, goTool, dir, target)
		if err != nil {
			return nil, err
		}
		args := []string{"build", "-trimpath", "-buildvcs=false", "-o", j.out}
		if resident {
			args = append(args, "-buildmode=c-shared")
		}
		if _, err := j.run(ctx, command{path: goTool, args: append(args, "."), dir: dir, env: target}); err != nil {
			return nil, goHint(err)
		}
		return inputs, nil
	}}, nil
}

// exportsHandle reports whether the package exports weft_handle, which makes
// it resident. It also refuses packages that are not programs, which the Go
// command would build into an archive.
func exportsHandle(dir string, files []string, f Source) (bool, error) {
	target := gobuild.Default
	target.CgoEnabled = false
	if f.Runtime != app.RuntimeNative {
		target.GOOS, target.GOARCH = "wasip1", "wasm"
	}
	found := false
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if match, err := target.MatchFile(dir, filepath.Base(path)); err != nil || !match {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if file == nil || file.Name == nil || err != nil {
			continue // the compiler says it better
		}
		if file.Name.Name != "main" {
			return false, &Error{
				Source:  f,
				Message: fmt.Sprintf("source %s is package %s, not a program", f.Path, file.Name.Name),
				Hint:    "a function is package main",
			}
		}
		for _, group := range file.Comments {
			for _, c := range group.List {
				if fields := strings.Fields(c.Text); len(fields) == 2 && fields[0] == "//go:wasmexport" && fields[1] == "weft_handle" {
					found = true
				}
			}
		}
	}
	return found, nil
}

// goPackage is what `go list -json` says of a package, as far as it matters.
type goPackage struct {
	Dir        string
	Standard   bool
	EmbedFiles []string
	Module     *struct {
		Dir, GoMod string
		Main       bool
		Replace    *struct{ Dir, Version, GoMod string }
	}
}

// goInputs returns all that the build of the package in dir depends on and
// that may change: folders and files of packages outside the module cache,
// and the files that choose modules.
func goInputs(ctx context.Context, j *job, goTool, dir string, target []string) ([]string, error) {
	out, err := j.run(ctx, command{
		path:  goTool,
		args:  []string{"list", "-deps", "-e", "-json=Dir,Standard,EmbedFiles,Module", "."},
		dir:   dir,
		env:   target,
		quiet: true,
	})
	if err != nil {
		return nil, goHint(err)
	}
	inputs := goModInputs(dir)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, &Error{Source: j.source, Message: "cannot understand `go list`", Err: err}
		}
		if p.Standard || p.Dir == "" || p.Module != nil && !p.Module.Main && (p.Module.Replace == nil || p.Module.Replace.Version != "") && !inWorkspace(p.Module.GoMod) {
			continue
		}
		inputs = append(inputs, goFolderInputs(p.Dir)...)
		if p.Module != nil {
			inputs = append(inputs, filepath.Join(p.Module.Dir, "go.mod"), filepath.Join(p.Module.Dir, "go.sum"),
				filepath.Join(p.Module.Dir, "vendor", "modules.txt"))
			// A go.mod between the module's root and the package would split
			// the package off.
			for d := p.Dir; strings.HasPrefix(d, p.Module.Dir+string(filepath.Separator)); d = filepath.Dir(d) {
				inputs = append(inputs, filepath.Join(d, "go.mod"))
			}
		}
		for _, e := range p.EmbedFiles {
			// An embedded folder takes in new files, so all folders on the way
			// to an embedded file count with their names.
			path := filepath.Join(p.Dir, e)
			inputs = append(inputs, path)
			for d := filepath.Dir(path); d != p.Dir && len(d) > len(p.Dir); d = filepath.Dir(d) {
				inputs = append(inputs, d)
			}
		}
	}
	return inputs, nil
}

// inWorkspace reports whether a module is read from its own folder and not
// from the module cache, whose go.mod files lie in its cache folder.
func inWorkspace(goMod string) bool {
	return goMod != "" && !strings.Contains(filepath.ToSlash(goMod), "/pkg/mod/") && !strings.Contains(filepath.ToSlash(goMod), "/cache/download/")
}

// goFolderInputs returns a package's folder, for its names, and the files in it that
// the compiler may read.
func goFolderInputs(dir string) []string {
	inputs := []string{dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return inputs
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".go":
			if strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
		case ".s", ".h", ".syso":
		default:
			continue
		}
		inputs = append(inputs, filepath.Join(dir, e.Name()))
	}
	return inputs
}

// goModInputs returns the files above dir that choose the module or workspace,
// those that are not there included, and the Go command's own settings.
func goModInputs(dir string) []string {
	var inputs []string
	for d := dir; ; d = filepath.Dir(d) {
		for _, name := range []string{"go.mod", "go.work", "go.work.sum"} {
			inputs = append(inputs, filepath.Join(d, name))
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	if config, err := os.UserConfigDir(); err == nil {
		inputs = append(inputs, filepath.Join(config, "go", "env"))
	}
	return inputs
}

// goHint adds a hint to frequent failures of the Go command.
func goHint(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case strings.Contains(e.Output, "cannot find main module"), strings.Contains(e.Output, "go.mod file not found"):
		e.Hint = "run `go mod init NAME` in the app's folder"
	case strings.Contains(e.Output, "no required module provides"), strings.Contains(e.Output, "missing go.sum entry"):
		e.Hint = "run `go mod tidy` in the package's module"
	case strings.Contains(e.Output, "build constraints exclude all Go files"):
		e.Hint = "functions are built with GOOS=wasip1 GOARCH=wasm, native ones for this machine without cgo"
	}
	return err
}
