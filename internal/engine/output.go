package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// output turns what a function wrote into the step's output.
func (a *active) output(res *domain.Result) (any, error) {
	ref := map[string]any{"$buffer": slotPath(a.Path) + "/stdout", "size": int64(0)}
	switch {
	case res.Spilled != nil:
		ref["size"] = res.Spilled.Len
		return ref, nil
	case a.fn.Output == wire.OutputBytes:
		return ref, nil
	}
	if a.fn.Output == wire.OutputText {
		if !utf8.Valid(res.Output) {
			return nil, errors.New("its output is not UTF-8 text; say output: bytes")
		}
		return string(res.Output), nil
	}
	out := bytes.TrimSpace(res.Output)
	if len(out) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(out))
	var v any
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more after the first value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("its output is not JSON (%v): %s; print one JSON value on stdout and logs on stderr, or say output: text", err, excerpt(out))
	}
	return v, nil
}

// excerpt quotes the beginning of an output for a message.
func excerpt(b []byte) string {
	const most = 60
	if len(b) <= most {
		return strconv.Quote(string(b))
	}
	return strconv.Quote(string(b[:most])) + "…"
}
