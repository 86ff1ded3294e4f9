package lab

import (
	"os"
	"testing"

	"github.com/weft-run/weft/internal/bench/baseline"
)

// TestMain lets the test binary be a process of a baseline, as weft's executable is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == baseline.Command {
		os.Exit(baseline.ChildMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}
