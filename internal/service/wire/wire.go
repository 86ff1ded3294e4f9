// Package wire is the protocol between the node and an instance of a service: what
// a method asks for, and what it is answered. It has no sockets; a transport
// carries the frames.
//
// The node starts an execution of a method with Start. The instance asks, each
// question with the number of the execution (Call) and its own (Seq: 1, 2, …), and
// ends with Return or Continue. An instance has one execution at a time, which asks
// one thing at a time, and frames of one packet are in their order.
//
//	node                                   instance
//	Start{Method, Args, Values}   ---->
//	                              <----    Read{Keys}
//	Answer{List}                  ---->
//	                              <----    Invoke{To, Args, Writes}
//	Answer{Value}                 ---->
//	                              <----    Return{Value, Writes}
//
// # As few round trips as possible
//
// Writes do not travel by themselves: an instance keeps them, reads its own, and
// gives them along with its next question, Return at the latest. Values that the
// latest execution of the method has read come with Start; Return says which of
// them were of use. So a method that reads an entry and writes it is two frames.
//
// Questions without an answer (Invoke that does not wait, Timer, Promise,
// Compensate, and Transaction's Begin and Abort) may go together with the next one.
// Their Seq is the handle that Await takes. If the node does not accept one, the
// next answer is the error.
//
// # What an instance may remember
//
// What was read stays true until an answer says Fresh: then locks were given up,
// or somebody whom this execution has called has changed the same object.
//
// # Aborted
//
// An Answer with the code Aborted ends the execution: the node has forgotten it, and
// begins another one where that is useful. The instance unwinds, whatever the
// method thinks of that, and takes a next Start. Frames of an execution that is over
// are ignored on both sides.
package wire

import (
	"fmt"

	"github.com/weft-run/weft/internal/codec"
)

// Version of the protocol.
const Version = 1

// FrameMax bounds a frame, in bytes.
const FrameMax = 4 << 20

// ErrMalformed is what decoding returns for a frame that no peer of this version
// sends.
var ErrMalformed = codec.ErrMalformed

// Message is one of the message types of this package, as a pointer.
type Message interface {
	kind() byte
	code(*codec.Coder)
}

// Encode appends the frame of a message to buf.
func Encode(buf []byte, m Message) []byte {
	c := codec.Writer(append(buf, m.kind()))
	m.code(c)
	return c.Rest()
}

// Decode reads a frame, exactly one message.
func Decode(frame []byte) (Message, error) {
	if len(frame) == 0 || messages[frame[0]] == nil {
		return nil, fmt.Errorf("%w: unknown message", ErrMalformed)
	}
	m := messages[frame[0]]()
	c := codec.Reader(frame[1:])
	m.code(c)
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("decode %T: %w", m, err)
	}
	if n := len(c.Rest()); n > 0 {
		return nil, fmt.Errorf("decode %T: %w: %d bytes too many", m, ErrMalformed, n)
	}
	return m, nil
}

// The numbers of the messages; they never change within a Version.
const (
	kindStart = iota + 1
	kindAnswer
	kindRead
	kindScan
	kindInvoke
	kindTransaction
	kindRun
	kindRan
	kindTimer
	kindPromise
	kindAwait
	kindCompensate
	kindContinue
	kindReturn
)

var messages = [256]func() Message{
	kindStart:       func() Message { return new(Start) },
	kindAnswer:      func() Message { return new(Answer) },
	kindRead:        func() Message { return new(Read) },
	kindScan:        func() Message { return new(Scan) },
	kindInvoke:      func() Message { return new(Invoke) },
	kindTransaction: func() Message { return new(Transaction) },
	kindRun:         func() Message { return new(Run) },
	kindRan:         func() Message { return new(Ran) },
	kindTimer:       func() Message { return new(Timer) },
	kindPromise:     func() Message { return new(Promise) },
	kindAwait:       func() Message { return new(Await) },
	kindCompensate:  func() Message { return new(Compensate) },
	kindContinue:    func() Message { return new(Continue) },
	kindReturn:      func() Message { return new(Return) },
}
