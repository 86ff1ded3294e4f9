package sweep_test

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/weft-run/weft/internal/service/sweep"
)

var inPython = flag.Bool("python", false, "sweep all applications in Python, not one")

// The applications in Python do what those in Go do, wherever something goes wrong, and cost
// the same. The one that is swept by default begins calls and waits for them, so that its methods are
// run again when something has gone wrong.
func TestSweepPython(t *testing.T) {
	swept := 0
	for _, s := range scripts {
		if s.Name == shopScript.Name || s.Name != "fan-out" && !*inPython {
			continue
		}
		files, err := filepath.Glob("../../../examples/services/" + s.Name + "/python/*.py")
		if err != nil || len(files) != 1 {
			t.Fatalf("%s has %d files in Python: %v", s.Name, len(files), err)
		}
		swept++
		t.Run(s.Name, func(t *testing.T) {
			var names []string
			for _, v := range s.Services {
				names = append(names, v.Name())
			}
			s.Python = sweep.NewPython(t, files[0], names)
			costs(t, s)
			sweep.Run(t, s, sweep.Options{Every: *every})
		})
	}
	if swept == 0 {
		t.Error("no application was swept")
	}
}
