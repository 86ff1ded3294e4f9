package servicetest

import (
	"bufio"
	"fmt"
	"os"
	"strconv"

	"github.com/weft-run/weft/internal/service/wire"
)

// Main makes the program an instance: it executes methods for the node that has
// started it, until that ends it. For main of a test's program.
func Main(methods Methods) {
	if err := methods.program(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (m Methods) program() error {
	fd, err := strconv.Atoi(os.Getenv(wire.FD))
	if err != nil {
		return fmt.Errorf("this is an instance of a service, which a node starts: %s is %q", wire.FD, os.Getenv(wire.FD))
	}
	conn := os.NewFile(uintptr(fd), "frames")
	in := bufio.NewReader(conn)
	next := func() wire.Message {
		frame, err := wire.Next(in)
		if err != nil {
			os.Exit(0)
		}
		msg, err := wire.Decode(frame)
		if err != nil {
			panic(err)
		}
		return msg
	}
	say := func(msg wire.Message) {
		if _, err := conn.Write(wire.Pack(nil, msg)); err != nil {
			os.Exit(0)
		}
	}
	ask := func(msg wire.Message) *wire.Answer {
		say(msg)
		if wire.Silent(msg) {
			return nil
		}
		for {
			if a, ok := next().(*wire.Answer); ok {
				return a
			}
		}
	}
	for {
		s, ok := next().(*wire.Start)
		if !ok {
			continue
		}
		method := m[s.To.Service+"."+s.To.Method]
		if method == nil {
			say(&wire.Return{Question: wire.Question{Call: s.Call, Seq: 1}, Value: wire.Value{Code: wire.Failed, Text: fmt.Sprintf("there is no method %v", s.To)}})
			continue
		}
		if last := Serve(s, method, ask); last != nil {
			say(last)
		}
	}
}
