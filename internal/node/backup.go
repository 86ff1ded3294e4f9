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
	"strings"
	"time"

	"github.com/weft-run/weft/internal/scratch"
)

// What is in a data folder.
const (
	storeName   = "store"
	buffersName = "buffers"
	appsName    = "apps"
	logsName    = "logs"
	keyName     = "secret.key"
	lockName    = "lock"
	backupName  = "backup.json" // of an archive only
)

// backupFormat is the version of the layout of archives. Newer ones are refused.
const backupFormat = 1

// backup is backup.json, the first file of an archive.
type backup struct {
	Format int       `json:"format"`
	At     time.Time `json:"at"`
}

// Backup writes an archive (tar) of all that the server keeps, as it is at one
// moment, while it goes on working: runs, tokens, secrets and the key that opens
// them, apps, buffers, and the logs of runs as far as they are written.
func (s *Server) Backup(ctx context.Context, w io.Writer) error {
	tmp, err := scratch.Make(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer tmp.Remove()
	// What the records name was on disk before them and stays until release.
	release := s.Blobs.Hold()
	defer release()
	at := time.Now().UTC()
	checkpoint := filepath.Join(tmp.Path, storeName)
	if err := s.Store.Checkpoint(ctx, checkpoint); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	tw := tar.NewWriter(w)
	text, err := json.Marshal(backup{Format: backupFormat, At: at})
	if err == nil {
		err = tw.WriteHeader(&tar.Header{Name: backupName, Mode: 0o600, Size: int64(len(text)), ModTime: at})
	}
	if err == nil {
		_, err = tw.Write(text)
	}
	for _, part := range []struct{ name, dir string }{
		{storeName, checkpoint},
		{keyName, filepath.Join(s.cfg.Dir, keyName)},
		{appsName, filepath.Join(s.cfg.Dir, appsName)},
		{buffersName, filepath.Join(s.cfg.Dir, buffersName)},
		{logsName, filepath.Join(s.cfg.Dir, logsName)},
	} {
		if err == nil {
			err = archive(ctx, tw, part.name, part.dir)
		}
	}
	if err := errors.Join(err, tw.Close()); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return nil
}

// archive writes a file, or a folder with all below it, under a name. What
// vanishes meanwhile was no part of the backup's moment.
func archive(ctx context.Context, tw *tar.Writer, name, path string) error {
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(path, p)
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".tmp") {
			return filepath.SkipDir
		}
		as := filepath.ToSlash(filepath.Join(name, rel))
		if d.IsDir() {
			return tw.WriteHeader(&tar.Header{Name: as + "/", Typeflag: tar.TypeDir, Mode: 0o700})
		}
		return archiveFile(tw, as, p)
	})
}

func archiveFile(tw *tar.Writer, name, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(st.Mode().Perm()), Size: st.Size(), ModTime: st.ModTime(), Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(tw, f, st.Size()) // a log may grow meanwhile
	return err
}

// Restore makes a data folder of an archive. The folder must not exist, or be
// empty. A server can be started on it afterwards.
func Restore(ctx context.Context, r io.Reader, dir string) error {
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return fmt.Errorf("restore: folder %s is not empty", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer root.Close()
	if err := extract(ctx, tar.NewReader(r), root); err != nil {
		return errors.Join(fmt.Errorf("restore: %w", err), empty(dir))
	}
	return nil
}

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
		return fmt.Errorf("the backup's format is %d, and this weft reads %d", b.Format, backupFormat)
	}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return syncTree(root)
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := place(root, h, tr); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// place writes one file or folder.
func place(root *os.Root, h *tar.Header, r io.Reader) error {
	name := filepath.Clean(h.Name)
	if !filepath.IsLocal(name) {
		return errors.New("the name leads out of the folder")
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
	return errors.Join(err, f.Sync(), f.Close())
}

// syncTree has the entries of all folders on disk.
func syncTree(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		f, err := root.Open(p)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// empty removes what is in a folder.
func empty(dir string) error {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
