package yamlfile

import (
	"slices"
	"strings"
)

// Field is a key that an object of type T may have, and what reads its value
// into T, by means of R: a [*Reader], or what embeds one. An object's fields
// in a table are all there is to know of its keys: unknown ones and the hints
// for them follow from it.
type Field[R embedsReader, T any] struct {
	Name string
	Null bool // the key takes any JSON, null included; for others null is an error
	Read func(r R, n *Node, t *T)
}

// embedsReader is a *Reader and all that embed one.
type embedsReader interface{ reader() *Reader }

var _ embedsReader = (*Reader)(nil)

func (r *Reader) reader() *Reader { return r }

// Names lists the keys of a table.
func Names[R embedsReader, T any](fields []Field[R, T]) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Name
	}
	return list
}

// ReadFields reads the mapping n, which messages call what, into t. It
// reports whether n is a mapping at all.
func ReadFields[R embedsReader, T any](by R, n *Node, what string, fields []Field[R, T], t *T) bool {
	r := by.reader()
	if n.Kind != Mapping {
		r.Errorf(n.At, "", "want a mapping with %s as %s; found %s", strings.Join(Names(fields), ", "), what, n.Describe())
		return false
	}
	for _, e := range n.Entries {
		i := slices.IndexFunc(fields, func(f Field[R, T]) bool { return f.Name == e.Name })
		switch {
		case i < 0:
			r.Errorf(e.At, DidYouMean(e.Name, Names(fields)), "unknown key %q in %s", Shorten(e.Name, 60), what)
		case e.Value.Kind == Null && !fields[i].Null:
			r.Errorf(e.At, "give it a value or remove the key", "key %q has no value", e.Name)
		default:
			outer := r.key
			r.key = e.Name
			fields[i].Read(by, e.Value, t)
			r.key = outer
		}
	}
	return true
}
