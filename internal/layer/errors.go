package layer

import (
	"fmt"
	"strings"
)

// Error is requirements that could not be installed.
type Error struct {
	Request Request
	Message string // what failed
	Output  string // what pip says about it
	Hint    string // what to do next
	Err     error  // the cause, if there is one
}

// Error returns the message, and below it what pip says and the hint.
func (e *Error) Error() string {
	var b strings.Builder
	what := "the requirements"
	if e.Request.File != "" {
		what = e.Request.name()
	}
	fmt.Fprintf(&b, "install %s of function %s: %s", what, e.Request.Function, e.Message)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
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
