package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/flow"
)

// Error is an answer that is an error. Its Status, Detail, Hint and Errors are
// what the server says; Errors can also be had with errors.As.
type Error struct {
	wire.Problem
	RetryAfter time.Duration // when the server may have time; 0: it does not say
}

// Error is what went wrong, without the hint.
func (e *Error) Error() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case e.Title != "":
		return strings.ToLower(e.Title)
	}
	return "the server answers " + statusText(e.Status)
}

// Unwrap gives what is wrong with an app file, if that is it.
func (e *Error) Unwrap() error {
	if len(e.Errors) == 0 {
		return nil
	}
	return e.Errors
}

// Status is the status of the answer that err is, 0 if it is none.
func Status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Problem.Status
	}
	return 0
}

// NoServerError says that nobody answers at an address.
type NoServerError struct {
	Address string
	Err     error
}

// Error names the address and why it cannot be reached.
func (e *NoServerError) Error() string {
	return fmt.Sprintf("no server answers at %s: %v", e.Address, e.Err)
}

// Unwrap gives what connecting failed with.
func (e *NoServerError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *NoServerError) Hint() string {
	if socket, err := socketOf(e.Address); err == nil && socket != "" {
		return "weft serve starts one; --server or WEFT_SERVER names another"
	}
	return "weft context list shows the servers that are known; --server or WEFT_SERVER names another"
}

// BrokenError is a connection that ended before the answer came, or on which none
// was made because the other side is not what was expected.
type BrokenError struct {
	Address string
	Err     error
}

// Error names the address and what happened.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("the connection to %s broke: %v", e.Address, e.Err)
}

// Unwrap gives what the connection failed with.
func (e *BrokenError) Unwrap() error { return e.Err }

func statusText(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return strconv.Itoa(code)
}

// problemMax bounds how much of an error is read, in bytes.
const problemMax = 1 << 20

// problemOf reads the error that an answer is. It closes the answer's body.
func problemOf(r *http.Response) *Error {
	defer r.Body.Close()
	e := &Error{RetryAfter: retryAfter(r.Header)}
	body, err := io.ReadAll(io.LimitReader(r.Body, problemMax))
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != wire.TypeProblem || json.Unmarshal(body, &e.Problem) != nil {
		e.Problem = wire.Problem{Detail: "the server answers " + statusText(r.StatusCode)}
		if kind != "text/html" { // a proxy's page says nothing in a terminal
			if text, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n"); text != "" {
				e.Detail += fmt.Sprintf(": %.200s", text)
			}
		}
	}
	e.Problem.Status = r.StatusCode
	if e.Request == "" {
		e.Request = r.Header.Get(wire.HeaderRequestID)
	}
	return e
}

// retryAfter reads the header Retry-After, in seconds or as a date.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// failureOf reads the failure that ends streamed output.
func failureOf(trailer string) *Error {
	var f flow.Failure
	if json.Unmarshal([]byte(trailer), &f) != nil || f.Message == "" {
		f = flow.Failure{Message: trailer}
	}
	status := http.StatusBadGateway
	if f.Kind == flow.KindTimeout {
		status = http.StatusGatewayTimeout
	}
	return &Error{Problem: wire.Problem{Type: TypeFunctionFailed, Status: status, Detail: f.Message, Kind: f.Kind}}
}

// TypeFunctionFailed is the type of the problem that a failed function is.
const TypeFunctionFailed = "urn:weft:function-failed"
