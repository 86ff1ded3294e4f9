package cpu_test

import (
	"os"
	"testing"

	"github.com/weft-run/weft/internal/bench"
	"github.com/weft-run/weft/internal/cli"
)

// TestMain lets the test binary be weft: what experiments start as a process of its own is this executable.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == bench.ChildCommand) {
		os.Exit(cli.Main())
	}
	os.Exit(m.Run())
}
