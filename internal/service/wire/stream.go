package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// FD is the environment variable that tells a program which of its descriptors is
// the stream to the node, as in WEFT_SERVICE_FD=3: a connected Unix stream socket,
// which is a descriptor of WASI's in a module.
// An instance reads until the stream ends, and ends then too.
const FD = "WEFT_SERVICE_FD"

// headerSize is the length before each frame of a stream: 4 bytes, little-endian.
const headerSize = 4

// Pack appends the frame of a message as it is in a stream: behind its length.
func Pack(buf []byte, m Message) []byte {
	at := len(buf)
	buf = Encode(append(buf, 0, 0, 0, 0), m)
	binary.LittleEndian.PutUint32(buf[at:], uint32(len(buf)-at-headerSize))
	return buf
}

// Wrap appends a frame to a stream, behind its length.
func Wrap(buf, frame []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(buf, uint32(len(frame))), frame...)
}

// Next reads a frame from a stream, which is best buffered. The frame is the
// caller's. At the stream's end between two frames the error is io.EOF; one that is
// longer than FrameMax is ErrMalformed.
func Next(r io.Reader) ([]byte, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > FrameMax {
		return nil, fmt.Errorf("%w: a frame of %d bytes, at most %d", ErrMalformed, n, FrameMax)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return frame, nil
}
