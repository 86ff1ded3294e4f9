package service

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/service/wire"
)

// held is a field of an object as it is stored.
type held struct {
	value   []byte       // what is at the field itself; nil: nothing
	entries []wire.Known // what is at entries of it
}

// Kinds of fields, for messages.
const (
	kindValue = "Value"
	kindMap   = "Map"
	kindList  = "List"
)

// initial is the value of a map that has had its initial entries, in Python.
const initial = "true"

// kind is what has stored it; where that cannot be told, it is what the code has.
func (h held) kind(code string) string {
	own := string(h.value)
	switch {
	case len(h.entries) > 0 && (h.value == nil || own == initial):
		return kindMap
	case len(h.entries) > 0:
		return kindList
	case code == kindList && h.value != nil && own != "0":
		return kindValue
	case code == kindMap && h.value != nil && own != initial:
		if own == "0" {
			return kindList
		}
		return kindValue
	}
	return code
}

// otherKind says that a field has been of another kind.
func otherKind(name, was, is string) string {
	return fmt.Sprintf("%s holds a %s, where this code has a %s. %s", name, was, is, ways)
}

// read says why data cannot be read into v, "" if it can.
func read(k wire.Key, data []byte, v any) string {
	if err := decode(data, v); err != nil {
		return unlike(k, data, v, err).text
	}
	return ""
}

func (f *Value[T]) misfit(h held) string {
	if was := h.kind(kindValue); was != kindValue {
		return otherKind(f.name, was, kindValue)
	}
	return read(f.key(), h.value, new(T))
}

func (f *Map[K, V]) misfit(h held) string {
	if was := h.kind(kindMap); was != kindMap {
		return otherKind(f.name, was, kindMap)
	}
	for _, e := range h.entries {
		if wrong := read(e.Key, []byte(e.Key.Entry), new(K)); wrong != "" {
			return "a key of " + wrong
		}
		if wrong := read(e.Key, e.Value.Data, new(V)); wrong != "" {
			return wrong
		}
	}
	return ""
}

func (f *List[T]) misfit(h held) string {
	if was := h.kind(kindList); was != kindList {
		return otherKind(f.name, was, kindList)
	}
	for _, e := range h.entries {
		if wrong := read(e.Key, e.Value.Data, new(T)); wrong != "" {
			return wrong
		}
	}
	return ""
}

// fits says what of the state of an object, which is given with the start, the code of its service does
// not fit, a line for each field.
func (s services) fits(m *wire.Start) wire.Value {
	of, found := s[m.To.Service]
	if !found {
		return wire.Value{Code: wire.Refused, Text: fmt.Sprintf("there is no service %s", m.To.Service)}
	}
	version, fields := 1, map[string]held{}
	for _, k := range m.Values {
		h := fields[k.Key.Field]
		switch {
		case k.Key == versionKey:
			version, _ = strconv.Atoi(string(k.Value.Data))
		case k.Key.Item:
			h.entries = append(h.entries, k)
		default:
			h.value = k.Value.Data
		}
		fields[k.Key.Field] = h
	}
	if version != max(of.version, 1) {
		return wire.Value{}
	}
	var wrong []string
	of.bind(&Context{to: m.To, bound: func(name string, f Field) {
		if h, found := fields[name]; found {
			if text := f.misfit(h); text != "" {
				wrong = append(wrong, text)
			}
		}
	}})
	return wire.Value{Text: strings.Join(wrong, "\n")}
}
