// Package hostbin carries the domain host, weft's unprivileged executable for sandboxes, inside the weft binary.
//
// "make build" compiles cmd/weft-host into this folder before it compiles weft, and the embed directive below picks
// it up. Without that step the package still compiles, thanks to the note weft-host.md that matches the same
// pattern, and Open says what is missing.
package hostbin

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

// name is the file that "make build" writes.
const name = "weft-host"

// ErrAbsent is returned by Open in a weft that was compiled without its domain host, as by a plain "go build".
var ErrAbsent = errors.New("this weft was built without its domain host: run make build")

//go:embed weft-host*
var files embed.FS

// Open returns the executable for reading. It does not copy its 20 MB.
func Open() (fs.File, error) {
	return open(files)
}

// open finds the executable in fsys.
func open(fsys fs.FS) (fs.File, error) {
	f, err := fsys.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrAbsent
	case err != nil:
		return nil, fmt.Errorf("open the embedded domain host: %w", err)
	}
	return f, nil
}
