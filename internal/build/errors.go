package build

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Error is a function that could not be built.
type Error struct {
	Source  Source
	Message string // what failed
	Command string // the compiler's command line, if one ran
	Exit    int    // its exit status, or -1 when a signal ended it
	Output  string // the first lines of what it wrote
	Hint    string // what to do next
	Err     error  // the cause, if there is one
}

// Error returns the message, and below it the compiler's output and the hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Source.Place != "" {
		b.WriteString(e.Source.Place + ": ")
	}
	fmt.Fprintf(&b, "build function %s: %s", e.Source.Function, e.Message)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Command != "" {
		fmt.Fprintf(&b, "\n  command: %s", e.Command)
	}
	for line := range strings.Lines(e.Output) {
		b.WriteString("\n  " + strings.TrimRight(line, "\r\n"))
	}
	if e.Hint != "" {
		b.WriteString("\nhint: " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// sourceError reports that a source cannot be read.
func sourceError(f Source, path string, err error) *Error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{
			Source:  f,
			Message: fmt.Sprintf("source %s does not exist (looked for %s)", f.Path, path),
			Hint:    "a source is a Go package folder, a C file or folder, a Rust file or a .wasm file, relative to the app's folder",
			Err:     nil,
		}
	}
	return &Error{Source: f, Message: "cannot read source " + f.Path, Err: err}
}
