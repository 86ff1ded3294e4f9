package service_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/service"
)

type archive struct {
	Count service.Value[int]
	Rates service.Map[int, string]
	Notes service.List[string]
}

func archives(version int) service.Service {
	bind := func(ctx *service.Context, s *archive) {
		service.Bind(ctx, "Count", &s.Count)
		service.Bind(ctx, "Rates", &s.Rates)
		service.Bind(ctx, "Notes", &s.Notes)
	}
	var state []service.State[archive]
	if version > 0 {
		state = append(state, service.State[archive]{Version: version, Migrate: func(*archive, *service.Context, int) error { return nil }})
	}
	return service.Define("archive", bind, map[string]service.Method[archive]{}, state...)
}

// An instance says of what is stored what its code does not fit, with the field and what both have: another kind of field, or
// another type. It says nothing of an object that it migrates, or that later code has written.
func TestStateThatCodeDoesNotFit(t *testing.T) {
	at := func(field, value string) wire.Known {
		return wire.Known{Key: wire.Key{Field: field}, Value: wire.Value{Data: []byte(value)}}
	}
	in := func(field, entry, value string) wire.Known {
		return wire.Known{Key: wire.Key{Field: field, Item: true, Entry: entry}, Value: wire.Value{Data: []byte(value)}}
	}
	const count, rates, notes = "Count holds a ", "Rates holds a ", "Notes holds a "
	for _, test := range []struct {
		version int
		values  []wire.Known
		words   []string
	}{
		{0, []wire.Known{at("Count", "5"), in("Rates", "1", `"a"`), at("Notes", "1"), in("Notes", "0", `"n"`), at("Other", "{}")}, nil},
		{0, []wire.Known{at("Notes", "0"), at("Rates", "true")}, nil},
		{0, []wire.Known{at("Count", `"5"`)}, []string{`Count holds a string, "5", where this code has a int`}},
		{0, []wire.Known{in("Count", "1", "2")}, []string{count + "Map, where this code has a Value. Give the state a version and a Migrate"}},
		{0, []wire.Known{at("Count", "1"), in("Count", "0", "2")}, []string{count + "List, where this code has a Value"}},
		{0, []wire.Known{at("Rates", "{}")}, []string{rates + "Value, where this code has a Map"}},
		{0, []wire.Known{at("Rates", "0")}, []string{rates + "List, where this code has a Map"}},
		{0, []wire.Known{at("Rates", "1"), in("Rates", "0", `"a"`)}, []string{rates + "List, where this code has a Map"}},
		{0, []wire.Known{in("Rates", `"k"`, `"a"`)}, []string{`a key of Rates["k"] holds a string`}},
		{0, []wire.Known{in("Rates", "1", "5")}, []string{"Rates[1] holds a number, 5, where this code has a string"}},
		{0, []wire.Known{at("Notes", "3")}, []string{notes + "Value, where this code has a List"}},
		{0, []wire.Known{in("Notes", "0", `"n"`)}, []string{notes + "Map, where this code has a List"}},
		{0, []wire.Known{at("Notes", "1"), in("Notes", "0", `7`), at("Count", `"x"`)}, []string{"Count holds a string", "Notes[0] holds a number, 7, where this code has a string"}},
		{2, []wire.Known{at("Count", `"5"`)}, nil},
		{2, []wire.Known{at("#version", "2"), at("Count", `"5"`)}, []string{"Count holds a string"}},
		{2, []wire.Known{at("#version", "3"), at("Count", `"5"`)}, nil},
		{0, []wire.Known{at("#version", "2"), at("Count", `"5"`)}, nil},
	} {
		v := fits(t, archives(test.version), test.values)
		lines := strings.Split(v.Text, "\n")
		if v.Code != wire.OK || v.Text == "" && test.words != nil || v.Text != "" && len(lines) != len(test.words) {
			t.Errorf("%v is %v, %q; want %q", test.values, v.Code, v.Text, test.words)
			continue
		}
		for i, words := range test.words {
			if !strings.HasPrefix(lines[i], words) {
				t.Errorf("%v is %q, want %q", test.values, lines[i], words)
			}
		}
	}
}

// fits asks an instance whether its code fits what is stored.
func fits(t *testing.T, s service.Service, values []wire.Known) wire.Value {
	t.Helper()
	node, instance := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- service.Serve(instance, s) }()
	defer func() {
		node.Close()
		if err := <-served; err != nil && err != io.EOF {
			t.Error(err)
		}
	}()
	start := &wire.Start{Call: 1, To: wire.Target{Service: "archive", Object: "a", Method: wire.FitMethod}, Values: values}
	if _, err := node.Write(wire.Pack(nil, start)); err != nil {
		t.Fatal(err)
	}
	frame, err := wire.Next(bufio.NewReader(node))
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.Decode(frame)
	end, ok := m.(*wire.Return)
	if err != nil || !ok {
		t.Fatalf("it answers %v, %v", m, err)
	}
	return end.Value
}
