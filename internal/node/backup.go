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
	partialName = "restore.partial" // as long as a restore is not done
	backupName  = "backup.json"     // the first file of an archive, and of nothing else
	endName     = "backup.end"      // the last one
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
// them, apps, buffers, and the logs of runs as far as they are written. An archive
// without its last file is cut short, and cannot be restored.
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
	checkpoint, apps := filepath.Join(tmp.Path, storeName), filepath.Join(tmp.Path, appsName)
	if err := s.Apps.Checkpoint(ctx, apps, func() error { return s.Store.Checkpoint(ctx, checkpoint) }); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	tw := tar.NewWriter(w)
	text, err := json.Marshal(backup{Format: backupFormat, At: at})
	if err == nil {
		err = archiveBytes(tw, backupName, text, at)
	}
	for _, part := range []struct{ name, dir string }{
		{storeName, checkpoint},
		{keyName, filepath.Join(s.cfg.Dir, keyName)},
		{appsName, apps},
		{buffersName, filepath.Join(s.cfg.Dir, buffersName)},
		{logsName, filepath.Join(s.cfg.Dir, logsName)},
	} {
		if err == nil {
			err = archive(ctx, tw, part.name, part.dir)
		}
	}
	if err == nil {
		err = archiveBytes(tw, endName, nil, at)
	}
	if err == nil {
		err = tw.Close()
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return nil
}

func archiveBytes(tw *tar.Writer, name string, text []byte, at time.Time) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: at}); err != nil {
		return err
	}
	_, err := tw.Write(text)
	return err
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
