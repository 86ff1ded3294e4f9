package node_test

import (
	"fmt"
	"strings"
	"testing"
)

// A version whose code does not fit what is stored, and does not say how that is migrated, is refused when it is deployed, with the
// object, the field, and both types; the active one stays. With a migration, another name, or nothing stored, it is not.
func TestStateThatNewCodeDoesNotFitInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	const filled = `
class Purse(Service):
    n: Value[int] = 1
    flag: Value[bool]
    map: Map[str, int]
    ints: Map[int, str]
    begun: Map[str, int] = {"a": 1}
    list: List[str]
    empty: List[str]
    half: Value[float]

    def fill(self):
        self.n = 5
        self.flag = True
        self.map["k"] = 1
        self.ints[0] = "x"
        self.begun["b"] = 2
        self.list.append("e")
        self.empty.append("e")
        self.empty.pop()
        self.half = 1.5
        return 1
`
	one := purseApp(t, s, "", filled)
	if _, err := deployPurse(t, s, "", strings.ReplaceAll(filled, "Value[int] = 1", "List[int]")); err != nil {
		t.Errorf("nothing is stored: %v", err)
	}
	purseApp(t, s, "", filled)
	mustCall(t, s, "", "purse/a.fill")
	mustCall(t, s, "", "purse/b.fill")
	const ways = ": give the class a version and _migrate, or go back to code that reads it"
	for _, test := range []struct{ fields, words string }{
		{"n: List[int]", "n holds a Value, where this code has a List"},
		{"n: Map[str, int]", "n holds a Value, where this code has a Map"},
		{"n: Value[str]", "n holds int, 5, where this code has str"},
		{"flag: List[bool]", "flag holds a Value, where this code has a List"},
		{"map: Value[dict]", "map holds a Map, where this code has a Value"},
		{"map: List[int]", "map holds a Map, where this code has a List"},
		{"map: Map[int, int]", "a key of map holds str, 'k', where this code has int"},
		{"map: Map[str, str]", `map["k"] holds int, 1, where this code has str`},
		{"ints: List[str]", "ints holds a Map, where this code has a List"},
		{"begun: Value[dict]", "begun holds a Map, where this code has a Value"},
		{"begun: List[int]", "begun holds a Map, where this code has a List"},
		{"list: Value[list]", "list holds a List, where this code has a Value"},
		{"list: Map[int, str]", "list holds a List, where this code has a Map"},
		{"list: List[int]", "list[0] holds str, 'e', where this code has int"},
		{"empty: Map[int, str]", "empty holds a List, where this code has a Map"},
		{"n: Value[int]; half: Value[int]", "half holds float, 1.5, where this code has int"},

		{"n: Value[float]; map: Map[str, float]; list: List[object]; fresh: Map[str, int]", ""},
		{"empty: List[int]; begun: Map[str, int]; ints: Map[int, str]", ""},
		{"other: Value[str]", ""},
	} {
		text := "\nclass Purse(Service):\n    " + test.fields + "\n\n    def get(self):\n        return 1\n"
		_, err := deployPurse(t, s, "", text)
		switch {
		case test.words == "" && err != nil:
			t.Errorf("%s: %v", test.fields, err)
		case test.words != "" && (err == nil || !strings.Contains(err.Error(), "service purse does not fit what is stored, and has no migration for it:\npurse/a: "+test.words+ways)):
			t.Errorf("%s: %v, want %q", test.fields, err, test.words)
		case err != nil && strings.Contains(err.Error(), "purse/b"):
			t.Errorf("%s: a field is told of twice: %v", test.fields, err)
		}
		purseApp(t, s, "", filled)
	}
	if _, err := deployPurse(t, s, "", "\nclass Purse(Service):\n    n: List[int]\n    map: Value[dict]\n    list: Value[list]\n"); err == nil || strings.Count(err.Error(), "where this code has") != 3 {
		t.Errorf("three fields do not fit: %v", err)
	}
	if _, v, err := s.Apps.Get("test", ""); err != nil || v.ID != one {
		t.Errorf("the active version is %v, %v", v, err)
	}
	migrated := "\nclass Purse(Service, version=2):\n    n: Value[str]\n\n    def _migrate(self, version: int):\n        self.n = str(earlier(n=Value[int]).n)\n\n    def get(self):\n        return self.n\n"
	purseApp(t, s, "", migrated)
	converse(t, s, []exchange{{"purse/a.get", ``, `"5"`, ""}})
	if _, err := deployPurse(t, s, "", strings.ReplaceAll(migrated, "n: Value[str]", "n: List[str]")); err == nil || !strings.Contains(err.Error(), "purse/a: n holds a Value, where this code has a List") {
		t.Errorf("an object that is migrated does not fit: %v", err)
	}
}

// Large and many values are looked at in parts; what an instance of other code says to the question is no reason to refuse.
func TestLargeStateThatFitsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	large := func(kind string) string {
		return fmt.Sprintf(`
class Purse(Service):
    a: Value[str]
    b: Value[str]
    c: Value[str]
    map: Map[int, str]
    zzz: Value[%s]

    def fill(self):
        self.a = self.b = self.c = "x" * (900 << 10)
        for i in range(1000):
            self.map[i] = "y" * 1000
        self.zzz = 1
`, kind)
	}
	purseApp(t, s, "", large("int"))
	mustCall(t, s, "", "purse/a.fill")
	purseApp(t, s, "", large("float"))
	if _, err := deployPurse(t, s, "", large("str")); err == nil || !strings.Contains(err.Error(), "purse/a: zzz holds int, 1, where this code has str") {
		t.Errorf("the last field of a large object: %v", err)
	}
	deployPython(t, s, load(t, "services:\n  purse: {runtime: python, source: ./purse.py, keyed: true, handler: serve}\n", "purse.py", `
import os

def serve(event, context):
    from weft import _frames
    stream = _frames.Stream(int(os.environ["WEFT_SERVICE_FD"]))
    while frame := stream.next():
        stream.say(bytes([_frames.RETURN]) + _frames.start(frame)[0] + b"\1\0\0" + _frames.text("") + _frames.text("1") + b"\0")
`))
	if left := s.Services.Locks(); len(left) > 0 {
		t.Errorf("locks are left: %v", left)
	}
}
