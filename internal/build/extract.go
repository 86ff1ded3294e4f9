package build

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/scratch"
)

// ProgramName is the name of the executable in the folder of a native function.
const ProgramName = "main"

// Folder returns the folder that a process of a built function has as its own: the
// files of its archive, or its executable. It is made once, never changes, and stays
// for a week after its last use (Use).
func (b *Builder) Folder(runtime string, m Module) (string, error) {
	dir := filepath.Join(b.cfg.CacheDir, "trees", m.Digest)
	if _, err := os.Stat(dir); err == nil {
		use(dir)
		return dir, nil
	}
	fail := func(err error) (string, error) { return "", fmt.Errorf("unpack function: %w", err) }
	tmp, err := scratch.Make(b.cfg.CacheDir)
	if err != nil {
		return fail(err)
	}
	defer tmp.Remove()
	made := filepath.Join(tmp.Path, "tree")
	if err := os.MkdirAll(made, 0o755); err != nil {
		return fail(err)
	}
	if runtime == app.RuntimeNative {
		err = copyFile(filepath.Join(made, ProgramName), m.Path)
	} else {
		err = extract(made, m.Path)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(dir), 0o755)
	}
	pruneFolders(filepath.Dir(dir), time.Now())
	if err == nil {
		err = os.Rename(made, dir)
	}
	if _, there := os.Stat(dir); err != nil && there != nil { // else another one was faster
		return fail(err)
	}
	return dir, nil
}

func copyFile(to, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o555)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return errors.Join(err, out.Close())
}

// extract writes the files of an archive that was inspected below a folder.
func extract(dir, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if above := filepath.Dir(h.Name); above != "." {
			if err := root.MkdirAll(above, 0o755); err != nil {
				return err
			}
		}
		out, err := root.OpenFile(strings.TrimPrefix(h.Name, "./"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm()&0o555)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, tr)
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}
