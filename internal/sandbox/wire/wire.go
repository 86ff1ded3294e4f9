// Package wire is the control protocol between the node and a domain host:
// small frames over a Unix socket of packets, file descriptors beside them.
//
// A frame is a byte that says which message, then the message's fields. A packet
// is one frame or several; descriptors beside it belong to the last one. Payloads larger than InlineMax never travel in a frame; they are in
// memory that both sides map, and the frame names it. The host speaks first:
// Ready, with the version of the protocol; a node refuses any other.
//
//	node                              host
//	                           <----  Ready{Version}
//	Assign, Function, Start    ---->
//	                           <----  Need, Log, Ask, Waiting …
//	Supply, Answer             ---->
//	                           <----  Done
//	Commit | Withdraw          ---->
//	Reset                      ---->
//	                           <----  Idle
package wire

import (
	"fmt"

	"github.com/weft-run/weft/internal/codec"
)

// ErrMalformed is what decoding returns for a frame that no peer of this version
// sends: short, over a bound, or with bytes left over.
var ErrMalformed = codec.ErrMalformed

// Version of the protocol. Node and host come in one binary, so a difference
// means that the host is not the one that this node embeds.
const Version = 2

const (
	// Engine is the WebAssembly engine of the host, as people read it.
	Engine = "wasmtime 44.0.0"
	// Images names the engine and everything of its configuration that changes
	// compiled code: an image serves only hosts that name the same.
	Images = Engine + " cow,speed,v1"
)

const (
	// InlineMax is the largest payload that travels inside a frame, in bytes.
	InlineMax = 64 << 10
	// FrameMax bounds a packet, in bytes: it fits the kernel's default buffer
	// of a Unix socket.
	FrameMax = 160 << 10
	// FilesMax bounds the descriptors beside one packet.
	FilesMax = 64
)

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

// Decode reads a frame. It returns ErrMalformed for anything but exactly one
// message.
func Decode(frame []byte) (Message, error) {
	m, rest, err := next(frame)
	if err == nil && len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(rest))
	}
	return m, err
}

// next reads the first frame of a packet and returns what follows it.
func next(packet []byte) (m Message, rest []byte, err error) {
	if len(packet) == 0 {
		return nil, nil, fmt.Errorf("%w: empty", ErrMalformed)
	}
	make := messages[packet[0]]
	if make == nil {
		return nil, nil, fmt.Errorf("%w: unknown message %d", ErrMalformed, packet[0])
	}
	m = make()
	c := codec.Reader(packet[1:])
	m.code(c)
	if err := c.Err(); err != nil {
		return nil, nil, err
	}
	return m, c.Rest(), nil
}
