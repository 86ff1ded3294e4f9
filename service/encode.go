package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/weft-run/weft/internal/service/wire"
)

// encode is the JSON of a value. One value has one encoding: keys of entries are
// compared with arguments, byte by byte. Characters that only HTML cares about stay
// as they are.
func encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case None:
		return []byte("null"), nil
	case string:
		if plain(v) {
			return append(append(append(make([]byte, 0, len(v)+2), '"'), v...), '"'), nil
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	data := b.Bytes()[:b.Len()-1] // without the newline
	if replaced(data) {
		return nil, errors.New("it has text that is no UTF-8, which JSON does not keep: make it a []byte")
	}
	return data, nil
}

// replaced reports whether JSON has \ufffd, which package json writes for what is no UTF-8; the
// character U+FFFD it writes as it is.
func replaced(data []byte) bool {
	const mark = `\ufffd`
	for at := 0; ; at += len(mark) {
		i := bytes.Index(data[at:], []byte(mark))
		if i < 0 {
			return false
		}
		at += i
		escapes := 0
		for escapes < at && data[at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return true
		}
	}
}

// plain reports whether text is in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// decode reads the JSON of a value.
func decode(data []byte, v any) error {
	switch v := v.(type) {
	case *int:
		if n, err := strconv.Atoi(string(data)); err == nil {
			*v = n
			return nil
		}
	case *None:
		return nil
	case *string:
		if n := len(data); n >= 2 && data[0] == '"' && data[n-1] == '"' && plain(string(data[1:n-1])) {
			*v = string(data[1 : n-1])
			return nil
		}
	}
	err := json.Unmarshal(data, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &wrong):
		return err
	case wrong.Field != "":
		return fmt.Errorf("field %s: got %s, want %v", wrong.Field, wrong.Value, wrong.Type)
	}
	return fmt.Errorf("got %s, want %v", wrong.Value, wrong.Type)
}

// valueOf is the outcome of a method or of a side effect.
func valueOf(result any, err error) wire.Value {
	if err == nil {
		data, wrong := encode(result)
		if wrong == nil {
			return wire.Value{Data: data}
		}
		err = fmt.Errorf("encode the result: %w", wrong)
	}
	return wire.Value{Code: wire.Failed, Text: err.Error()}
}

// decoded is what valueOf was given.
func decoded[T any](v wire.Value) (T, error) {
	var result T
	if err := failure(v); err != nil {
		return result, err
	}
	if len(v.Data) == 0 {
		return result, nil
	}
	if err := decode(v.Data, &result); err != nil {
		return result, fmt.Errorf("decode the result: %w", err)
	}
	return result, nil
}
