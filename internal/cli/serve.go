package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/config"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/server"
	"github.com/weft-run/weft/internal/yamlfile"
)

// serveOptions are the flags of weft serve. Each stands for a setting of the configuration and wins over it.
type serveOptions struct {
	cpu                  *choice
	config, data, socket string
	listen, allow        []string
	print                bool
}

func (sh *shell) serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve deployed apps: durable runs, triggers, an API",
		Long: `Serve deployed apps until the process is told to end. Runs that were under way when the server ended, in whatever way,
go on at its next start.

The server listens on a unix socket that only its own user and root can use, which is where the other commands look for it;
--listen adds TCP addresses, whose clients need a token (weft tokens create). The first token, of role admin, is in the file
admin.token of the data folder. What a configuration file can say is in docs/configuration.md; --print-config prints one with
every setting as it is in force.`,
		Example: `  weft serve
  weft serve --listen 127.0.0.1:8430 --allow /srv/photos
  weft serve --config /etc/weft.yaml`,
		Args: atMost(0, ""),
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "configuration file (default: none)")
	f.StringVar(&o.data, "data", "", "folder of all that the server keeps (default: as in the configuration)")
	f.StringVar(&o.socket, "socket", "", "path of the unix socket (default: weft.sock in $XDG_RUNTIME_DIR, else in the data folder)")
	f.StringArrayVar(&o.listen, "listen", nil, "TCP address HOST:PORT to listen at; may be repeated")
	f.StringArrayVar(&o.allow, "allow", nil, "folder that apps may ask for, DIR or DIR:rw; may be repeated")
	o.cpu = choiceFlag(cmd, "cpu", "policy by which calls get the processor (default: as in the configuration)", policy.Names...)
	f.BoolVar(&o.print, "print-config", false, "print the configuration and leave")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := o.load()
		if err != nil {
			return err
		}
		if o.print {
			if _, err := sh.stdout.Write(cfg.YAML()); err != nil {
				return fmt.Errorf("write to stdout: %w", err)
			}
			return nil
		}
		err = server.Run(cmd.Context(), server.Options{Config: cfg, CacheDir: sh.getenv("WEFT_CACHE"), Version: readVersion().Version, Log: sh.stderr})
		return needsHost(err)
	}
	return cmd
}

// load reads the configuration and sets what flags say.
func (o *serveOptions) load() (*config.Config, error) {
	cfg := config.Default()
	if o.config != "" {
		var err error
		if cfg, err = config.Load(o.config); err != nil {
			return nil, err
		}
	}
	for _, p := range []struct {
		flag string
		to   *string
	}{{o.data, &cfg.Data}, {o.socket, &cfg.Socket}} {
		if p.flag == "" {
			continue
		}
		path, err := filepath.Abs(p.flag)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", p.flag, err)
		}
		*p.to = path
	}
	if o.cpu.value != "" {
		cfg.CPU = o.cpu.value
	}
	cfg.Listen = append(cfg.Listen, o.listen...)
	for _, dir := range o.allow {
		dir, write := strings.CutSuffix(dir, ":rw")
		path, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", dir, err)
		}
		if st, err := os.Stat(path); err != nil || !st.IsDir() {
			return nil, usage("--allow takes a folder of this machine", "--allow %s: there is no such folder", dir)
		}
		cfg.Grants.Folders = append(cfg.Grants.Folders, config.Folder{Path: path, Write: write})
	}
	checked, err := config.Parse("flags of weft serve", "/", cfg.YAML())
	if err != nil {
		return nil, usage("docs/configuration.md says what each setting takes", "%v", firstError(err))
	}
	return checked, nil
}

// firstError is the first of the errors in a configuration, without its place: there is no file to point at.
func firstError(err error) error {
	var errs yamlfile.Errors
	if errors.As(err, &errs) && len(errs) > 0 {
		return errors.New(errs[0].Message)
	}
	return err
}
