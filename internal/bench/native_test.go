package bench

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
)

// anyApp is an app that is never run.
type anyApp struct{}

func (anyApp) Has(string) bool { return true }
func (anyApp) Run(context.Context, lab.Request) (*lab.Result, error) {
	return nil, errors.ErrUnsupported
}

// opensAnything is a node for tests of what stands beside it.
type opensAnything struct{ lab.Weft }

func (opensAnything) Open(context.Context, string, map[string]string) (lab.App, error) {
	return anyApp{}, nil
}

// The plain programs that are the limit of word count and sort must give the answers that the generator computed.
func TestNativeAnswers(t *testing.T) {
	l := &lab.Lab{Quick: true, Seed: 1, Dir: t.TempDir(), Examples: filepath.Join("..", "..", "examples"), Weft: opensAnything{}, Log: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		app  string
		make func(context.Context, *lab.Lab, language, int64, int) (*workload, error)
	}{{"wordcount", wordCount}, {"sort", sort}} {
		t.Run(c.app, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(l.Examples, c.app, "native.c")); err != nil {
				t.Fatal(err)
			}
			n, err := native(t.Context(), l, c.app)
			if errors.Is(err, baseline.ErrNoCompiler) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, ways := range []int{1, 3} {
				w, err := c.make(t.Context(), l, languageC, 200_000, ways)
				if err != nil {
					t.Fatal(err)
				}
				digest, took, err := w.runNative(t.Context(), n)
				if err != nil || digest != w.expect || took <= 0 {
					t.Errorf("%d ways: %s in %s, %v; want %s", ways, digest, took, err, w.expect)
				}
			}
		})
	}
}
