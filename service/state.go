package service

import (
	"fmt"
	"iter"

	"github.com/weft-run/weft/internal/service/wire"
)

// Field is a *Value, a *Map or a *List: a part of an object's state.
type Field interface {
	bind(*Context, string)
	// misfit says what of the field as it is stored its code cannot read, "" for nothing.
	misfit(held) string
}

var _ = []Field{(*Value[int])(nil), (*Map[string, int])(nil), (*List[int])(nil)}

// Bind gives a field of an object its name, for a run of a method. Generated code
// calls it.
func Bind(ctx *Context, name string, f Field) {
	f.bind(ctx, name)
	if ctx.bound != nil {
		ctx.bound(name, f)
	}
}

// field is what all kinds of fields are made of.
type field struct {
	ctx  *Context
	name string
}

func (f *field) bind(ctx *Context, name string) { f.ctx, f.name = ctx, name }

func (f *field) key() wire.Key { return wire.Key{Field: f.name} }

// get reads a key into v, and reports whether there is a value.
func (f *field) get(k wire.Key, v any, update bool) bool {
	return f.decode(k, f.ctx.object().read([]wire.Key{k}, update)[0], v)
}

func (f *field) decode(k wire.Key, read wire.Value, v any) bool {
	if read.Code == wire.Absent {
		return false
	}
	if err := decode(read.Data, v); err != nil {
		panic(unlike(k, read.Data, v, err))
	}
	return true
}

func (f *field) set(k wire.Key, v any) {
	data, err := encode(v)
	if err != nil {
		panic(refusal{fmt.Sprintf("set %s.%v: %v", f.ctx.to.Service, k, err)})
	}
	f.write(wire.Write{Key: k, Value: data})
}

func (f *field) remove(k wire.Key) { f.write(wire.Write{Key: k, Deleted: true}) }

func (f *field) write(w wire.Write) {
	e := f.ctx.object()
	if m := f.ctx.mode; m != exclusive && !f.ctx.edition.migrates() {
		panic(refusal{fmt.Sprintf("write %v: %v is declared %v, and does not write", w.Key, f.ctx.to, m)})
	}
	f.ctx.edition.stamp(e)
	e.write(w)
	for _, l := range f.ctx.loops {
		l.wrote(w)
	}
}

// Value is a field with one value.
type Value[T any] struct{ field }

// Get reads the value, the zero one if it was never set.
func (f *Value[T]) Get() T {
	v, _ := f.Lookup()
	return v
}

// Lookup reads the value, and reports whether it was set.
func (f *Value[T]) Lookup() (v T, ok bool) {
	ok = f.get(f.key(), &v, false)
	return v, ok
}

// Set writes the value.
func (f *Value[T]) Set(v T) { f.set(f.key(), v) }

// Update replaces the value by what change makes of it, and returns that. It reads as who is going to
// write: others who do the same wait for each other instead of beginning again.
func (f *Value[T]) Update(change func(T) T) T {
	var v T
	f.get(f.key(), &v, true)
	v = change(v)
	f.Set(v)
	return v
}

// Delete makes the value one that was never set.
func (f *Value[T]) Delete() { f.remove(f.key()) }

// Key is what the keys of a map can be.
type Key interface {
	~string | ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Map is a field with entries. Each one has its own lock: requests for different
// keys do not meet. The JSON of a key has at most 200 bytes.
type Map[K Key, V any] struct{ field }

func (f *Map[K, V]) entry(k K) wire.Key {
	data, err := encode(k)
	if err != nil {
		panic(refusal{fmt.Sprintf("a key of %s: %v", f.name, err)})
	}
	return wire.Key{Field: f.name, Item: true, Entry: string(data)}
}

// Get reads an entry, and reports whether there is one.
func (f *Map[K, V]) Get(k K) (v V, ok bool) {
	ok = f.get(f.entry(k), &v, false)
	return v, ok
}

// Has reports whether there is an entry.
func (f *Map[K, V]) Has(k K) bool {
	_, ok := f.Get(k)
	return ok
}

// Set writes an entry.
func (f *Map[K, V]) Set(k K, v V) { f.set(f.entry(k), v) }

// Update is as that of [Value], for an entry; one that is not there is the zero
// value.
func (f *Map[K, V]) Update(k K, change func(V) V) V {
	var v V
	f.get(f.entry(k), &v, true)
	v = change(v)
	f.Set(k, v)
	return v
}

// Delete removes an entry, if there is one.
func (f *Map[K, V]) Delete(k K) { f.remove(f.entry(k)) }

// List is a field with elements 0, 1, … Each one has its own lock, and so has the
// length. An index out of range panics, as that of a slice does.
type List[T any] struct{ field }

func (f *List[T]) element(i int) wire.Key {
	data, _ := encode(i)
	return wire.Key{Field: f.name, Item: true, Entry: string(data)}
}

// Len is the number of elements.
func (f *List[T]) Len() int { return f.length(false) }

func (f *List[T]) length(update bool) (n int) {
	f.get(f.key(), &n, update)
	return n
}

func (f *List[T]) check(i int) {
	if n := f.Len(); i < 0 || i >= n {
		panic(fmt.Sprintf("%s: index %d out of range with length %d", f.name, i, n))
	}
}

// At reads an element.
func (f *List[T]) At(i int) (v T) {
	f.check(i)
	f.get(f.element(i), &v, false)
	return v
}

// Set writes an element that there is.
func (f *List[T]) Set(i int, v T) {
	f.check(i)
	f.set(f.element(i), v)
}

// Append adds elements at the end.
func (f *List[T]) Append(values ...T) {
	n := f.length(true)
	for i, v := range values {
		f.set(f.element(n+i), v)
	}
	f.set(f.key(), n+len(values))
}

// Pop removes the last element; ok is false if there is none.
func (f *List[T]) Pop() (v T, ok bool) {
	n := f.length(true)
	if n == 0 {
		return v, false
	}
	f.get(f.element(n-1), &v, true)
	f.remove(f.element(n - 1))
	f.set(f.key(), n-1)
	return v, true
}

// All gives the elements that there are when it begins, as they are when it comes to them, without those that the loop
// has popped.
func (f *List[T]) All() iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		n := f.Len()
		for from := 0; from < n; from += scanMax {
			keys := make([]wire.Key, 0, scanMax)
			for i := from; i < min(n, from+scanMax); i++ {
				keys = append(keys, f.element(i))
			}
			f.ctx.object().read(keys, false) // all with one question
			for i, k := range keys {
				var v T
				if !f.get(k, &v, false) || !yield(from+i, v) {
					return
				}
			}
		}
	}
}

// Slice is a copy of all elements, in JSON a list even if there are none.
func (f *List[T]) Slice() []T {
	all := []T{}
	for _, v := range f.All() {
		all = append(all, v)
	}
	return all
}
