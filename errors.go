package weft

import (
	"errors"
	"fmt"
)

// The reasons for which an operation on a slot or a connection fails. Test for them with errors.Is: what is returned
// also says which operation on which slot it was.
var (
	// ErrNotFound: no such slot is published.
	ErrNotFound = errors.New("no such slot")
	// ErrExists: a slot of this name is already published. It never changes.
	ErrExists = errors.New("slot is already published")
	// ErrType: the slot holds a value of another type than the reader wants.
	ErrType = errors.New("slot holds another type")
	// ErrQuota: the run may not hold as much data.
	ErrQuota = errors.New("buffer quota of the run is exceeded")
	// ErrDeadlock: everybody who could publish the slot is waiting too.
	ErrDeadlock = errors.New("nobody is left to publish the slot")
	// ErrTimeout: the slot was not published in time.
	ErrTimeout = errors.New("timed out")
	// ErrAmbiguous: several published slots have this name; it must be written with its step.
	ErrAmbiguous = errors.New("several slots have this name, write it with its step")
	// ErrName: the name has characters that a slot cannot have, or is too long.
	ErrName = errors.New("not a name of a slot")
	// ErrNotGranted: the app file does not grant the address or the port to the function.
	ErrNotGranted = errors.New("not granted by the app file")
)

// errno is a WASI error number, as the imports of module weft return it; 0 is success.
type errno uint32

const (
	errnoBusy        errno = 10
	errnoDeadlock    errno = 16
	errnoQuota       errno = 19
	errnoExist       errno = 20
	errnoFault       errno = 21
	errnoTooLarge    errno = 22
	errnoInval       errno = 28
	errnoIO          errno = 29
	errnoMultilink   errno = 34
	errnoNoEntry     errno = 44
	errnoNoMemory    errno = 48
	errnoNoSpace     errno = 51
	errnoOverflow    errno = 61
	errnoPrototype   errno = 67
	errnoTimedOut    errno = 73
	errnoNotCapable  errno = 76
	errnoConnRefused errno = 14
	errnoUnreachable errno = 23
)

var reasons = map[errno]error{
	errnoDeadlock:    ErrDeadlock,
	errnoQuota:       ErrQuota,
	errnoExist:       ErrExists,
	errnoInval:       ErrName,
	errnoMultilink:   ErrAmbiguous,
	errnoNoEntry:     ErrNotFound,
	errnoPrototype:   ErrType,
	errnoTimedOut:    ErrTimeout,
	errnoNotCapable:  ErrNotGranted,
	errnoBusy:        errors.New("in use"),
	errnoFault:       errors.New("memory is outside of the function"),
	errnoIO:          errors.New("input/output error"),
	errnoNoMemory:    errors.New("out of memory"),
	errnoTooLarge:    errors.New("too large for one buffer"),
	errnoNoSpace:     errors.New("no memory or disk left for it"),
	errnoOverflow:    errors.New("value is larger than the memory given for it"),
	errnoConnRefused: errors.New("connection refused"),
	errnoUnreachable: errors.New("host is unreachable"),
}

// Error makes an error number that has no reason of its own readable.
func (e errno) Error() string { return fmt.Sprintf("WASI error %d", uint32(e)) }

// failure is nil for 0, and otherwise the error of an operation on a subject.
func failure(operation, subject string, e errno) error {
	if e == 0 {
		return nil
	}
	if reason, ok := reasons[e]; ok {
		return fmt.Errorf("%s %s: %w", operation, subject, reason)
	}
	return fmt.Errorf("%s %s: %w", operation, subject, e)
}
