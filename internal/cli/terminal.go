package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is where a command reads and writes, and what can be shown there.
type terminal struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	width    int  // columns, 80 where that is not known
	unicode  bool // the locale can show more than ASCII
	outStyle style
	errStyle style
}

// style is how text may be dressed on one of the streams. The zero style writes plain text.
type style struct {
	live  bool // a terminal: lines can be rewritten
	color bool
}

// newTerminal looks at the streams and the environment.
func newTerminal(stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *terminal {
	t := &terminal{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, width: 80}
	color := getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	t.outStyle.live, _ = isTerminal(stdout)
	t.errStyle.live, _ = isTerminal(stderr)
	t.outStyle.color, t.errStyle.color = t.outStyle.live && color, t.errStyle.live && color
	t.errStyle.live = t.errStyle.live && getenv("TERM") != "dumb"
	for _, w := range []io.Writer{stdout, stderr} {
		if ok, width := isTerminal(w); ok && width > 0 {
			t.width = width
		}
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(getenv(name)); v != "" {
			t.unicode = strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
			break
		}
	}
	return t
}

// isTerminal reports whether w is a terminal, and its width.
func isTerminal(w io.Writer) (bool, int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return true, 0
	}
	return true, width
}

// ink is a colour or weight of text, as the parameters of an ANSI sequence.
type ink string

const (
	bold   ink = "1"
	dim    ink = "2"
	red    ink = "31"
	green  ink = "32"
	yellow ink = "33"
	cyan   ink = "36"
)

// paint dresses s, where the stream shows colours.
func (st style) paint(i ink, s string) string {
	if !st.color || i == "" || s == "" {
		return s
	}
	return "\x1b[" + string(i) + "m" + s + "\x1b[0m"
}
