package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
)

// held is an answer of JSON.
type held struct {
	status int
	text   []byte
}

func (a *held) send(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.text)))
	w.WriteHeader(a.status)
	_, err := w.Write(a.text)
	return err
}

// reply answers with JSON. The answer to a change goes out once the change is on
// record.
func (c *call) reply(status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	a := &held{status, text}
	if c.rt.audit {
		c.held = a
		return nil
	}
	return a.send(c.w)
}

// page answers with a whole list.
func page[T any](c *call, items []T) error {
	if items == nil {
		items = []T{}
	}
	return c.reply(http.StatusOK, wire.Page[T]{Items: items})
}

// pageLimit is how many items a page has at most.
func (c *call) pageLimit() (int, error) {
	n, err := c.number("limit")
	if n == 0 {
		n = 50
	}
	return min(n, 1000), err
}

// fieldsMax bounds bodies that are JSON with known fields, in bytes.
const fieldsMax = 64 << 10

// read decodes a body with known fields. An empty one leaves v as it is.
func (c *call) read(v any) error {
	return decode(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, fieldsMax), v)
}

// decode reads one value of JSON. An empty body leaves v as it is.
func decode(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after the value")
		}
	}
	return bodyError(err)
}

// bodyError says what is wrong with a body.
func bodyError(err error) error {
	var large *http.MaxBytesError
	if err == nil || errors.As(err, &large) || errors.Is(err, errStalled) {
		return err
	}
	return bad("GET /v1/openapi.json says what the body holds", "the body is not what is wanted here: %v", err)
}

// jsonOrNothing reads a body that may be any JSON value; an empty one is null.
func (c *call) jsonOrNothing() (any, error) {
	if t := c.r.Header.Get("Content-Type"); t != "" {
		if kind, _, err := mime.ParseMediaType(t); err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded" { // curl's default
			return nil, &wrongType{t, "application/json"}
		}
	}
	var v any
	err := decode(c.r.Body, &v)
	return v, err
}

// flag reads a parameter that is true or false.
func (c *call) flag(name string, fallback bool) (bool, error) {
	s := c.r.URL.Query().Get(name)
	if s == "" {
		return fallback, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, bad("", "parameter %s is %q; want true or false", name, s)
	}
	return v, nil
}

// number reads a parameter that is a count.
func (c *call) number(name string) (int, error) {
	s := c.r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, bad("", "parameter %s is %q; want a number from 1 on", name, s)
	}
	return n, nil
}

// span reads a parameter that is a duration.
func (c *call) span(name string, most time.Duration) (time.Duration, error) {
	s := c.r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, bad("", "parameter %s is %q; want a duration such as 30s", name, s)
	}
	return min(d, most), nil
}

// moment reads a parameter that is a time.
func (c *call) moment(name string) (time.Time, error) {
	s := c.r.URL.Query().Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, bad("", "parameter %s is %q; want a time such as 2006-01-02T15:04:05Z", name, s)
	}
	return t, nil
}

// contentOf says what content of an app is. A browser that shows it must not
// take it for a page of the server's own.
func (c *call) contentOf(contentType string) {
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Security-Policy", "sandbox")
}

// send copies bytes of a known length to the client.
func (c *call) send(contentType string, size int64, r io.Reader) error {
	c.contentOf(contentType)
	c.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	c.w.WriteHeader(http.StatusOK)
	_, err := io.Copy(c.w, r)
	return err
}
