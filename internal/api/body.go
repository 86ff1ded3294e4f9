package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// A client that sends or reads slowly must not hold what others need: a body
// may take Options.Patience, and beyond that a second for every rateMin bytes that
// have come; each pieceMax bytes of an answer may take Options.Patience.
const (
	rateMin  = 4 << 10
	pieceMax = 64 << 10
)

// errStalled says that a client takes too long to send a body.
var errStalled = errors.New("the body does not come: the client is too slow, or has stopped")

// errBrokenOff says that a body has ended before its time. It is not
// io.ErrUnexpectedEOF, which readers take for the end of what is short.
var errBrokenOff = errors.New("the body has broken off before its end")

// body is the body of a request, which its client must send without undue delay.
type body struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration

	bytes   int64
	spent   time.Duration // in waiting for bytes
	over    bool          // its end has been read
	stalled bool          // it took too long; the request's context has ended then
}

func (b *body) Read(p []byte) (int, error) {
	begun := time.Now()
	allowed := b.patience + time.Duration(b.bytes/rateMin)*time.Second - b.spent
	if err := b.control.SetReadDeadline(begun.Add(allowed)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	b.spent += time.Since(begun)
	// From the end of the body on the connection is read in order to see whether
	// its client is there, which has no deadline. Over HTTP/2 a deadline counts
	// even while nobody reads.
	if err := b.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return n, err
	}
	switch {
	case errors.Is(err, io.EOF):
		b.over = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.stalled, err = true, errStalled
	case err != nil:
		err = fmt.Errorf("%w: %v", errBrokenOff, err)
	}
	return n, err
}

// lingering is how long the rest of a body may take that nobody wants: it is
// read so that the client sees the answer, and the connection can be used again.
const lingering = 2 * time.Second

// leave lets the server read what is left of a body, for a moment.
func (b *body) leave() {
	wait := lingering
	if b.stalled {
		wait = 0
	}
	if !b.over {
		_ = b.control.SetReadDeadline(time.Now().Add(wait)) // the next request sets its own
	}
}

// unwanted bounds the bodies of requests that take none, in bytes.
const unwanted = 64 << 10

// response notes what was answered, and does not wait for ever until its client
// takes it.
type response struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	status   int
	bytes    int64
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// roomy is how many bytes of an answer go into buffers on the way, whatever the
// client does.
const roomy = 16 << 10

func (w *response) Write(p []byte) (n int, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.bytes+int64(len(p)) <= roomy {
		n, err = w.ResponseWriter.Write(p)
		w.bytes += int64(n)
		return n, err
	}
	for err == nil && n < len(p) {
		err = w.timed(func() error {
			k, err := w.ResponseWriter.Write(p[n:min(len(p), n+pieceMax)])
			n += k
			w.bytes += int64(k)
			return err
		})
	}
	return n, err
}

// flush sends what is buffered.
func (w *response) flush() error { return w.timed(w.control.Flush) }

// timed lets f send a piece within a deadline.
func (w *response) timed(f func() error) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.patience)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	err := f()
	if clear := w.control.SetWriteDeadline(time.Time{}); err == nil && !errors.Is(clear, errors.ErrUnsupported) {
		err = clear
	}
	return err
}

// Unwrap lets http.ResponseController find what w wraps.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
