package build

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

// goNative makes the Go toolchain build static programs for this machine.
var goNative = []string{"GOOS=linux", "GOARCH=" + runtime.GOARCH, "CGO_ENABLED=0"}

// cNativeFlags come before those of the sources. WEFT_MAIN has weft.h make a main.
var cNativeFlags = []string{"-O2", "-g", "-pthread", "-DWEFT_MAIN"}

// cWasmFlags are flags for features of WebAssembly.
var cWasmFlags = []string{"-msimd128", "-mrelaxed-simd", "-mbulk-memory", "-mtail-call", "-mnontrapping-fptoint", "-msign-ext", "-mextended-const"}

// cNativeHint says how to get what native C functions need.
const cNativeHint = "install the Debian packages gcc and libc6-dev, or name an executable"

// planNative builds programs of this machine: of Go and C sources, or a file that
// is one already.
func (b *Builder) planNative(dir, path string, info fs.FileInfo, f Source) (plan, error) {
	if !info.IsDir() {
		switch ext := strings.ToLower(filepath.Ext(path)); ext {
		case ".c":
			return b.planNativeC(dir, path, []string{path}, f)
		case ".go":
			return plan{}, &Error{Source: f, Message: "source " + f.Path + " is a single Go file", Hint: "name the folder of its package: " + filepath.Dir(f.Path)}
		case ".wasm":
			return plan{}, &Error{Source: f, Message: "source " + f.Path + " is a WebAssembly module", Hint: "say `runtime: wasm`"}
		}
		return plan{key: []string{"executable", path}}, nil
	}
	goFiles, _ := filepath.Glob(filepath.Join(globEscape(path), "*.go"))
	cFiles, _ := filepath.Glob(filepath.Join(globEscape(path), "*.c"))
	switch {
	case len(goFiles) > 0:
		return b.planGo(path, goFiles, f, goNative)
	case len(cFiles) > 0:
		sort.Strings(cFiles)
		return b.planNativeC(dir, path, cFiles, f)
	}
	return plan{}, &Error{Source: f, Message: fmt.Sprintf("source folder %s holds neither Go nor C files", f.Path), Hint: "the source of a native function is an executable, a Go package folder, or a C file or folder"}
}

// planNativeC builds C files into one program: static where the libraries for that
// are installed, so that it starts sooner and needs nothing of its machine.
func (b *Builder) planNativeC(dir, path string, files []string, f Source) (plan, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return plan{}, &Error{Source: f, Message: "no C compiler is installed", Hint: cNativeHint, Err: err}
	}
	include, err := b.includeDir()
	if err != nil {
		return plan{}, &Error{Source: f, Message: "cannot write weft.h to the cache", Hint: "set another cache folder, or free space", Err: err}
	}
	key := []string{"native c", dir, path, include, fingerprint(cc), strings.Join(cNativeFlags, " "), strings.Join(cWasmFlags, " ")}
	for _, name := range []string{"CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH"} {
		key = append(key, name+"="+os.Getenv(name))
	}
	compile := compiler{path: cc, flags: cNativeFlags, foreign: cWasmFlags, link: [][]string{{"-static", "-lm"}, {"-lm"}}, hint: func(err error) error {
		var e *Error
		if errors.As(err, &e) && (strings.Contains(e.Output, "undefined reference to `main'") || strings.Contains(e.Output, "undefined symbol: main")) {
			e.Hint = "a native function has a main"
		}
		return err
	}}
	return plan{key: key, compile: func(ctx context.Context, j *job) ([]string, error) {
		return compileC(ctx, j, compile, include, dir, files)
	}}, nil
}

// machines are the names of processors in executables, by Go's names.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// inspectExecutable reports why this machine's kernel could not run a file.
func inspectExecutable(data []byte) (Info, error) {
	if bytes.HasPrefix(data, []byte("#!")) {
		return Info{}, nil
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return Info{}, errors.New("is neither a program of this machine (ELF) nor a script with #! at its start")
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return Info{}, fmt.Errorf("is a damaged program: %w", err)
	}
	want, known := machines[runtime.GOARCH]
	switch {
	case known && file.Machine != want:
		return Info{}, fmt.Errorf("is a program for %s; this machine is %s", file.Machine, want)
	case file.Type != elf.ET_EXEC && file.Type != elf.ET_DYN:
		return Info{}, errors.New("is an object file, not a program: link it")
	case file.Entry == 0:
		return Info{}, errors.New("is a library, not a program: it has no entry point")
	}
	return Info{}, nil
}
