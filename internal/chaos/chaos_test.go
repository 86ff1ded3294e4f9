package chaos_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/build/buildtest"
	"github.com/weft-run/weft/internal/chaos"
)

var (
	seed  = flag.Uint64("seed", 0, "what happens is drawn from this; 0: from the time")
	span  = flag.Duration("for", 5*time.Second, "how long the server is killed, or watched")
	runs  = flag.Int("runs", 0, "how many runs are started; 0: 1,000 a minute")
	every = flag.Duration("every", 0, "from kill to kill; 0: two seconds")
	dir   = flag.String("dir", "", "folder for all that is written; default: a new one")
)

// binary is the weft that people install. Tests are skipped where there is none.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("WEFT")
	if path == "" {
		path = filepath.Join("..", "..", "bin", "weft")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s: run make build", path)
	}
	buildtest.NeedC(t)
	return path
}

// drawn is the seed.
func drawn(t *testing.T) uint64 {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("go test ./internal/chaos -run %s -v -args -seed %d -for %v", t.Name(), *seed, *span)
	return *seed
}

// A server is killed again and again; nothing that it promised is lost. What
// fails is looked at with: go test ./internal/chaos -run Chaos -v -args -seed N -for 60s
func TestChaos(t *testing.T) {
	again := *seed != 0
	o := chaos.Options{Binary: binary(t), Seed: drawn(t), For: *span, Runs: *runs, Every: *every, Dir: *dir}
	if again {
		o.Log = t.Logf
	}
	r, err := chaos.Run(t.Context(), o)
	t.Logf("%+v", r)
	if err != nil {
		t.Fatal(err)
	}
}

// A server under a steady load takes no more and no more of the machine.
func TestSoak(t *testing.T) {
	o := chaos.SoakOptions{Binary: binary(t), Seed: drawn(t), For: *span, Dir: *dir}
	if testing.Verbose() {
		o.Log = t.Logf
	}
	r, err := chaos.Soak(t.Context(), o)
	t.Logf("%d invocations, %d failures, %d runs, %d streams, %d deployments, %d followed, %d samples", r.Invocations, r.Failures, r.Runs, r.Streams, r.Deployments, r.Followed, len(r.Samples))
	for _, line := range r.Lines {
		t.Log(line)
	}
	if err != nil {
		t.Fatal(err)
	}
}
