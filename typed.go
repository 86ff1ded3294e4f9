package weft

import (
	"encoding/json"
	"fmt"
	"reflect"
	"unsafe"
)

// PutSlice publishes a slice whose elements have a fixed size (numbers, bools, arrays and structs of those) as it lies
// in memory, together with the fingerprint of its type. It copies nothing when s begins where a slice from
// [AllocSlice], [TakeSlice] or [BorrowSlice] begins.
func PutSlice[T any](slot string, s []T) error {
	typ, err := sliceType[T]()
	if err != nil {
		return fmt.Errorf("publish %s: %w", slot, err)
	}
	size := int(unsafe.Sizeof(*new(T))) * len(s)
	return put(slot, typ, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size))
}

// AllocSlice returns n zero elements in memory that [PutSlice] publishes without a copy.
func AllocSlice[T any](n int) ([]T, error) {
	if _, err := sliceType[T](); err != nil {
		return nil, fmt.Errorf("allocate slice: %w", err)
	}
	b, err := Alloc(n * int(unsafe.Sizeof(*new(T))))
	if err != nil {
		return nil, err
	}
	return elements[T](b.data), nil
}

// TakeSlice consumes a slot that [PutSlice] published. The slice shows the published memory; it is valid until
// [Release] or the end of the call. The error is [ErrType] when the slot holds something else than a []T.
func TakeSlice[T any](slot string) ([]T, error) { return readSlice[T]("take", slot) }

// BorrowSlice is TakeSlice that leaves the slot for others.
func BorrowSlice[T any](slot string) ([]T, error) { return readSlice[T]("borrow", slot) }

// Release gives up what AllocSlice, TakeSlice or BorrowSlice returned. The slice, which must begin where theirs
// begins, must not be used any more.
func Release[T any](s []T) error {
	return windowAt(unsafe.Pointer(unsafe.SliceData(s))).release()
}

// PutValue publishes one value together with the fingerprint of its type: as it lies in memory when it has a fixed
// size, otherwise as JSON.
func PutValue[T any](slot string, v T) error {
	t := reflect.TypeFor[T]()
	if fixed(t) == nil {
		return put(slot, hash(Describe[T]()), unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("publish %s: %w", slot, err)
	}
	return put(slot, hash("json "+Describe[T]()), text)
}

// TakeValue consumes a slot that [PutValue] published. The error is [ErrType] when the slot holds something else than
// a T.
func TakeValue[T any](slot string) (T, error) { return readValue[T]("take", slot) }

// BorrowValue is TakeValue that leaves the slot for others.
func BorrowValue[T any](slot string) (T, error) { return readValue[T]("borrow", slot) }

func sliceType[T any]() (uint64, error) {
	if err := fixed(reflect.TypeFor[T]()); err != nil {
		return 0, err
	}
	return hash("[]" + Describe[T]()), nil
}

func readSlice[T any](operation, slot string) ([]T, error) {
	typ, err := sliceType[T]()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", operation, slot, err)
	}
	v, err := read(operation, slot, typ)
	if err != nil {
		return nil, err
	}
	if size := int(unsafe.Sizeof(*new(T))); size == 0 || len(v.data)%size != 0 {
		v.Release() // the length is what is wrong
		return nil, fmt.Errorf("%s %s: %d bytes are no whole number of %s: %w", operation, slot, len(v.data), Describe[T](), ErrType)
	}
	return elements[T](v.data), nil
}

func readValue[T any](operation, slot string) (T, error) {
	var v T
	raw := fixed(reflect.TypeFor[T]()) == nil
	description := Describe[T]()
	if !raw {
		description = "json " + description
	}
	view, err := read(operation, slot, hash(description))
	if err != nil {
		return v, err
	}
	if !raw {
		if err := json.Unmarshal(view.data, &v); err != nil {
			view.Release() // what is wrong is the text
			return v, fmt.Errorf("%s %s: %w", operation, slot, err)
		}
		return v, view.Release()
	}
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))
	if len(view.data) != len(memory) {
		size := len(view.data)
		view.Release() // what is wrong is the length
		return v, fmt.Errorf("%s %s: %d bytes where %s has %d: %w", operation, slot, size, description, len(memory), ErrType)
	}
	copy(memory, view.data)
	return v, view.Release()
}

// elements sees bytes, which are aligned for any T, as a slice.
func elements[T any](data []byte) []T {
	size := int(unsafe.Sizeof(*new(T)))
	if size == 0 || len(data) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/size)
}
