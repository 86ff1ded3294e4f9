package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
)

func (sh *shell) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of weft.yaml, for editors",
		Long: `Print the JSON Schema of weft.yaml. Editors with the YAML language server use it where the file begins with

  # yaml-language-server: $schema=./weft.schema.json

after

  weft schema > weft.schema.json`,
		Args: atMost(0, ""),
		RunE: func(*cobra.Command, []string) error {
			if _, err := sh.stdout.Write(app.Schema()); err != nil {
				return fmt.Errorf("write to stdout: %w", err)
			}
			return nil
		},
	}
}
