package layer

import (
	"archive/zip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Bounds of a layer.
const (
	maxLayer = 4 << 30 // bytes, unpacked
	maxFiles = 200_000 // of one wheel
)

// Wheel is a package that is pinned: an archive of that name and content.
type Wheel struct {
	File   string `json:"file"`   // NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl
	SHA256 string `json:"sha256"` // in hex
}

// Name is the package's name, as the wheel writes it.
func (w Wheel) Name() string { name, _, _ := strings.Cut(w.File, "-"); return name }

// Version is the package's version.
func (w Wheel) Version() string {
	parts := strings.Split(w.File, "-")
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

// check refuses what cannot be a wheel's name and sum.
func (w Wheel) check() error {
	stem, ok := strings.CutSuffix(w.File, ".whl")
	if n := len(strings.Split(stem, "-")); !ok || n != 5 && n != 6 || strings.ContainsAny(w.File, "/\\\x00\n \"'") || strings.HasPrefix(w.File, ".") || len(w.File) > 255 {
		return fmt.Errorf("%.100q is not the name of a wheel", w.File)
	}
	if b, err := hex.DecodeString(w.SHA256); err != nil || len(b) != 32 || strings.ToLower(w.SHA256) != w.SHA256 {
		return fmt.Errorf("%.100q is not the SHA-256 of %s", w.SHA256, w.File)
	}
	return nil
}

// unpack puts into dir what a wheel has for the module path, and returns how
// much of room is left. Programs, headers and other data of it are left out:
// nothing in a sandbox would look for them. References: PEP 427, the binary
// distribution format.
func unpack(file, dir string, room int64) (int64, error) {
	r, err := zip.OpenReader(file)
	if err != nil {
		return room, err
	}
	defer r.Close()
	if len(r.File) > maxFiles {
		return room, fmt.Errorf("it has %d files, the limit is %d", len(r.File), maxFiles)
	}
	for _, f := range r.File {
		name, wanted, err := placed(f.Name)
		if err != nil {
			return room, err
		}
		if !wanted || strings.HasSuffix(f.Name, "/") {
			continue
		}
		if !f.Mode().IsRegular() {
			return room, fmt.Errorf("%q is no regular file", f.Name)
		}
		n, err := extract(f, filepath.Join(dir, filepath.FromSlash(name)), room)
		if err != nil {
			return room, fmt.Errorf("%s: %w", f.Name, err)
		}
		room -= n
	}
	return room, nil
}

// placed is where a file of a wheel goes.
func placed(name string) (to string, wanted bool, err error) {
	if !filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00") || path.Clean(name) != strings.TrimSuffix(name, "/") {
		return "", false, fmt.Errorf("%.200q leads out of the layer", name)
	}
	top, rest, _ := strings.Cut(name, "/")
	if !strings.HasSuffix(top, ".data") {
		return name, true, nil
	}
	scheme, rest, _ := strings.Cut(rest, "/")
	return rest, (scheme == "purelib" || scheme == "platlib") && rest != "", nil
}

// extract writes one file, of room bytes at most. A wheel may have a file that
// another has too, as parts of a namespace do: the last one stays.
func extract(f *zip.File, to string, room int64) (n int64, err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	mode := fs.FileMode(0o644)
	if f.Mode()&0o100 != 0 {
		mode = 0o755
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	n, err = io.Copy(out, io.LimitReader(in, room+1))
	if err == nil && n > room {
		err = fmt.Errorf("the layer would have more than %d bytes", int64(maxLayer))
	}
	return n, err
}
