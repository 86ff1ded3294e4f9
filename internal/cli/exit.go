package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
)

// Exit statuses. weft exec passes on that of its module instead.
const (
	exitOK          = 0
	exitFailed      = 1   // the run, the function or the build failed
	exitUsage       = 2   // a wrong command line, input or app
	exitRefused     = 3   // this machine or this weft does not support it
	exitNoServer    = 4   // no server answers
	exitDenied      = 5   // the server wants a token, or one with a greater role
	exitBusy        = 6   // the server is full, or about to end
	exitTimeout     = 124 // weft exec --timeout or weft start --wait ran out, as with timeout(1)
	exitInterrupted = 130 // Ctrl-C or SIGTERM
	exitPipe        = 141 // nobody reads stdout any longer, as of a program that SIGPIPE ended
)

// exitError is an error with an exit status and what to do next.
type exitError struct {
	code int
	err  error // nil: all has been said, there is only a status
	hint string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is an error of what was asked for.
func usage(hint, format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// failed is an error of what was done.
func failed(hint, format string, args ...any) error {
	return &exitError{code: exitFailed, err: fmt.Errorf(format, args...), hint: hint}
}

// silent ends with a status and no message.
func silent(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{code: code}
}

// problem is an error as data.
type problem struct {
	Message string     `json:"message"`
	Hint    string     `json:"hint,omitempty"`
	Status  int        `json:"exit_status"`
	Errors  app.Errors `json:"errors,omitempty"`     // of an invalid app, each with its place
	Request string     `json:"request_id,omitempty"` // as the server's log has it
}

// explain finds status and hint of err.
func explain(ctx context.Context, err error) problem {
	p := problem{Message: err.Error(), Status: exitFailed}
	var ee *exitError
	switch {
	case errors.As(err, &ee):
		p.Status, p.Hint = ee.code, ee.hint
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, ctx.Err())):
		p.Status, p.Message = exitInterrupted, "interrupted"
	case explainServer(err, &p):
	case errors.Is(err, errors.ErrUnsupported):
		p.Status, p.Hint = exitRefused, "weft doctor shows what this machine supports"
	case errors.As(err, &p.Errors):
		p.Status = exitUsage
	}
	return p
}

// unread reports whether err is that the reader of stdout has gone, as head does when it has enough.
func unread(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe) && pe.Path == os.Stdout.Name() && errors.Is(pe.Err, syscall.EPIPE)
}

// report tells the person, or the program that asked for data, what went wrong with cmd, and returns the exit status.
func (sh *shell) report(ctx context.Context, cmd *cobra.Command, err error) int {
	p := explain(ctx, err)
	var ee *exitError
	if errors.As(err, &ee) && ee.err == nil {
		return p.Status
	}
	if unread(err) {
		return exitPipe
	}
	if f := cmd.Flags().Lookup("output"); f != nil && (f.Value.String() == "json" || f.Value.String() == "yaml") {
		if printErr := sh.printData(f.Value.String(), map[string]problem{"error": p}); printErr == nil {
			return p.Status
		}
	}
	if len(p.Errors) > 0 {
		for _, e := range p.Errors {
			fmt.Fprintf(sh.stderr, "%s\n\n", sh.paintAppError(e))
		}
		p.Message = plural(len(p.Errors), "error") + " in " + p.Errors[0].File
	}
	name := strings.TrimSpace(cmd.CommandPath())
	fmt.Fprintf(sh.stderr, "%s %s\n", sh.errStyle.paint(red, name+":"), p.Message)
	if p.Hint != "" {
		fmt.Fprintf(sh.stderr, "%s %s\n", sh.errStyle.paint(cyan, "hint:"), p.Hint)
	}
	return p.Status
}

// paintAppError renders one error of an app file, in colour where that is shown.
func (sh *shell) paintAppError(e *app.Error) string {
	text := e.Render()
	if first, rest, ok := strings.Cut(text, "\n"); ok {
		text = sh.errStyle.paint(bold, first) + "\n" + rest
	}
	return text
}

// plural writes "1 error", "2 errors".
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// jsonHint points at the place of a syntax error in src.
func jsonHint(src []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 1 || int(syntax.Offset) > len(src) {
		return ""
	}
	from, to := max(int(syntax.Offset)-30, 0), min(int(syntax.Offset)+10, len(src))
	return fmt.Sprintf("the fault is at byte %d, near %q", syntax.Offset, src[from:to])
}
