package record

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/service/wire"
)

// No two places have the same key, the entries of a map are together in the order
// of their keys, and nothing else is among them.
func TestStateKeys(t *testing.T) {
	name := rapid.StringOf(rapid.SampledFrom([]rune{'a', 0, 1, '#'}))
	type place struct {
		service, object string
		key             wire.Key
	}
	draw := rapid.Custom(func(t *rapid.T) place {
		k := wire.Key{Field: name.Draw(t, "field"), Item: rapid.Bool().Draw(t, "item")}
		if k.Item {
			k.Entry = name.Draw(t, "entry")
		}
		return place{name.Draw(t, "service"), name.Draw(t, "object"), k}
	})
	rapid.Check(t, func(t *rapid.T) {
		p, q := draw.Draw(t, "p"), draw.Draw(t, "q")
		k, l := State(p.service, p.object, p.key), State(q.service, q.object, q.key)
		if (k == l) != (p == q) {
			t.Fatalf("%+v has %q, %+v has %q", p, k, q, l)
		}
		if service, object, key, err := Place(k); err != nil || (place{service, object, key}) != p {
			t.Fatalf("%q is %q %q %+v, %v", k, service, object, key, err)
		}
		if strings.HasPrefix(k, Service(q.service)) != (p.service == q.service) {
			t.Fatalf("%+v is, or is not, of service %q", p, q.service)
		}
		within := q.key.Item && q.service == p.service && q.object == p.object && q.key.Field == p.key.Field
		if strings.HasPrefix(l, Entries(p.service, p.object, p.key.Field)) != within {
			t.Fatalf("%+v is, or is not, among the entries of %+v", q, p)
		}
		if within && p.key.Item && strings.Compare(k, l) != strings.Compare(p.key.Entry, q.key.Entry) {
			t.Fatalf("%q and %q are not in the order of their entries", k, l)
		}
	})
}

func TestRequestsAndResultsTravel(t *testing.T) {
	r := Request{ID: "r", Call: Call{To: wire.Target{Service: "bank", Object: "7", Method: "add"}, Args: [][]byte{[]byte("1")}}, Hash: 2, Version: "3", Keep: true, Parent: "p", Root: "root", Deadline: 7,
		Time: 4, Due: 6, Generation: 7, Chunks: 8, Undo: []Call{{To: wire.Target{Service: "a"}}}, Undoes: "u", Parked: "x", Cuts: []uint64{9}}
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("field %s is not tried", v.Type().Field(i).Name)
		}
	}
	got, err := DecodeRequest("r", r.Encode())
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, %v, want %+v", got, err, r)
	}
	res := Result{Value: wire.Value{Code: wire.Failed, Text: "t", Data: []byte("d")}, Hash: 1, Until: 2, Parent: "p"}
	if got, err := DecodeResult(res.Encode()); err != nil || !reflect.DeepEqual(got, res) {
		t.Errorf("got %+v, %v, want %+v", got, err, res)
	}
	at, id, err := Expiry(Expire(77, "r"))
	if at != 77 || id != "r" || err != nil {
		t.Errorf("got %d, %s, %v", at, id, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&Request{Undo: []Call{{Args: [][]byte{nil, []byte("x")}}}}).Encode())
	f.Add((&Result{}).Encode())
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := DecodeRequest("r", bytes.Clone(data)); err == nil {
			if again, err := DecodeRequest("r", r.Encode()); err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("%+v is %+v when it is read again, %v", r, again, err)
			}
		}
		if r, err := DecodeResult(data); err == nil {
			if again, err := DecodeResult(r.Encode()); err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("%+v is %+v when it is read again, %v", r, again, err)
			}
		}
	})
}
