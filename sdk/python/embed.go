// Package python holds the Python SDK, the module weft, for the sandboxes of functions in Python.
package python

import (
	"embed"
	"io/fs"
)

//go:embed weft/*.py
var files embed.FS

// Files returns the text of each file of the module by its path, such as "weft/__init__.py".
func Files() (map[string]string, error) {
	texts := map[string]string{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(path)
		texts[path] = string(b)
		return err
	})
	return texts, err
}
