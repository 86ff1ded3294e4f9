package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// formatValue writes a JSON value for people and programs alike: what fits into width columns is on one line, anything
// longer has a line for each of its members.
func formatValue(v any, width int) ([]byte, error) {
	out, err := appendValue(nil, v, "", width)
	return append(out, '\n'), err
}

// appendValue writes v behind out, at a depth that indent shows.
func appendValue(out []byte, v any, indent string, width int) ([]byte, error) {
	flat, err := flatValue(v)
	if err != nil {
		return nil, err
	}
	inner := indent + "  "
	switch v := v.(type) {
	case map[string]any:
		if len(indent)+utf8.RuneCount(flat) <= width {
			break
		}
		return appendMembers(out, '{', '}', indent, len(v), slices.Values(slices.Sorted(maps.Keys(v))), func(out []byte, key string) ([]byte, error) {
			name, err := flatValue(key)
			if err != nil {
				return nil, err
			}
			return appendValue(append(append(out, name...), ": "...), v[key], inner, width)
		})
	case []any:
		if len(indent)+utf8.RuneCount(flat) <= width {
			break
		}
		return appendMembers(out, '[', ']', indent, len(v), slices.Values(v), func(out []byte, item any) ([]byte, error) {
			return appendValue(out, item, inner, width)
		})
	}
	return append(out, flat...), nil
}

// appendMembers writes n members between brackets, one a line.
func appendMembers[T any](out []byte, opening, closing byte, indent string, n int, members func(yield func(T) bool), write func([]byte, T) ([]byte, error)) ([]byte, error) {
	out = append(out, opening)
	for m := range members {
		var err error
		if out, err = write(append(out, "\n"+indent+"  "...), m); err != nil {
			return nil, err
		}
		if n--; n > 0 {
			out = append(out, ',')
		}
	}
	return append(append(out, "\n"+indent...), closing), nil
}

// flatValue writes v on one line, with a space after each colon and comma.
func flatValue(v any) ([]byte, error) {
	var tight bytes.Buffer
	enc := json.NewEncoder(&tight)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the output: %w", err)
	}
	var out []byte
	text, escaped := false, false
	for _, c := range bytes.TrimSpace(tight.Bytes()) {
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case text && c == '\\':
			escaped = true
		case c == '"':
			text = !text
		case !text && (c == ':' || c == ','):
			out = append(out, ' ')
		}
	}
	return out, nil
}
