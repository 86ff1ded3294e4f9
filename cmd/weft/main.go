// Weft runs serverless workflows of sandboxed functions: see "weft help" and docs/cli.md.
package main

import (
	"os"

	"github.com/weft-run/weft/internal/cli"
)

func main() {
	os.Exit(cli.Main())
}
