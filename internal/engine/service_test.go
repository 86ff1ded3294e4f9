package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestServiceArguments(t *testing.T) {
	for _, test := range []struct {
		keyed      bool
		with, want string // the object, and the arguments; ! and words: an error
	}{
		{false, `null`, `""`},
		{false, `[]`, `""`},
		{false, `[1, "a", [2]]`, `"" 1 "a" [2]`},
		{false, `{"a": 1}`, `"" {"a":1}`},
		{false, `"x"`, `"" "x"`},
		{true, `{"key": "ann"}`, `"ann"`},
		{true, `{"key": "ann", "args": 5}`, `"ann" 5`},
		{true, `{"key": "ann", "args": [1, 2]}`, `"ann" 1 2`},
		{true, `{"key": 5, "args": [1, 2]}`, "!the key is a string"},
		{true, `{"key": "", "args": []}`, "!the key is a string"},
		{true, `{"key": "ann", "arg": []}`, "!{key: KEY, args: "},
		{true, `[1]`, "!{key: KEY, args: "},
		{true, `null`, "!{key: KEY, args: "},
	} {
		var with any
		if err := json.Unmarshal([]byte(test.with), &with); err != nil {
			t.Fatal(err)
		}
		object, args, err := ServiceArguments(test.keyed, with)
		if words, wrong := strings.CutPrefix(test.want, "!"); wrong {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v, want an error with %q", test.with, err, words)
			}
			continue
		}
		got := fmt.Sprintf("%q", object)
		for _, a := range args {
			got += " " + string(a)
		}
		if err != nil || got != test.want {
			t.Errorf("keyed %v, %s: %s, %v, want %s", test.keyed, test.with, got, err, test.want)
		}
	}
}
