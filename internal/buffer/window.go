package buffer

import "errors"

// MapWritable places the first length bytes of s at addr, shared and writable.
func MapWritable(addr uintptr, s *Segment, length int64, populate bool) error {
	return errors.ErrUnsupported
}

// MapView places the first length bytes of s at addr as a private view.
func MapView(addr uintptr, s *Segment, length int64, populate bool) error {
	return errors.ErrUnsupported
}

// Freeze turns the writable window at addr into a private view.
func Freeze(addr uintptr, s *Segment, length int64) error { return errors.ErrUnsupported }

// Clear makes the range ordinary zero memory again.
func Clear(addr uintptr, length int64) error { return errors.ErrUnsupported }

// Dirtied counts the bytes of a view that have become private pages.
func Dirtied(pagemap int, addr uintptr, length int64) (int64, error) { return 0, errors.ErrUnsupported }
