package app

import (
	"regexp"

	"github.com/weft-run/weft/internal/yamlfile"
)

// Limits on how many things an app file may declare.
const (
	maxFunctions = 1_000
	maxWorkflows = 1_000
	maxSteps     = 10_000 // of one workflow
)

// Names as they are allowed in app files.
var (
	appName      = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	functionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
)

// What package yamlfile calls its parts is shorter here.
type (
	node  = yamlfile.Node
	entry = yamlfile.Entry
	span  = yamlfile.Span
	// field is a key that an object of type T may have.
	field[T any] = yamlfile.Field[*builder, T]
)

// Errors about an app file, and the places that they name.
type (
	// Pos is a place in an app file. Lines and columns count from one,
	// columns in characters. The zero Pos is no place at all.
	Pos = yamlfile.Pos
	// Error is one thing that is wrong with an app file.
	Error = yamlfile.Error
	// Errors is everything that is wrong with an app file, in the order of
	// the file.
	Errors = yamlfile.Errors
)

// form is what messages about app files have in common.
var form = yamlfile.Form{
	Name:  "an app file",
	Empty: "an app file begins with a name and functions; `weft init` writes an example",
	First: "an app file begins with a line such as `name: hello`",
	Large: "app files are small: move data into files that functions read",
	Many:  "split the app",
}

// ParseSize reads a number of bytes as app files and the command line write
// it: "65536", "64KiB", "1.5GiB". What is larger than an int64 holds is the
// largest one.
func ParseSize(s string) (int64, error) { return yamlfile.ParseSize(s) }
