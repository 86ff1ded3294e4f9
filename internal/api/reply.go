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

// reply answers with JSON.
func (c *call) reply(status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	c.w.WriteHeader(status)
	_, err = c.w.Write(text)
	return err
}

// page answers with a whole list.
func page[T any](c *call, items []T) error {
	if items == nil {
		items = []T{}
	}
	return c.reply(http.StatusOK, wire.Page[T]{Items: items})
}

// read decodes a body. An empty one leaves v as it is.
func (c *call) read(v any) error {
	dec := json.NewDecoder(c.r.Body)
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
	if err == nil || errors.As(err, &large) {
		return err
	}
	return bad("", "the body is not what is wanted here: %v", err)
}

// jsonOrNothing reads a body that may be any JSON value; an empty one is null.
func (c *call) jsonOrNothing() (any, error) {
	if t := c.r.Header.Get("Content-Type"); t != "" {
		if kind, _, err := mime.ParseMediaType(t); err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded" { // curl's default
			return nil, bad("send Content-Type: application/json", "the body is %s, and JSON is wanted here", t)
		}
	}
	var v any
	return v, c.read(&v)
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

// send copies bytes of a known length to the client.
func (c *call) send(contentType string, size int64, r io.Reader) error {
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	c.w.WriteHeader(http.StatusOK)
	_, err := io.Copy(c.w, r)
	return err
}
