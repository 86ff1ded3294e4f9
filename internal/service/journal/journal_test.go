package journal

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/service/wire"
)

func entries() []Entry {
	read := Of("", &wire.Read{Question: wire.Question{Seq: 1}, Keys: []wire.Key{{Field: "balance"}}})
	read.Answered, read.Answer = true, wire.Answer{List: []wire.Value{{Data: []byte("7")}}, Now: 5, Fresh: true}
	return []Entry{
		{Start: wire.Start{Now: 1, Seed: 2, Values: []wire.Known{{Key: wire.Key{Field: "x"}, Value: wire.Value{Code: wire.Absent}}}}},
		read,
		Of("2", &wire.Run{Question: wire.Question{Seq: 1}, Name: "mail"}),
	}
}

func TestEntriesTravel(t *testing.T) {
	chunks := Encode(entries())
	if len(chunks) != 1 {
		t.Fatalf("%d chunks", len(chunks))
	}
	got, err := Decode(chunks[0])
	if err != nil || !reflect.DeepEqual(got, entries()) {
		t.Errorf("got %+v, %v, want %+v", got, err, entries())
	}
}

func TestLongJournalsAreChunks(t *testing.T) {
	var want []Entry
	for i := range 40 {
		want = append(want, Entry{Seq: uint64(i + 1), Answered: true, Answer: wire.Answer{Value: wire.Value{Data: bytes.Repeat([]byte("x"), 5000)}}})
	}
	var got []Entry
	for _, chunk := range Encode(want) {
		if len(chunk) > ChunkMax {
			t.Errorf("a chunk has %d bytes", len(chunk))
		}
		some, err := Decode(chunk)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, some...)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %d entries, want %d", len(got), len(want))
	}
}

func TestCompare(t *testing.T) {
	run := func(name string, writes ...wire.Write) *wire.Run {
		return &wire.Run{Question: wire.Question{Seq: 3, Writes: writes}, Name: name}
	}
	was := Of("", run("mail"))
	for _, c := range []struct {
		now  wire.Asker
		want string
	}{
		{run("mail"), ""},
		{run("print"), `bank.add is not deterministic: question 3 was "run mail", now it is "run print"`},
		{run("mail", wire.Write{Key: wire.Key{Field: "x"}}), `question 3, "run mail", comes with other arguments or writes`},
		{&wire.Invoke{Question: wire.Question{Seq: 3}, To: wire.Target{Service: "mail", Method: "send"}}, `now it is "call mail.send"`},
	} {
		got := ""
		if d := Compare(wire.Target{Service: "bank", Method: "add"}, was, c.now); d != nil {
			got = d.Error()
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.now, got, c.want)
		}
	}
}

func TestString(t *testing.T) {
	if got, want := fmt.Sprint(entries()), "[start 1 read balance: ok 2 1 run mail: waits]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(entries())[0])
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, chunk []byte) {
		got, err := Decode(chunk)
		if err != nil {
			return
		}
		var again []Entry
		for _, c := range Encode(got) {
			some, err := Decode(c)
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, some...)
		}
		if !reflect.DeepEqual(got, again) {
			t.Errorf("%+v is %+v when it is read again", got, again)
		}
	})
}
