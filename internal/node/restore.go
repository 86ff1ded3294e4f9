package node

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Restore makes a data folder of an archive. The folder must not exist, or be
// empty, or hold what a restore has left that was interrupted; a server refuses
// such a folder. Nothing of an archive leads out of the folder: links and names
// that no backup has are refused.
func Restore(ctx context.Context, r io.Reader, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data folder %s: %w", dir, err)
	}
	lock, err := lockFolder(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	partial := filepath.Join(dir, partialName)
	if _, err := os.Stat(partial); err == nil {
		if err := empty(dir); err != nil {
			return fmt.Errorf("data folder %s: remove what an earlier restore has left: %w", dir, err)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data folder %s: %w", dir, err)
	}
	for _, e := range list {
		if e.Name() != lockName {
			return fmt.Errorf("data folder %s is not empty; give another one, or move away what is in it", dir)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("data folder %s: %w", dir, err)
	}
	defer root.Close()
	err = os.WriteFile(partial, []byte("This folder is being restored from a backup, or was and is not complete.\n"), 0o600)
	if err == nil {
		err = syncFolder(root, ".")
	}
	if err == nil {
		err = extract(ctx, tar.NewReader(r), root)
	}
	if err == nil { // all that it has is on disk
		if err = os.Remove(partial); err == nil {
			err = syncFolder(root, ".")
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("data folder %s: %w", dir, err), empty(dir))
	}
	return nil
}

// checkWhole refuses a folder whose restore was interrupted.
func checkWhole(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, partialName)); err == nil {
		return fmt.Errorf("data folder %s: a restore of it was interrupted: restore the backup once more", dir)
	}
	return nil
}

// errCut is what an archive that was not written or copied to its end gives.
var errCut = errors.New("the backup is cut short: copy it anew, or take another one")

// extract writes the files of an archive.
func extract(ctx context.Context, tr *tar.Reader, root *os.Root) error {
	h, err := tr.Next()
	if err != nil || h.Name != backupName {
		return errors.New("this is not a backup of weft's")
	}
	var b backup
	if err := json.NewDecoder(io.LimitReader(tr, 1<<20)).Decode(&b); err != nil {
		return fmt.Errorf("%s: %w", backupName, err)
	}
	if b.Format != backupFormat {
		return fmt.Errorf("the backup's format is %d, and this weft reads %d: use the weft that has made it", b.Format, backupFormat)
	}
	for {
		h, err := tr.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return errCut
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if h.Name == endName {
			return syncTree(root)
		}
		if err := place(root, h, tr); errors.Is(err, io.ErrUnexpectedEOF) {
			return errCut
		} else if err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
}

// parts are what backups are of.
var parts = []string{storeName, keyName, appsName, buffersName, logsName}

// place writes one file or folder.
func place(root *os.Root, h *tar.Header, r io.Reader) error {
	name := filepath.Clean(h.Name)
	if !filepath.IsLocal(name) {
		return errors.New("the name leads out of the folder")
	}
	if top, _, _ := strings.Cut(name, "/"); !slices.Contains(parts, top) {
		return errors.New("no backup has such a file")
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o700)
	case tar.TypeReg:
	default:
		return errors.New("neither a file nor a folder")
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(h.Mode).Perm()&0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncTree has the entries of all folders on disk.
func syncTree(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncFolder(root, p)
	})
}

func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// empty removes what is in a folder but its lock, what says that it is partial
// last.
func empty(dir string) error {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		if e.Name() != partialName && e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err == nil {
		if err = os.Remove(filepath.Join(dir, partialName)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return err
}
