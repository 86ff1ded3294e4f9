package service

import (
	"strings"

	"github.com/weft-run/weft/internal/service/wire"
)

// Error is what a call has failed with: the text of the error that the method has
// returned. errors.Is finds in it any error with that text, or whose text it ends with
// after a colon, so that a service's errors can be recognized where they arrive:
//
//	if errors.Is(err, bank.ErrFunds) { … }
type Error struct {
	Text    string
	Refused bool // the call was not done; Text says why
}

func (e *Error) Error() string { return e.Text }

// Is reports whether the target has the same text, or is wrapped by this one as
// fmt.Errorf("…: %w") does it.
func (e *Error) Is(target error) bool {
	return target != nil && (e.Text == target.Error() || strings.HasSuffix(e.Text, ": "+target.Error()))
}

// refusal unwinds a method, or a transaction's part, because the node does not do
// what it asks for.
type refusal struct{ text string }

// aborted unwinds a method whose execution is over.
type aborted struct{}

// failure is the error of a value.
func failure(v wire.Value) error {
	switch v.Code {
	case wire.OK, wire.Absent:
		return nil
	case wire.Refused:
		return &Error{Text: v.Text, Refused: true}
	}
	return &Error{Text: v.Text}
}
