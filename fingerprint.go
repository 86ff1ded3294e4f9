package weft

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Fingerprint is the 64-bit fingerprint of the type T that [PutValue] publishes with a value of fixed size: the FNV-1a
// hash of its description (see [Describe]). 0 is never a fingerprint; it stands for bytes of no declared type.
func Fingerprint[T any]() uint64 { return hash(Describe[T]()) }

// Describe is the canonical description of a type, the same in every language:
//
//	bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 string
//	[4]float32                     array
//	[]uint32                       slice
//	struct{Key uint64;Count int32} struct, with the names of its fields
//	map[string]int64  *int32  any  map, pointer, any JSON
//	^1                             the type that encloses this one, 1 level up, in recursive types
//	time.Time                      a type that encodes itself as JSON or text, by its name
//
// Names of other types do not matter, nor do spaces, of which there are none but the one after a field's name. Go's int
// and uint are int64 and uint64. A slice that [PutSlice] publishes has "[]" and the description of its elements, so a
// C function that publishes an array of uint32_t as WEFT_TYPE("[]uint32") agrees with a Go function that takes a
// []uint32. What is published as JSON has "json " in front.
func Describe[T any]() string {
	var b strings.Builder
	describe(&b, reflect.TypeFor[T](), nil)
	return b.String()
}

// hash is FNV-1a over 64 bits, with 0 avoided.
func hash(text string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	if h == 0 {
		return 1
	}
	return h
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// describe writes the description of t; enclosing are the types around it, outermost first.
func describe(b *strings.Builder, t reflect.Type, enclosing []reflect.Type) {
	for i, e := range enclosing {
		if e == t {
			b.WriteString("^" + strconv.Itoa(len(enclosing)-i))
			return
		}
	}
	if t.Name() != "" && (t.Implements(jsonMarshaler) || t.Implements(textMarshaler)) {
		b.WriteString(t.String())
		return
	}
	inside := enclosing
	if t.Name() != "" {
		inside = append(enclosing[:len(enclosing):len(enclosing)], t)
	}
	switch t.Kind() {
	case reflect.Int:
		b.WriteString("int64")
	case reflect.Uint:
		b.WriteString("uint64")
	case reflect.Array:
		b.WriteString("[" + strconv.Itoa(t.Len()) + "]")
		describe(b, t.Elem(), inside)
	case reflect.Slice:
		b.WriteString("[]")
		describe(b, t.Elem(), inside)
	case reflect.Pointer:
		b.WriteString("*")
		describe(b, t.Elem(), inside)
	case reflect.Map:
		b.WriteString("map[")
		describe(b, t.Key(), inside)
		b.WriteString("]")
		describe(b, t.Elem(), inside)
	case reflect.Struct:
		b.WriteString("struct{")
		for i := range t.NumField() {
			if i > 0 {
				b.WriteString(";")
			}
			b.WriteString(t.Field(i).Name + " ")
			describe(b, t.Field(i).Type, inside)
		}
		b.WriteString("}")
	case reflect.Interface:
		b.WriteString("any")
	default:
		b.WriteString(t.Kind().String())
	}
}

var errNotFixed = errors.New("has no fixed size: it holds memory elsewhere")

// fixed is nil when a value of type t is all there is to it: no pointers, and the same layout in every sandbox.
func fixed(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return nil
	case reflect.Array:
		return fixed(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if err := fixed(t.Field(i).Type); err != nil {
				return fmt.Errorf("field %s: %w", t.Field(i).Name, err)
			}
		}
		return nil
	default:
		return fmt.Errorf("type %s %w", t, errNotFixed)
	}
}
