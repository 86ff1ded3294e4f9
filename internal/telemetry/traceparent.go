package telemetry

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// Traceparent is the place of a caller in a trace, as the W3C header of this name
// carries it: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".
type Traceparent struct {
	Trace [16]byte // not all zero
	Span  [8]byte  // not all zero
	Flags byte
}

// Flags of a Traceparent that have a meaning.
const (
	FlagSampled = 1 << 0 // the caller records the trace
	FlagRandom  = 1 << 1 // the trace's ID is random
)

// ErrTraceparent is wrapped when a header is none. The specification asks to go
// on as if there were no header.
var ErrTraceparent = errors.New("not a traceparent")

// traceparentLen is the length of a header of version 00.
const traceparentLen = 55

// ParseTraceparent reads a traceparent header. Of versions after 00 it reads what
// version 00 has, as they promise to keep that.
func ParseTraceparent(s string) (Traceparent, error) {
	var p Traceparent
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Traceparent{}, fmt.Errorf("%w: it is not VERSION-TRACE-SPAN-FLAGS", ErrTraceparent)
	}
	var version, flags [1]byte
	if !unhex(version[:], s[0:2]) || !unhex(p.Trace[:], s[3:35]) || !unhex(p.Span[:], s[36:52]) || !unhex(flags[:], s[53:55]) {
		return Traceparent{}, fmt.Errorf("%w: its parts are lower-case hexadecimal digits", ErrTraceparent)
	}
	switch {
	case version[0] == 0xff:
		return Traceparent{}, fmt.Errorf("%w: there is no version ff", ErrTraceparent)
	case version[0] == 0 && len(s) > traceparentLen, len(s) > traceparentLen && s[traceparentLen] != '-':
		return Traceparent{}, fmt.Errorf("%w: something follows the flags", ErrTraceparent)
	case p.Trace == [16]byte{} || p.Span == [8]byte{}:
		return Traceparent{}, fmt.Errorf("%w: an ID is zero", ErrTraceparent)
	}
	p.Flags = flags[0]
	return p, nil
}

// unhex reads lower-case hexadecimal digits, two for each byte of to.
func unhex(to []byte, s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(to, []byte(s))
	return err == nil
}

// Sampled reports whether the caller records the trace.
func (p Traceparent) Sampled() bool { return p.Flags&FlagSampled != 0 }

// String writes the header in version 00. Flags without a meaning are left out,
// as the specification asks.
func (p Traceparent) String() string {
	b := make([]byte, 0, traceparentLen)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, p.Trace[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, p.Span[:])
	b = append(b, '-')
	return string(hex.AppendEncode(b, []byte{p.Flags & (FlagSampled | FlagRandom)}))
}
