package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNoCompiler is returned by CompileNative where there is no C compiler.
var ErrNoCompiler = errors.New("no C compiler (clang, gcc or cc)")

// Native is a C program compiled for this machine.
type Native struct{ path string }

// CompileNative compiles a C source with -O3 and threads into dir, headers being looked for in the folder include too, by the first compiler
// found of clang (which also compiles functions to WebAssembly, so that both come from one compiler), gcc and cc.
func CompileNative(ctx context.Context, source, include, dir string) (*Native, error) {
	compiler := ""
	for _, name := range []string{"clang", "gcc", "cc"} {
		if path, err := exec.LookPath(name); err == nil {
			compiler = path
			break
		}
	}
	if compiler == "" {
		return nil, fmt.Errorf("compile %s: %w", source, ErrNoCompiler)
	}
	app := filepath.Base(filepath.Dir(source))
	path := filepath.Join(dir, app+"-"+strings.TrimSuffix(filepath.Base(source), ".c"))
	c := exec.CommandContext(ctx, compiler, "-O3", "-pthread", "-I", include, "-o", path, source, "-lm")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s: %w: %s", source, err, bytes.TrimSpace(out))
	}
	return &Native{path}, nil
}

// Run runs the program and returns what it printed and how long it took, its start included.
func (n *Native) Run(ctx context.Context, args ...string) (out []byte, took time.Duration, err error) {
	c := exec.CommandContext(ctx, n.path, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	start := time.Now()
	err = c.Run()
	took = time.Since(start)
	if err != nil {
		return nil, took, fmt.Errorf("run %s: %w: %s", filepath.Base(n.path), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), took, nil
}
