package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
)

// readInput reads the value of --input: JSON, @FILE or - for stdin.
func (sh *shell) readInput(text string) (any, error) {
	src, err := sh.readJSON("the run's input", "--input", text)
	if src == nil || err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(src, &v); err != nil {
		return nil, usage("", "the run's input is not JSON: %v", err)
	}
	return v, nil
}

// readJSON reads JSON text, @FILE or - for stdin as what is to go to a server: its numbers keep all their digits. It is
// nil for an empty text. flag is what the text was given with.
func (sh *shell) readJSON(what, flag, text string) (json.RawMessage, error) {
	src, from := []byte(text), flag
	var err error
	switch {
	case text == "":
		return nil, nil
	case text == "-":
		from = "stdin"
		src, err = io.ReadAll(sh.stdin)
	case strings.HasPrefix(text, "@"):
		from = text[1:]
		src, err = os.ReadFile(from)
	}
	if err != nil {
		return nil, usage(flag+" takes JSON, @FILE or - for stdin", "read %s: %v", what, err)
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	var v json.RawMessage
	if err := dec.Decode(&v); err != nil {
		hint := jsonHint(src, err)
		if hint == "" {
			hint = flag + " takes JSON, @FILE or - for stdin; a string needs quotes of its own: '\"text\"'"
		}
		return nil, usage(hint, "%s from %s is not JSON: %v", what, from, err)
	}
	if rest := bytes.TrimSpace(src[dec.InputOffset():]); len(rest) > 0 {
		return nil, usage("give one JSON value", "%s from %s is not JSON: there is more after the value: %.20q", what, from, rest)
	}
	return v, nil
}
