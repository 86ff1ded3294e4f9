package wire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// generator makes values whose every field may be set.
func generator(t *rapid.T, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ {
	case reflect.TypeFor[Code]():
		v.SetUint(uint64(rapid.IntRange(0, int(Conflict)).Draw(t, "code")))
		return v
	case reflect.TypeFor[Mode](), reflect.TypeFor[Edge]():
		v.SetUint(uint64(rapid.IntRange(0, 2).Draw(t, "mode")))
		return v
	case reflect.TypeFor[Key]():
		k := Key{Field: rapid.String().Draw(t, "field"), Item: rapid.Bool().Draw(t, "item")}
		if k.Item {
			k.Entry = rapid.String().Draw(t, "entry")
		}
		return reflect.ValueOf(k)
	case reflect.TypeFor[time.Duration]():
		v.SetInt(rapid.Int64().Draw(t, "duration"))
		return v
	case reflect.TypeFor[[]byte]():
		if b := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes"); len(b) > 0 {
			v.SetBytes(b)
		}
		return v
	}
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			v.Field(i).Set(generator(t, typ.Field(i).Type))
		}
	case reflect.Slice:
		for range rapid.IntRange(0, 3).Draw(t, "count") {
			v = reflect.Append(v, generator(t, typ.Elem()))
		}
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "uint32")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint64"))
	default:
		t.Fatalf("no value for a %v", typ)
	}
	return v
}

func TestEveryFieldOfEveryMessageTravels(t *testing.T) {
	for number, make := range messages {
		if make == nil {
			continue
		}
		rapid.Check(t, func(t *rapid.T) {
			m := reflect.New(reflect.TypeOf(make()).Elem())
			m.Elem().Set(generator(t, m.Elem().Type()))
			sent := m.Interface().(Message)
			if int(sent.kind()) != number {
				t.Fatalf("%T has number %d, the table says %d", sent, sent.kind(), number)
			}
			got, err := Decode(Encode(nil, sent))
			if err != nil || !reflect.DeepEqual(sent, got) {
				t.Fatalf("sent %+v, got %+v, %v", sent, got, err)
			}
		})
	}
}

func TestMalformedFramesAreRefused(t *testing.T) {
	good := Encode(nil, &Read{Question: Question{Call: 1, Seq: 2}, Keys: []Key{{Field: "count"}}})
	for name, frame := range map[string][]byte{
		"empty":        {},
		"unknown":      {255},
		"truncated":    good[:len(good)-1],
		"too long":     append(bytes.Clone(good), 0),
		"unknown code": Encode(nil, &Ran{Value: Value{Code: 99}}),
		"unknown mode": Encode(nil, &Invoke{Mode: 9}),
		"unknown edge": Encode(nil, &Transaction{Edge: 9}),
	} {
		if _, err := Decode(frame); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

// Whatever an instance sends is a message that is encoded in the same way again, or
// an error.
func FuzzDecode(f *testing.F) {
	for _, make := range messages {
		if make != nil {
			f.Add(Encode(nil, make()))
		}
	}
	f.Add(Encode(nil, &Start{To: Target{"bank", "7", "add"}, Args: [][]byte{[]byte("1")}, Values: []Known{{Key: Key{Field: "x", Item: true, Entry: "y"}}}}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err != nil {
			return
		}
		if a, ok := m.(Asker); ok {
			if what, _ := a.Describe(); what == "" {
				t.Errorf("%T has no description", m)
			}
		}
		again, err := Decode(Encode(nil, m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v is %+v when it is read again, %v", m, again, err)
		}
	})
}
