package bench

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-run/weft/internal/bench/baseline"
)

// anyApp is an app that is never run.
type anyApp struct{}

func (anyApp) Has(string) bool                               { return true }
func (anyApp) Run(context.Context, Request) (*Result, error) { return nil, errNoNode }

// opensAnything is a node for tests of what stands beside it.
type opensAnything struct{ noWeft }

func (opensAnything) Open(context.Context, string, map[string]string) (App, error) {
	return anyApp{}, nil
}

// newLab is a lab over the repository's examples.
func newLab(t *testing.T, w Weft) *Lab {
	lab := &Lab{Quick: true, Seed: 1, Dir: t.TempDir(), Examples: findExamples(), Weft: w, Log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		if err := lab.close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

// The plain programs that are the limit of word count and sort must give the answers that the generator computed.
func TestNativeAnswers(t *testing.T) {
	lab := newLab(t, opensAnything{})
	for _, c := range []struct {
		app  string
		make func(context.Context, language, int64, int) (*workload, error)
	}{{"wordcount", lab.wordCount}, {"sort", lab.sort}} {
		t.Run(c.app, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(lab.Examples, c.app, "native.c")); err != nil {
				t.Fatal(err)
			}
			n, err := lab.native(t.Context(), c.app)
			if errors.Is(err, baseline.ErrNoCompiler) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, ways := range []int{1, 3} {
				w, err := c.make(t.Context(), languageC, 200_000, ways)
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
