package cli

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
)

// starter has the apps that weft init writes, each in a folder that is named by its runtime, or service. Files end in .txt so that they are no Go files here; NAME stands for the
// app's name.
//
//go:embed starter
var starter embed.FS

// schemaFile is where the first line of the starter's weft.yaml tells editors to find the schema.
const schemaFile = "weft.schema.json"

func (sh *shell) initCommand() *cobra.Command {
	runtime, service := app.RuntimeWasm, false
	cmd := &cobra.Command{
		Use:   "init [folder]",
		Short: "Write a small app that works",
		Long: `Write a small app that works into a folder (by default this one): weft.yaml, a function in Go or Python, or a service in
Go, and the schema with which editors complete and check weft.yaml. No file is overwritten.`,
		Example: "  weft init hello && weft run hello\n  weft init --runtime python hello\n  weft init --service count",
		Args:    atMost(1, "one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			if runtime != app.RuntimeWasm && runtime != app.RuntimePython {
				return usage("say --runtime wasm or --runtime python", "there is no starter for runtime %q", runtime)
			}
			if service && runtime != app.RuntimeWasm {
				return usage("leave --runtime out: the service is in Go, for runtime wasm and native alike", "there is no starter for a service with runtime %s", runtime)
			}
			dir, root := appArgument(args), runtime
			if service {
				root = "service"
			}
			written, err := writeStarter(dir, root)
			if err != nil {
				return err
			}
			for _, name := range written {
				fmt.Fprintf(sh.stderr, "wrote %s\n", name)
			}
			at := ""
			if dir != "." {
				at = " " + dir
			}
			next := "weft run" + at
			if service {
				next = "go get github.com/weft-run/weft/service, there; weft serve; weft deploy" + at
			}
			fmt.Fprintf(sh.stderr, "next: %s\n", next)
			return nil
		},
	}
	cmd.Flags().StringVar(&runtime, "runtime", runtime, "of the function: wasm, which is written in Go, or python")
	cmd.Flags().BoolVar(&service, "service", false, "a service instead of a function")
	return cmd
}

// writeStarter writes the starter app in a folder of starter into dir. It looks for files that it would overwrite before it writes any.
func writeStarter(dir, kind string) ([]string, error) {
	files := map[string][]byte{schemaFile: app.Schema()}
	order := []string{schemaFile}
	name := appName(dir)
	root := "starter/" + kind
	err := fs.WalkDir(starter, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		src, err := starter.ReadFile(path)
		target := strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".txt")
		files[target] = []byte(strings.ReplaceAll(string(src), "NAME", name))
		order = append(order, target)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the starter app: %w", err)
	}
	for _, target := range order {
		path := filepath.Join(dir, target)
		if _, err := os.Lstat(path); err == nil {
			return nil, usage("name a folder that does not exist yet, such as weft init hello", "write an app into %s: %s exists and is not overwritten", dir, path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("write an app into %s: %w", dir, err)
		}
	}
	var written []string
	for _, target := range order {
		path := filepath.Join(dir, target)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("write an app into %s: %w", dir, err)
		}
		if err := os.WriteFile(path, files[target], 0o644); err != nil {
			return nil, fmt.Errorf("write an app into %s: %w", dir, err)
		}
		written = append(written, path)
	}
	return written, nil
}

// appName makes a valid name of an app from that of its folder.
func appName(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "app"
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, filepath.Base(abs))
	if name = strings.Trim(name[:min(len(name), 63)], "-"); name == "" {
		return "app"
	}
	return name
}
