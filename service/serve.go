package service

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"

	"github.com/weft-run/weft/internal/service/wire"
)

// Main is the program of an instance: it executes methods of services for the node that has started
// it, until that closes their connection. Generated code calls it.
func Main(all ...Service) {
	if err := instance(all); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func instance(all []Service) error {
	text := os.Getenv(wire.FD)
	fd, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("%s=%q is not a descriptor: this program is an instance of services, which weft starts", wire.FD, text)
	}
	node, err := openStream(uintptr(fd))
	if err != nil {
		return err
	}
	defer node.Close()
	runtime.GOMAXPROCS(1) // one method at a time; a thread without work would be woken beside it to look for some
	return Serve(node, all...)
}

// Serve executes methods for the node at the other end of a stream, one at a time, until that ends.
func Serve(node io.ReadWriter, all ...Service) error {
	s := &session{in: bufio.NewReaderSize(node, 64<<10), out: node}
	methods := byName(all)
	for {
		m, err := s.next()
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return fmt.Errorf("serve: %w", err)
		}
		start, ok := m.(*wire.Start)
		if !ok {
			continue // of an execution that is over
		}
		s.call = start.Call
		if last := execute(methods, start, s); last != nil {
			s.say(last)
		}
		if s.err == nil {
			s.flush()
		}
		if s.err != nil && s.err != io.EOF {
			return fmt.Errorf("serve: %w", s.err)
		}
	}
}

// session is an instance's end of a stream.
type session struct {
	in   *bufio.Reader
	out  io.Writer
	buf  []byte // frames that wait for one that has an answer
	call uint64
	err  error // of the stream; no execution survives it
}

var _ asker = (*session)(nil)

func (s *session) next() (wire.Message, error) {
	frame, err := wire.Next(s.in)
	if err != nil {
		return nil, err
	}
	return wire.Decode(frame)
}

func (s *session) say(m wire.Message) {
	s.buf = wire.Pack(s.buf, m)
	if !wire.Silent(m) || len(s.buf) > sizeMax {
		s.flush()
	}
}

func (s *session) flush() {
	if s.err == nil && len(s.buf) > 0 {
		_, s.err = s.out.Write(s.buf)
	}
	s.buf = s.buf[:0]
}

func (s *session) end(err error) { s.err = err }

// ask sends a question. Frames without an answer go with the next one that has.
func (s *session) ask(m wire.Message) *wire.Answer {
	s.say(m)
	if s.err == nil && wire.Silent(m) {
		return nil
	}
	for s.err == nil {
		var m wire.Message
		if m, s.err = s.next(); s.err != nil {
			break
		}
		if a, ok := m.(*wire.Answer); ok && a.Call == s.call {
			return a
		}
	}
	return &wire.Answer{Value: wire.Value{Code: wire.Aborted}}
}
