package node

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/scratch"
)

// NewBuilder returns the builder of modules of a node with that CacheDir, empty
// for the default, without a node: what deploys an app builds it, and runs
// nothing.
func NewBuilder(cacheDir string) (*build.Builder, error) {
	dir, err := cacheFolder(cacheDir)
	if err != nil {
		return nil, err
	}
	include := filepath.Join(dir, "include")
	if err := os.MkdirAll(include, 0o700); err != nil {
		return nil, fmt.Errorf("make cache folder: %w; set WEFT_CACHE to a folder that can be written", err)
	}
	if err := writeHeader(filepath.Join(include, "weft.h")); err != nil {
		return nil, err
	}
	modules := filepath.Join(dir, "modules")
	scratch.Sweep(modules) // builds of nodes that were killed
	return build.New(build.Config{CacheDir: modules, IncludeDir: include}), nil
}

// cacheFolder is the folder of Config.CacheDir, or its default.
func cacheFolder(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w; set WEFT_CACHE", err)
	}
	return filepath.Join(caches, "weft"), nil
}
