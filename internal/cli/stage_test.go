package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/weft-run/weft/internal/build"
)

// stageBuilder is a builder that compiles nothing: the module of a source is its own text.
type stageBuilder struct{}

func (stageBuilder) Build(_ context.Context, dir string, f build.Source, _ func(build.Event)) (build.Module, error) {
	path := filepath.Join(dir, f.Path)
	if _, err := os.Stat(path); err != nil {
		return build.Module{}, errors.New("function " + f.Function + " has no source")
	}
	return build.Module{Path: path}, nil
}
