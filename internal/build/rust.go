package build

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rustHint says how to get what Rust functions need.
const rustHint = "install the Debian packages rustc and libstd-rust-dev-wasm32, or run `rustup target add wasm32-wasip1`"

// rustCandidates are the compilers to try. The first on PATH may well lack the
// standard library for WASI, which Debian's compiler finds in a package.
var rustCandidates = []string{"rustc", "/usr/bin/rustc"}

// rustTargets are the names that WASI preview 1 has had.
var rustTargets = []string{"wasm32-wasip1", "wasm32-wasi"}

// planRust builds one Rust file.
func (b *Builder) planRust(dir, path string, f Source) (plan, error) {
	key := []string{"rust", dir, path, os.Getenv("RUSTUP_TOOLCHAIN"), os.Getenv("RUSTFLAGS")}
	var found []string
	for _, candidate := range rustCandidates {
		if rustc, err := exec.LookPath(candidate); err == nil {
			found = append(found, rustc)
			key = append(key, fingerprint(rustc))
		}
	}
	if len(found) == 0 {
		return plan{}, &Error{Source: f, Message: "rustc is not installed", Hint: rustHint}
	}
	return plan{key: key, compile: func(ctx context.Context, j *job) ([]string, error) {
		rustc, target, err := findRust(ctx, j, found)
		if err != nil {
			return nil, err
		}
		deps := filepath.Join(j.dir, "deps.d")
		_, err = j.run(ctx, command{path: rustc, dir: filepath.Dir(path), args: []string{
			"--target", target, "--edition", "2021", "--crate-name", "function", "--crate-type", "bin",
			"-C", "opt-level=2", "-C", "debuginfo=1", "--remap-path-prefix", dir + "=.",
			"--emit", "link=" + j.out + ",dep-info=" + deps, path,
		}})
		if err != nil {
			return nil, rustErrorHint(err)
		}
		return makeDependencies(deps, filepath.Dir(path))
	}}, nil
}

// findRust returns the first compiler that has a standard library for a WASI
// target.
func findRust(ctx context.Context, j *job, candidates []string) (rustc, target string, err error) {
	for _, rustc := range candidates {
		for _, target := range rustTargets {
			out, err := j.run(ctx, command{path: rustc, args: []string{"--print", "target-libdir", "--target", target}, quiet: true})
			if ctx.Err() != nil {
				return "", "", ctx.Err()
			}
			if err != nil {
				continue // does not know the target
			}
			if libs, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "libstd-*.rlib")); len(libs) > 0 {
				return rustc, target, nil
			}
		}
	}
	return "", "", &Error{
		Source:  j.source,
		Message: "no Rust compiler has a standard library for WASI preview 1 (tried " + strings.Join(candidates, ", ") + ")",
		Hint:    rustHint,
	}
}

// rustErrorHint adds a hint to frequent failures of rustc.
func rustErrorHint(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case strings.Contains(e.Output, "linker `"), strings.Contains(e.Output, "wasm-ld"):
		e.Hint = "install the Debian package lld"
	case strings.Contains(e.Output, "`main` function not found"):
		e.Hint = "a function has a main"
	case strings.Contains(e.Output, "can't find crate"), strings.Contains(e.Output, "unresolved import"), strings.Contains(e.Output, "use of undeclared crate"):
		e.Hint = "a single Rust file has the standard library alone; build a crate with cargo and name its .wasm file"
	}
	return err
}
