package cli

import (
	"bytes"
	"errors"
	"fmt"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/generator"
)

func (sh *shell) generateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "generate [folder...]",
		Short: "Write the clients and the program of services in Go",
		Long: `Read the Go packages in folders (by default this one), which specify services, and write what they need besides:
weft_gen.go with clients and what calls the methods, and instance/main.go, the program, where the package is not main itself.
What a service may not do (goroutines, global variables, the clock, randomness, input and output) is refused, with its place,
in other packages of the module too. The services are compared with the app file in the next folder above that has one.
Go has to be installed. docs/services-go.md says how services are written.`,
		Example: `  weft generate ./bank`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			for _, dir := range args {
				made, err := generator.Generate(cmd.Context(), dir)
				if err != nil {
					return refused(err)
				}
				for _, f := range made.Files {
					if err := sh.writeGenerated(f); err != nil {
						return err
					}
				}
				differences, hint := compared(dir, made)
				if len(differences) > 0 {
					return usage("what is generated is written; docs/services-go.md says what the two have to agree on", "the app file and the services differ:\n%s", strings.Join(differences, "\n"))
				}
				if hint != "" {
					fmt.Fprintf(sh.stderr, "%s %s\n", sh.errStyle.paint(cyan, "hint:"), hint)
				}
			}
			return nil
		},
	}
}

// refused is the error of a specification, its files named as from this folder.
func refused(err error) error {
	var problems generator.Problems
	if !errors.As(err, &problems) {
		return err
	}
	for i, p := range problems {
		if p.Pos.IsValid() {
			problems[i].Pos.Filename = shown(p.Pos.Filename)
		}
	}
	return usage("docs/services-go.md says what a service may do", "nothing is generated:\n%v", problems)
}

// writeGenerated writes a file, unless it is there as it should be.
func (sh *shell) writeGenerated(f generator.File) error {
	if old, err := os.ReadFile(f.Path); err == nil && bytes.Equal(old, f.Text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(f.Path, f.Text, 0o666); err != nil {
		return err
	}
	_, err := fmt.Fprintf(sh.stderr, "wrote %s\n", shown(f.Path))
	return err
}

// shown is a path as from this folder, where it is below that.
func shown(path string) string {
	if here, err := os.Getwd(); err == nil && filepath.IsAbs(path) {
		if rel, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}

// lineOf is a line of a source file.
func lineOf(p token.Position) string { return fmt.Sprintf("%s:%d", shown(p.Filename), p.Line) }
