package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// secretMax bounds what is read as a secret or token, in bytes.
const secretMax = 64 << 10

// readSecret reads what must not be on a command line: a file, or stdin for "-", where somebody at a terminal is asked
// for it and sees nothing of what they type. A line end at the end of stdin does not count.
func (sh *shell) readSecret(file, what string) ([]byte, error) {
	var in io.Reader = sh.stdin
	from := "stdin"
	if f, ok := sh.stdin.(*os.File); ok && file == "-" && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(sh.stderr, "%s: ", what)
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(sh.stderr)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		in = bytes.NewReader(text)
	}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("name a file that can be read, or - for stdin", "read %s: %v", what, err)
		}
		defer f.Close()
		in, from = f, file
	}
	text, err := io.ReadAll(io.LimitReader(in, secretMax+2))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if file == "-" {
		text = trimLineEnd(text)
	}
	switch {
	case len(text) == 0:
		return nil, usage("write it to stdin, or name its file", "%s from %s is empty", what, from)
	case len(text) > secretMax:
		return nil, usage("what is larger is granted as a file", "%s from %s has more than %d bytes", what, from, secretMax)
	}
	return text, nil
}

// trimLineEnd takes one line end off.
func trimLineEnd(text []byte) []byte {
	text, cut := bytes.CutSuffix(text, []byte("\n"))
	if cut {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return text
}
