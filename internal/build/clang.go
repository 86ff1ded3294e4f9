package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-run/weft/sdk/c"
)

// cHint says how to get what C functions need.
const cHint = "install the Debian packages clang, lld, wasi-libc and libclang-rt-14-dev-wasm32"

// cFlags come before those of the sources. The stack lies below the data and
// is of a size that ordinary programs expect, so that running out of it traps
// instead of overwriting data. Debug information lets traps name lines.
var cFlags = []string{"--target=wasm32-wasi", "-O2", "-g", "-Wl,-z,stack-size=1048576", "-Wl,--stack-first"}

// cAllowed are the beginnings of the flags that a source may ask for.
var cAllowed = []string{"-O", "-m", "-D", "-U", "-I", "-l", "-L", "-W", "-std=", "-f", "-g", "-include", "-pedantic"}

// cRefused are flags that would load code into the compiler or write files.
var cRefused = []string{"-fplugin", "-fpass-plugin", "-fsave", "-fcrash", "-fmodule", "-fprofile", "-Wp,", "-Wl,-o", "-Wl,--output", "-load"}

// planC builds C files into one program.
func (b *Builder) planC(dir, path string, files []string, f Source) (plan, error) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		return plan{}, &Error{Source: f, Message: "clang is not installed", Hint: cHint, Err: err}
	}
	include, err := b.includeDir()
	if err != nil {
		return plan{}, &Error{Source: f, Message: "cannot write weft.h to the cache", Hint: "set another cache folder, or free space", Err: err}
	}
	key := []string{"c", dir, path, include, fingerprint(clang), strings.Join(cFlags, " ")}
	for _, dependency := range []string{"/usr/bin/wasm-ld", "/usr/lib/wasm32-wasi/libc.a"} {
		key = append(key, fingerprint(dependency))
	}
	for _, name := range []string{"CPATH", "C_INCLUDE_PATH", "CCC_OVERRIDE_OPTIONS"} {
		key = append(key, name+"="+os.Getenv(name))
	}
	return plan{key: key, compile: func(ctx context.Context, j *job) ([]string, error) {
		return compileC(ctx, j, compiler{path: clang, flags: cFlags, resident: []string{"-mexec-model=reactor", "-Wl,--export-if-defined=weft_handle"}, hint: cErrorHint}, include, dir, files)
	}}, nil
}

// compiler is a C compiler and how it is used.
type compiler struct {
	path     string
	flags    []string          // before those of the sources
	foreign  []string          // flags of sources that it does not know, and that are left out
	link     [][]string        // further flags for linking, to be tried in this order; nil: none
	resident []string          // for sources with a resident handler
	hint     func(error) error // adds a hint to a failure
}

// includeDir returns the folder of weft.h. The header that came with this
// program lies in the cache, under its digest so that it never changes.
func (b *Builder) includeDir() (string, error) {
	if b.cfg.IncludeDir != "" {
		return filepath.Abs(b.cfg.IncludeDir)
	}
	sum := sha256.Sum256(c.Header)
	dir, err := filepath.Abs(filepath.Join(b.cfg.CacheDir, "include", hex.EncodeToString(sum[:8])))
	if err != nil {
		return "", err
	}
	header := filepath.Join(dir, "weft.h")
	if info, err := os.Stat(header); err == nil && info.Size() == int64(len(c.Header)) {
		return dir, nil
	}
	return dir, writeFile(header, c.Header, 0o444)
}

// compileC compiles each file by itself, which tells what files it read, and
// links them. Paths below dir, the app's folder, are named relative to it.
func compileC(ctx context.Context, j *job, cc compiler, include, dir string, files []string) ([]string, error) {
	workDir := filepath.Dir(files[0])
	args := slices.Clone(cc.flags)
	args = append(args, "-ffile-prefix-map="+dir+"=.", "-I"+workDir, "-I"+include)
	resident, optimize := false, []string(nil)
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			return nil, sourceError(j.source, file, err)
		}
		flags, err := sourceFlags(src)
		if err != nil {
			return nil, &Error{Source: j.source, Message: file, Err: err}
		}
		optimize = append(optimize, flags...)
		resident = resident || handles(src)
	}
	for _, flag := range optimize {
		if !slices.Contains(cc.foreign, flag) {
			args = append(args, flag)
		}
	}
	if resident {
		args = append(args, cc.resident...)
	}
	inputs := []string{workDir}
	var objects []string
	for i, file := range files {
		object, deps := filepath.Join(j.dir, fmt.Sprintf("%d.o", i)), filepath.Join(j.dir, fmt.Sprintf("%d.d", i))
		compile := append(compileOnly(args), "-MMD", "-MF", deps, "-c", file, "-o", object)
		if _, err := j.run(ctx, command{path: cc.path, args: compile, dir: workDir, quiet: i > 0}); err != nil {
			return nil, cc.hint(err)
		}
		more, err := makeDependencies(deps, workDir)
		if err != nil {
			return nil, &Error{Source: j.source, Message: "cannot read the compiler's list of files", Err: err}
		}
		inputs, objects = append(inputs, more...), append(objects, object)
	}
	tries := cc.link
	if tries == nil {
		tries = [][]string{{"-Wno-unused-command-line-argument"}}
	}
	var err error
	for _, flags := range tries {
		link := slices.Concat(args, objects, []string{"-o", j.out}, flags)
		if _, err = j.run(ctx, command{path: cc.path, args: link, dir: workDir, quiet: true}); err == nil {
			return inputs, nil
		}
	}
	return nil, cc.hint(err)
}

// compileOnly leaves out the flags that are for the linker.
func compileOnly(args []string) []string {
	var rest []string
	for _, a := range args {
		if !strings.HasPrefix(a, "-Wl,") && !strings.HasPrefix(a, "-l") && !strings.HasPrefix(a, "-L") {
			rest = append(rest, a)
		}
	}
	return rest
}

// cComment matches C comments and, so as not to find them there, strings.
var cComment = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"`)

// handlerName matches what makes a C program resident.
var handlerName = regexp.MustCompile(`\b(WEFT_HANDLER|weft_handle)\b`)

// handles reports whether a C source defines a resident handler.
func handles(src []byte) bool {
	return handlerName.Match(cComment.ReplaceAll(src, []byte(" ")))
}

// sourceFlags returns the compiler flags that a source asks for in lines such
// as
//
//	// weft:cflags -msimd128 -O3
func sourceFlags(src []byte) ([]string, error) {
	var flags []string
	for line := range bytes.Lines(src) {
		rest, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("//"))
		if !ok {
			continue
		}
		rest, ok = bytes.CutPrefix(bytes.TrimSpace(rest), []byte("weft:cflags "))
		if !ok {
			continue
		}
		for _, flag := range strings.Fields(string(rest)) {
			if !hasAnyPrefix(flag, cAllowed) || hasAnyPrefix(flag, cRefused) {
				return nil, fmt.Errorf("flag %s is not allowed in weft:cflags", flag)
			}
			flags = append(flags, flag)
		}
	}
	return flags, nil
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// makeDependencies reads the files that a compiler has listed in the form of
// a make rule.
func makeDependencies(file, dir string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	rule, _, _ := strings.Cut(strings.ReplaceAll(string(data), "\\\n", " "), "\n")
	_, list, found := strings.Cut(rule, ": ")
	if !found {
		return nil, fmt.Errorf("%s holds no rule", file)
	}
	var paths []string
	for _, p := range strings.Fields(strings.ReplaceAll(list, `\ `, "\x00")) {
		p = strings.ReplaceAll(strings.ReplaceAll(p, "\x00", " "), "$$", "$")
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// cErrorHint adds a hint to frequent failures of clang.
func cErrorHint(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	out := e.Output
	switch {
	case strings.Contains(out, "'stdio.h' file not found"), strings.Contains(out, "'stdlib.h' file not found"), strings.Contains(out, "'string.h' file not found"),
		strings.Contains(out, "unable to execute command"), strings.Contains(out, "libclang_rt"), strings.Contains(out, "wasm-ld: error: cannot open"),
		strings.Contains(out, "crt1"), strings.Contains(out, "wasm-ld\" doesn't exist"), strings.Contains(out, "invalid linker name"):
		e.Hint = cHint
	case strings.Contains(out, "undefined symbol: main"):
		e.Hint = "a function has a main, or a handler made with WEFT_HANDLER"
	case strings.Contains(out, "undefined symbol"):
		e.Hint = "WASI preview 1 has no threads, processes or signals; link further libraries with // weft:cflags -lm"
	}
	return err
}
