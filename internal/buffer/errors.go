package buffer

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure. Every error of this package that a caller can decide on wraps exactly one of them.
var (
	ErrNotFound  = errors.New("not published")             // no such slot is visible to this attempt
	ErrExists    = errors.New("already published")         // a slot is published once in a run
	ErrType      = errors.New("type mismatch")             // the reader expects another type fingerprint
	ErrQuota     = errors.New("over the quota of the run") // the run would hold more bytes than it may
	ErrTaken     = errors.New("taken")                     // another attempt, still open, has taken the slot
	ErrAmbiguous = errors.New("ambiguous name")            // several published slots have this last part
	ErrName      = errors.New("bad slot name")             // not of the form x, /x, STEP/x or STEP[INDEX]/x
	ErrTooSmall  = errors.New("range too small")           // the value does not fit where it is to go
	ErrTooLarge  = errors.New("too large for one buffer")  // over MaxSize
	ErrRange     = errors.New("bad range")                 // not whole granules, or outside the segment
	ErrSeal      = errors.New("cannot seal")               // a writable mapping of the segment still exists
	ErrSegment   = errors.New("not an acceptable segment") // a descriptor that must not be mapped
	ErrSpace     = errors.New("no space left")             // disk or memory is full
	ErrDeadlock  = errors.New("deadlock")                  // attempts wait for slots that nobody can publish
	ErrClosed    = errors.New("closed")                    // the supply, arena or table has ended
)

// Error is a failed operation on a slot or a segment.
type Error struct {
	Op     string // "put", "take", "map view", …
	Slot   string // the name as the caller gave it, or "segment 12"
	Kind   error  // one of the Err values above
	Detail string // what was found and what to do about it; may be empty
	Err    error  // the system's error underneath; may be nil
}

// Error says operation, subject, kind, system error and advice, in this order.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Slot != "" {
		b.WriteByte(' ')
		b.WriteString(e.Slot)
	}
	b.WriteString(": ")
	b.WriteString(e.Kind.Error())
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	return b.String()
}

// Unwrap gives the kind and the system's error to errors.Is.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// TooSmall is the error of a reader whose range holds have bytes where the value has need.
func TooSmall(op, slot string, need, have int64) error {
	return &Error{Op: op, Slot: slot, Kind: ErrTooSmall,
		Detail: fmt.Sprintf("the value has %d bytes, the range %d; ask for its length first", need, have)}
}
