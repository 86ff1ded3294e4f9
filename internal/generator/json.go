package generator

import (
	"fmt"
	"go/token"
	"go/types"
	"reflect"
	"strings"
	"unicode"
)

// supported refuses a type whose values JSON does not give back as they were.
func (g *generation) supported(at token.Pos, what string, t types.Type) {
	if why := unsupported(t, map[types.Type]bool{}); why != "" {
		g.refuse(at, "%s has type %s: %s", what, types.TypeString(t, types.RelativeTo(g.types)), why)
	}
}

// unsupported says why, "" if there is nothing wrong.
func unsupported(t types.Type, seen map[types.Type]bool) string {
	if seen[t] {
		return ""
	}
	seen[t] = true
	if own, why := coded(t); own {
		return why
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Info()&types.IsComplex != 0 || u.Kind() == types.UnsafePointer || u.Kind() == types.Uintptr {
			return fmt.Sprintf("JSON has no %s", u)
		}
	case *types.Pointer:
		if _, twice := u.Elem().Underlying().(*types.Pointer); twice {
			return "JSON does not tell a nil pointer from a pointer to one"
		}
		return unsupported(u.Elem(), seen)
	case *types.Slice:
		return unsupported(u.Elem(), seen)
	case *types.Array:
		return unsupported(u.Elem(), seen)
	case *types.Map:
		if why := unfitKey(u.Key()); why != "" {
			return why
		}
		return unsupported(u.Elem(), seen)
	case *types.Interface:
		if !u.Empty() {
			return "JSON does not say which type the value of an interface has"
		}
	case *types.Struct:
		return unfit(u, seen)
	case *types.Chan:
		return "JSON has no channel"
	case *types.Signature:
		return "JSON has no function"
	}
	return ""
}

// member is a field of a struct as JSON sees it.
type member struct {
	name   string // in JSON
	field  string // in Go, with those that it is embedded in
	depth  int
	tagged bool
}

// unfit says what JSON loses of a struct.
func unfit(s *types.Struct, seen map[types.Type]bool) string {
	members, why := membersOf(s, "", 0, seen)
	if why != "" {
		return why
	}
	byName := map[string]member{}
	for _, m := range members {
		other, twice := byName[m.name]
		switch byName[m.name] = m; {
		case !twice:
		case m.depth == other.depth && m.tagged == other.tagged:
			return fmt.Sprintf("fields %s and %s are both %q in JSON, which leaves out both", other.field, m.field, m.name)
		default:
			return fmt.Sprintf("fields %s and %s are both %q in JSON, which leaves out one of them", other.field, m.field, m.name)
		}
	}
	return ""
}

// membersOf lists the fields of a struct, with those of the structs that it embeds, as package
// encoding/json finds them.
func membersOf(s *types.Struct, within string, depth int, seen map[types.Type]bool) (list []member, why string) {
	for i := range s.NumFields() {
		f := s.Field(i)
		tag := reflect.StructTag(s.Tag(i)).Get("json")
		if tag == "-" {
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		if strings.ContainsFunc(name, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r)
		}) {
			return nil, fmt.Sprintf("field %s: %q is no name in JSON", f.Name(), name)
		}
		inner, isStruct := f.Type().Underlying().(*types.Struct)
		switch {
		case f.Embedded() && pointer(f.Type()):
			return nil, fmt.Sprintf("field %s is an embedded pointer, which JSON forgets where it points to nothing but zeros or cannot set: give the field a name", f.Name())
		case !f.Exported() && !(f.Embedded() && isStruct):
			return nil, fmt.Sprintf("field %s is not exported, so JSON forgets it: export it, or tag it json:\"-\"", f.Name())
		case f.Embedded() && isStruct && name == "":
			if seen[inner] {
				continue
			}
			deep, why := membersOf(inner, within+f.Name()+".", depth+1, seen)
			if why != "" {
				return nil, "field " + f.Name() + ": " + why
			}
			list = append(list, deep...)
			continue
		}
		if why := unsupported(f.Type(), seen); why != "" {
			return nil, "field " + f.Name() + ": " + why
		}
		m := member{name, within + f.Name(), depth, name != ""}
		if name == "" {
			m.name = f.Name()
		}
		list = append(list, m)
	}
	return list, ""
}

// unfitKey says why JSON does not give back the keys of a map: it writes text as it is and whole
// numbers in digits, whatever methods they have, unless there is MarshalText, but reads with
// UnmarshalText where that is there.
func unfitKey(k types.Type) string {
	writes, reads := selected(k, "MarshalText") != nil, selected(types.NewPointer(k), "UnmarshalText") != nil
	basic, _ := k.Underlying().(*types.Basic)
	name := types.TypeString(k, (*types.Package).Name)
	switch {
	case types.IsInterface(k), pointer(k):
		return fmt.Sprintf("keys of maps are strings or integers in JSON, not %s", name)
	case basic != nil && basic.Info()&types.IsString != 0:
		if reads {
			return fmt.Sprintf("JSON writes keys of type %s as they are, and reads them with UnmarshalText", name)
		}
	case writes != reads:
		return fmt.Sprintf("keys of type %s have one of MarshalText and UnmarshalText only (MarshalText belongs to the value, UnmarshalText to its pointer)", name)
	case writes:
	case basic == nil || basic.Info()&types.IsInteger == 0 || basic.Kind() == types.Uintptr:
		return fmt.Sprintf("keys of maps are strings or integers in JSON, not %s", name)
	}
	return ""
}

// coded reports whether a type encodes itself, and says why it does not get back what it was.
func coded(t types.Type) (own bool, why string) {
	if types.IsInterface(t) {
		return false, ""
	}
	addressed := t
	if !pointer(t) {
		addressed = types.NewPointer(t)
	}
	for _, form := range []string{"JSON", "Text"} { // package json looks for them in this order
		value, writes, reads := selected(t, "Marshal"+form), selected(addressed, "Marshal"+form), selected(addressed, "Unmarshal"+form)
		s, isStruct := t.Underlying().(*types.Struct)
		switch {
		case writes == nil && reads == nil:
			continue
		case writes == nil || reads == nil:
			return true, fmt.Sprintf("it has one of Marshal%s and Unmarshal%s only, so it is not read as it was written", form, form)
		case value == nil:
			return true, fmt.Sprintf("Marshal%s belongs to its pointer, so JSON does not call it for a value: have it belong to the value, or keep a pointer", form)
		case isStruct && s.NumFields() > 1 && len(value.Index()) > 1:
			return true, fmt.Sprintf("Marshal%s is that of the embedded %s, and leaves out the other fields: give the field a name", form, s.Field(value.Index()[0]).Name())
		}
		return true, ""
	}
	return false, ""
}

// selected finds a method of a type.
func selected(t types.Type, name string) *types.Selection {
	return types.NewMethodSet(t).Lookup(nil, name)
}
