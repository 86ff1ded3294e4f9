package engine

import (
	"errors"
	"fmt"
	"time"
)

// What requests to an engine fail with, beside what is wrong with their app.
var (
	ErrNotFound = errors.New("not found")
	ErrEnded    = errors.New("the run has ended")
	ErrNotEnded = errors.New("the run has not ended")
	ErrConflict = errors.New("the idempotency key belongs to a run with another input")
	ErrDraining = errors.New("the node is shutting down")
	ErrTooLarge = errors.New("too large")
	ErrGone     = errors.New("gone") // wrapped by a Catalog whose version of an app is not there and will not come by itself
)

// InputError refuses a run whose input is not what its workflow wants, and wraps
// why.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// FullError refuses a run because as many as may be are under way.
type FullError struct {
	What       string        // "runs of this node", "runs of app shop"
	Limit      int           //
	RetryAfter time.Duration // when it may be worth trying again
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%s: %d are under way, which is the limit; try again in %v", e.What, e.Limit, e.RetryAfter)
}
