package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/engine"
)

// lineMax bounds a line of a stream, in bytes: the end of a run holds its
// output.
const lineMax = 64 << 20

// The kinds of the last event of a stream.
const (
	endEvent   = "end"   // the run has ended
	errorEvent = "error" // the server cannot tell more; its data is a wire.Problem
)

// silence is how long a stream of events may bring nothing, not even a sign that the server is alive, which it gives
// every 15 s.
const silence = time.Minute

// Events gives what happens in a run, after the event numbered after (0: from
// its start), until it has ended. When the connection breaks it goes on where it
// was. An error is the last that it gives.
func (c *Client) Events(ctx context.Context, id string, after uint64) iter.Seq2[wire.Event, error] {
	return func(yield func(wire.Event, error) bool) {
		if _, err := c.follow(ctx, id, after, func(e wire.Event) bool { return yield(e, nil) }); err != nil && !errors.Is(err, errEnough) {
			yield(wire.Event{}, err)
		}
	}
}

// errEnough ends a stream that nobody wants more of.
var errEnough = errors.New("enough")

// follow reads events until the run has ended, and returns what its last event
// says.
func (c *Client) follow(ctx context.Context, id string, after uint64, visit func(wire.Event) bool) (end []byte, err error) {
	path := get("runs", id, "events").says("Accept", wire.TypeEvents)
	err = c.reconnect(ctx, func() (progress bool, err error) {
		r := path
		if after > 0 {
			r = r.says("Last-Event-ID", strconv.FormatUint(after, 10))
		}
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		res, err := c.do(limited, r)
		if err != nil {
			return false, err
		}
		defer res.Body.Close()
		watchdog := time.AfterFunc(silence, cancel)
		defer watchdog.Stop()
		s := newScanner(attentive{res.Body, watchdog})
		for {
			m, err := readMessage(s)
			if err != nil {
				return progress, err
			}
			switch m.event {
			case endEvent:
				end = m.data
				return true, nil
			case errorEvent:
				p := &Error{}
				if err := json.Unmarshal(m.data, &p.Problem); err != nil {
					return progress, fmt.Errorf("read event of run %s: %w", id, err)
				}
				return progress, p
			}
			var e wire.Event
			if err := json.Unmarshal(m.data, &e); err != nil {
				return progress, fmt.Errorf("read event of run %s: %w", id, err)
			}
			if e.Seq <= after {
				continue
			}
			after, progress = e.Seq, true
			if !visit(e) {
				return true, errEnough
			}
		}
	})
	return end, err
}

// attentive is a stream that puts off what happens when nothing comes.
type attentive struct {
	io.Reader
	watchdog *time.Timer
}

func (a attentive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.watchdog.Reset(silence)
	}
	return n, err
}

// Logs gives the lines that the functions of a run have written to standard
// error; with follow, until the run has ended, also across broken connections.
// An error is the last that it gives.
func (c *Client) Logs(ctx context.Context, id string, follow bool) iter.Seq2[engine.LogLine, error] {
	return func(yield func(engine.LogLine, error) bool) {
		r := get("runs", id, "logs")
		if follow {
			r = r.with("follow", "true")
		}
		given := 0 // lines; they come in the same order each time
		err := c.reconnect(ctx, func() (progress bool, err error) {
			res, err := c.do(ctx, r)
			if err != nil {
				return false, err
			}
			defer res.Body.Close()
			s := newScanner(res.Body)
			for n := 0; s.Scan(); n++ {
				if n < given {
					continue
				}
				var l engine.LogLine
				if err := json.Unmarshal(s.Bytes(), &l); err != nil {
					return progress, fmt.Errorf("read log of run %s: %w", id, err)
				}
				given, progress = given+1, true
				if !yield(l, nil) {
					return true, errEnough
				}
			}
			if err := s.Err(); err != nil {
				return progress, &BrokenError{c.o.Address, err}
			}
			if follow { // a server that is about to end ends its streams too
				d, err := c.Run(ctx, id)
				if err != nil {
					return progress, err
				}
				if !d.Status.Ended() {
					return progress, io.ErrUnexpectedEOF
				}
			}
			return true, nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(engine.LogLine{}, err)
		}
	}
}

// reconnect reads a stream again and again until it is complete, or the server
// is gone for longer than Options.Patience. A server that never answered is not
// waited for.
func (c *Client) reconnect(ctx context.Context, read func() (progress bool, err error)) error {
	connected := false
	last := time.Now()
	for try := 1; ; try++ {
		progress, err := read()
		if err == nil || errors.Is(err, errEnough) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var broken *BrokenError
		var none *NoServerError
		lost := errors.As(err, &broken) || errors.Is(err, io.ErrUnexpectedEOF)
		connected = connected || progress || lost
		if progress {
			try, last = 1, time.Now()
		}
		away := errors.As(err, &none) || Status(err) == http.StatusServiceUnavailable
		if !lost && (!away || !connected) || time.Since(last) > c.o.Patience {
			return err
		}
		if err := pause(ctx, delay(try)); err != nil {
			return err
		}
	}
}

func newScanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), lineMax)
	return s
}

// message is one server-sent event.
type message struct {
	event string
	data  []byte
}

// readMessage reads the next event that has data. The end of the stream is
// io.ErrUnexpectedEOF, since a stream ends with an event that says so.
func readMessage(s *bufio.Scanner) (message, error) {
	var m message
	lines := 0
	for s.Scan() {
		line := s.Text()
		if line == "" {
			if lines > 0 {
				return m, nil
			}
			m = message{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			m.event = value
		case "data":
			if lines++; lines > 1 {
				m.data = append(m.data, '\n')
			}
			if len(m.data)+len(value) > lineMax {
				return m, bufio.ErrTooLong
			}
			m.data = append(m.data, value...)
		}
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return m, err
	case err != nil:
		return m, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return m, io.ErrUnexpectedEOF
}
