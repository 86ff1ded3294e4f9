package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/node"
)

func (sh *shell) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Write all that a server keeps into an archive",
		Long: `Write all that a server keeps, as it is at one moment, into an archive, or to stdout. The server goes on working. The
archive holds the secrets and the key that opens them: only its owner can read the file.

weft restore makes a data folder of it.`,
		Example: `  weft backup weft-$(date +%F).tar
  weft backup - | age -r age1… > weft.tar.age`,
		Args: between(1, 1, "a file, or - for stdout"),
	}
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		if args[0] == "-" && sh.outStyle.live {
			return usage("weft backup - > FILE, or weft backup FILE", "an archive is nothing for a terminal")
		}
		r, err := c.Backup(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		if args[0] == "-" {
			if _, err := io.Copy(sh.stdout, r); err != nil {
				return fmt.Errorf("write the archive: %w", err)
			}
			return nil
		}
		n, err := writeBackup(args[0], r)
		if err != nil {
			return err
		}
		fmt.Fprintf(sh.stderr, "%s: %s\n", args[0], size(n))
		return nil
	})
}

func (sh *shell) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Make the data folder of a server of an archive",
		Long: `Make a data folder, which must not exist or be empty, of an archive that weft backup has written. No server is needed;
one that is started on the folder afterwards goes on with the runs that were under way at the time of the backup.`,
		Example: `  weft restore weft.tar --data /var/lib/weft && weft serve --data /var/lib/weft`,
		Args:    between(1, 1, "a file, or - for stdin"),
	}
	dir := cmd.Flags().String("data", "", "folder to make")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *dir == "" {
			return usage("weft restore FILE --data DIR", "--data says which folder to make, and is missing")
		}
		in := sh.stdin
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return usage("name an archive that weft backup has written", "%v", err)
			}
			defer f.Close()
			in = f
		}
		if err := node.Restore(cmd.Context(), in, *dir); err != nil {
			return err
		}
		fmt.Fprintf(sh.stderr, "weft serve --data %s starts a server on it\n", *dir)
		return nil
	}
	return cmd
}

// writeBackup writes an archive to a file, which is there when it is complete and on disk.
func writeBackup(name string, r io.Reader) (n int64, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".weft-backup-*") // 0600
	if errors.Is(err, fs.ErrNotExist) {
		return 0, usage("make it first", "write the archive %s: there is no folder %s", name, filepath.Dir(name))
	}
	if err != nil {
		return 0, fmt.Errorf("write the archive %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("write the archive %s: %w", name, err)
		}
	}()
	if n, err = io.Copy(tmp, r); err != nil {
		tmp.Close()
		return n, err
	}
	if err = tmp.Sync(); err != nil {
		tmp.Close()
		return n, err
	}
	if err = tmp.Close(); err != nil {
		return n, err
	}
	return n, os.Rename(tmp.Name(), name)
}
