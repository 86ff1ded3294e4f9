package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// FieldMax bounds each text of an entry, in bytes; longer ones are cut.
const FieldMax = 1 << 10

// Entry is one thing that somebody has done, or was refused.
type Entry struct {
	At      time.Time `json:"at"`             // default: now
	Who     string    `json:"who"`            // the identity's name
	Role    string    `json:"role,omitempty"` // its role; "" if nobody was known
	From    string    `json:"from,omitempty"` // remote address, or "unix"
	Action  string    `json:"action"`         // "app.deploy"
	Subject string    `json:"subject,omitempty"`
	Outcome string    `json:"outcome"`           // "ok", or what kind of failure
	Request string    `json:"request,omitempty"` // id of the request
}

// encode writes an entry as a line, with its end.
func encode(e Entry) ([]byte, error) {
	for _, s := range []*string{&e.Who, &e.Role, &e.From, &e.Action, &e.Subject, &e.Outcome, &e.Request} {
		*s = cut(*s)
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line) // ends the line; line ends within texts are escaped
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	return line.Bytes(), nil
}

// cut shortens a text to FieldMax bytes, at the end of a character.
func cut(s string) string {
	if len(s) <= FieldMax {
		return s
	}
	end := FieldMax - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// decode reads a line without its end. Keys that it does not know are those of a
// newer weft and are left out.
func decode(line []byte) (Entry, error) {
	var e Entry
	if len(line) == 0 || line[0] != '{' {
		return Entry{}, errors.New("the line is not an entry")
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Entry{}, fmt.Errorf("the line is not an entry: %w", err)
	}
	if e.At.IsZero() {
		return Entry{}, errors.New("the line is not an entry: it has no time")
	}
	return e, nil
}
