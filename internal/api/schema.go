package api

import (
	"encoding"
	"encoding/json"
	"path"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// schemas writes Go types as JSON Schema, as encoding/json writes their values.
// Structs with a name become components of the document.
type schemas struct {
	components map[string]any
	names      map[reflect.Type]string // of components
}

// Types that are written in a way of their own.
var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
	textType     = reflect.TypeFor[encoding.TextMarshaler]()
	bytesType    = reflect.TypeFor[[]byte]()
	anyType      = reflect.TypeFor[anyJSON]()
)

// of is the schema of a type.
func (s *schemas) of(t reflect.Type) map[string]any {
	switch {
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == durationType:
		return map[string]any{"type": "integer", "description": "nanoseconds"}
	case t == rawType, t == anyType, t.Kind() == reflect.Interface:
		return map[string]any{}
	case t == bytesType:
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	case t.Implements(textType):
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.component(t)
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	}
	return map[string]any{"type": "integer"}
}

// generic finds the name of a type argument.
var generic = regexp.MustCompile(`^(\w+)\[(?:.*[./])?(\w+)\]$`)

// component is a reference to the schema of a struct.
func (s *schemas) component(t reflect.Type) map[string]any {
	name, known := s.names[t]
	if !known {
		name = generic.ReplaceAllString(t.Name(), "${2}${1}")
		if _, taken := s.components[name]; taken { // by a type of another package
			owner := path.Base(t.PkgPath())
			name = strings.ToUpper(owner[:1]) + owner[1:] + name
		}
		s.names[t], s.components[name] = name, nil // it may refer to itself
		properties, required := map[string]any{}, []string{}
		s.fields(t, properties, &required)
		c := map[string]any{"type": "object", "properties": properties}
		if len(required) > 0 {
			c["required"] = required
		}
		s.components[name] = c
	}
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

// fields adds the fields of a struct, those of embedded ones too.
func (s *schemas) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.fields(f.Type, properties, required)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		schema := s.of(f.Type)
		if strings.Contains(options, "string") {
			schema = map[string]any{"type": "string"}
		}
		properties[name] = schema
		if !strings.Contains(options, "omit") && f.Type.Kind() != reflect.Interface {
			*required = append(*required, name)
		}
	}
}
