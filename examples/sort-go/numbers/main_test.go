package main

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"
)

// The functions run one after the other in this process, over the SDK's table of slots.
func TestSortsAllParts(t *testing.T) {
	in := input{Folder: "../../sort/data", Sorters: 3, Mergers: 5}
	step := func(name string, items int, f func(input) error) {
		t.Helper()
		t.Setenv("WEFT_STEP", name)
		for in.Part = range items {
			t.Setenv("WEFT_INDEX", strconv.Itoa(in.Part))
			if err := f(in); err != nil {
				t.Fatalf("%s %d: %v", name, in.Part, err)
			}
		}
	}
	step("read", in.Sorters, func(in input) error { _, err := read(in); return err })
	step("sort", in.Sorters, func(in input) error { _, err := sort(in); return err })
	step("split", in.Sorters, func(in input) error { _, err := split(in); return err })
	step("merge", in.Mergers, func(in input) error { _, err := merge(in); return err })
	got, err := check(in)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(in.Folder + "/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var want result
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"1,x", "4294967296", "1;2", "-1"} {
		if got, err := parse([]byte(text)); err == nil {
			t.Errorf("%q gave %v", text, got)
		}
	}
	if got, err := parse([]byte(" 1,,4294967295\n,")); err != nil || len(got) != 2 || got[1] != 4294967295 {
		t.Errorf("got %v, %v", got, err)
	}
}
