package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// pythonHint says what a source in Python is.
const pythonHint = "the source of a Python function is a .py file, or a folder with main.py"

// pythonFiles bounds the files of a Python function.
const pythonFiles = 20_000

// planPython collects a Python file, or all that is in a folder.
func (b *Builder) planPython(path string, info fs.FileInfo, f Source) (plan, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case info.IsDir():
	case ext == ".tar": // of a bundle
		return plan{key: []string{"archive", path}}, nil
	case ext != ".py":
		return plan{}, &Error{Source: f, Message: fmt.Sprintf("source %s is of an unknown kind %q", f.Path, ext), Hint: pythonHint}
	case !identifier(strings.TrimSuffix(filepath.Base(path), ".py")):
		return plan{}, &Error{Source: f, Message: fmt.Sprintf("source %s cannot be imported: %q is not the name of a Python module", f.Path, strings.TrimSuffix(filepath.Base(path), ".py")),
			Hint: "name the file with letters, digits and _"}
	}
	return plan{key: []string{"python", path}, compile: func(ctx context.Context, j *job) ([]string, error) {
		return collect(ctx, j, path, info.IsDir())
	}}, nil
}

// identifier reports whether s can name a module or function of Python.
func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r < 0x80 && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// skipped are the names of what Python functions do not need.
func skipped(name string) bool {
	switch name {
	case "__pycache__", ".git", ".venv", ".DS_Store":
		return true
	}
	return strings.HasSuffix(name, ".pyc")
}

// collect writes the files of a source to an archive whose bytes depend on nothing
// but them: sorted, without times and owners.
func collect(ctx context.Context, j *job, path string, folder bool) (inputs []string, err error) {
	out, err := os.Create(j.out)
	if err != nil {
		return nil, &Error{Source: j.source, Message: "cannot write to the cache", Err: err}
	}
	defer out.Close()
	tw := tar.NewWriter(out)
	root, count, python := path, 0, false
	if !folder {
		root = filepath.Dir(path)
	}
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case p != path && skipped(d.Name()):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		inputs = append(inputs, p)
		if d.IsDir() {
			return nil
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if count++; count > pythonFiles {
			return fmt.Errorf("it holds more than %d files", pythonFiles)
		}
		python = python || strings.HasSuffix(name, ".py")
		return pack(tw, p, filepath.ToSlash(name))
	})
	if err == nil && !python {
		err = errors.New("it holds no Python file")
	}
	if err = errors.Join(err, tw.Close()); err != nil {
		return nil, &Error{Source: j.source, Message: "cannot collect source " + j.source.Path, Hint: pythonHint, Err: err}
	}
	return inputs, nil
}

// pack adds a file, or what a link leads to, to an archive.
func pack(tw *tar.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", name)
	}
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: st.Size(), Mode: 0o444, Format: tar.FormatPAX}
	if st.Mode()&0o100 != 0 {
		h.Mode = 0o555
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// inspectArchive reports what is wrong with an archive of Python files.
func inspectArchive(data []byte) (Info, error) {
	tr := tar.NewReader(bytes.NewReader(data))
	for count := 0; ; count++ {
		h, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF):
			return Info{}, nil
		case err != nil:
			return Info{}, fmt.Errorf("is no archive of Python files: %w", err)
		case h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || count == pythonFiles:
			return Info{}, fmt.Errorf("is no archive of Python files: it holds %.200q", h.Name)
		}
	}
}

// PythonModule finds the module of a Python function in its folder: the one that is
// named, or main, or the only one at the top.
func PythonModule(dir, named string) (string, error) {
	if named != "" {
		base := filepath.Join(dir, filepath.FromSlash(strings.ReplaceAll(named, ".", "/")))
		for _, path := range []string{base + ".py", filepath.Join(base, "__init__.py")} {
			if _, err := os.Stat(path); err == nil {
				return named, nil
			}
		}
		return "", fmt.Errorf("its source has no module %s: there is no %s.py", named, strings.ReplaceAll(named, ".", "/"))
	}
	var top []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".py"); ok && identifier(name) && !e.IsDir() {
			if name == "main" {
				return name, nil
			}
			top = append(top, name)
		}
	}
	if len(top) != 1 {
		return "", fmt.Errorf("its source has %d modules and none is main: say which one has the handler, as in `handler: MODULE:handler`", len(top))
	}
	return top[0], nil
}
