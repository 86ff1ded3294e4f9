package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
)

// Accounts in their versions: euros, cents, and one whose code does not fit.
const (
	purseHead = `
from dataclasses import dataclass
from typing import Optional
from weft.service import Error, List, Map, Service, Value, earlier, promise, run, send, sleep, transaction
`
	purseOne = `
class Purse(Service):
    balance: Value[float]
    tags: Value[list]
    rates: Map[str, int]
    notes: List[str]

    def put(self, n: int):
        self.balance += n
        self.tags.append(n)
        self.rates["r"] = n
        self.notes.append("n")
        return self.balance

    def wait(self):
        got = promise("go").wait()
        return self.put(got)

    def get(self):
        return self.balance
`
	purseTwo = `
class Purse(Service, version=2):
    balance: Value[int]
    tags: Value[list]
    moved: Map[int, int]

    def _migrate(self, version: int):
        old = earlier(balance=Value[float], notes=List[str])
        if old.balance is not None:
            self.balance = int(old.balance * 100)
            self.moved[version] = self.moved.get(version, 0) + 1
            self.tags.append("m")
            del old.notes

    def put(self, n: int):
        self.balance += 100 * n
        return self.balance

    def get(self):
        return [self.balance, self.tags, self.moved]

    def fails(self):
        self.balance += 1
        raise Error("it fails")

    def aborts(self):
        try:
            with transaction():
                self.balance += 1
                raise KeyError
        except KeyError:
            return self.get()

    def twice(self):
        before = self.balance
        run("x", lambda: None)
        return [before, self.balance, len(self.moved)]

    def nothing(self):
        return 1
`
)

func purseApp(t *testing.T, s *node.Server, methods, text string) string {
	t.Helper()
	v, err := deployPurse(t, s, methods, text)
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}

func deployPurse(t *testing.T, s *node.Server, methods, text string) (registry.Version, error) {
	t.Helper()
	return deployProcesses(t, s, load(t, "services:\n  purse: {runtime: python, source: ./purse.py, keyed: true"+methods+"}\n", "purse.py", purseHead+text))
}

// kept lists the state of an object.
func kept(t *testing.T, s *node.Server, service, object string) (list []string) {
	t.Helper()
	all, _, err := s.Services.Scan(t.Context(), "test."+service, object, false, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		list = append(list, fmt.Sprintf("%v=%s", p.Key, p.Value))
	}
	slices.Sort(list)
	return list
}

// An object is migrated by the first method that uses its state, with what that writes or not
// at all, whether it reads only or writes; objects that nobody uses stay as they are. Older code does not
// see an object that has a version.
func TestMigrationInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	purseApp(t, s, "", purseOne)
	for _, o := range []string{"a", "b", "c", "d", "e", "w"} {
		mustCall(t, s, "", "purse/"+o+".put", "10")
	}
	before := kept(t, s, "purse", "a")
	if id, err := s.SendService(t.Context(), node.ServiceCall{App: "test", Service: "purse", Object: "w", Method: "wait"}); err != nil || !eventually(func() bool { return stateOf(s, id) == machine.Waiting }) {
		t.Fatal(err)
	} else {
		defer func() {
			if err := s.Services.Resolve(t.Context(), id, "go", wire.Value{Data: []byte("1")}); err != nil {
				t.Error(err)
			}
			if !eventually(func() bool { return stateOf(s, id) == machine.Parked }) {
				t.Errorf("a request that meets a later version: %+v", s.Services.Requests())
			}
		}()
	}
	two := purseApp(t, s, "", purseTwo)
	converse(t, s, []exchange{
		{"purse/a.nothing", ``, `1`, ""},
		{"purse/a.fails", ``, "", "it fails"},
	})
	if got := kept(t, s, "purse", "a"); !slices.Equal(got, before) {
		t.Errorf("after methods that do not use the state, or fail: %q, want %q", got, before)
	}
	converse(t, s, []exchange{
		{"purse/a.put", `[1]`, `1100`, ""},
		{"purse/a.get", ``, `[1100,[10,"m"],{"1":1}]`, ""},
		{"purse/b.aborts", ``, `[1000,[10,"m"],{"1":1}]`, ""},
		{"purse/b.get", ``, `[1000,[10,"m"],{"1":1}]`, ""},
		{"purse/d.twice", ``, `[1000,1000,1]`, ""},
		{"purse/n.get", ``, `[0,[],{}]`, ""},
		{"purse/w.get", ``, `[1000,[10,"m"],{"1":1}]`, ""},
	})
	if got, want := kept(t, s, "purse", "a"), []string{"#version=2", "balance=1100", "moved[1]=1", "notes=0", "rates[\"r\"]=10", "tags=[10,\"m\"]"}; !slices.Equal(got, want) {
		t.Errorf("a has %q, want %q", got, want)
	}
	if got := kept(t, s, "purse", "n"); len(got) > 0 {
		t.Errorf("an object without state has %q", got)
	}
	purseApp(t, s, "", purseOne)
	converse(t, s, []exchange{
		{"purse/a.get", ``, "", "the state has version 2, and the code of version"},
		{"purse/a.put", `[1]`, "", "it was written by a later one"},
		{"purse/c.get", ``, `10.0`, ""},
	})
	purseApp(t, s, ", methods: {get: shared, put: exclusive}", purseTwo)
	converse(t, s, []exchange{{"purse/c.get", ``, `[1000,[10,"m"],{"1":1}]`, ""}})
	purseApp(t, s, ", methods: {get: snapshot, put: exclusive}", purseTwo)
	converse(t, s, []exchange{{"purse/e.get", ``, `[1000,[10,"m"],{"1":1}]`, ""}, {"purse/e.put", `[1]`, `1100`, ""}})
	purseApp(t, s, "", strings.NewReplacer("version=2", "version=3", "old = ", "raise KeyError('rate')\n        old = ").Replace(purseTwo))
	converse(t, s, []exchange{{"purse/a.put", `[1]`, "", "migrate the state from version 2 to 3: KeyError: 'rate'"}})
	purseApp(t, s, "", strings.NewReplacer("version=2", "version=3", "old = ", "sleep(1)\n        old = ").Replace(purseTwo))
	converse(t, s, []exchange{{"purse/a.put", `[1]`, "", "_migrate reads and writes the state of its object, and does nothing else"}})
	if got, err := s.CallService(t.Context(), node.ServiceCall{App: "test", Version: two, Service: "purse", Object: "a", Method: "put", Args: [][]byte{[]byte(`1`)}}); err != nil || string(got) != "1200" {
		t.Errorf("on the version before: %s, %v", got, err)
	}
	purseApp(t, s, "", strings.NewReplacer("version=2", "version=3", "old.balance is not None", "version < 2").Replace(purseTwo))
	converse(t, s, []exchange{{"purse/a.put", `[1]`, `1300`, ""}})
	purseApp(t, s, "", purseTwo)
	converse(t, s, []exchange{{"purse/a.put", `[1]`, "", "the state has version 3, and this code knows version 2: it was written by a later one"}})
}

// Code that does not fit the state is told so with the field and both types; nothing has
// happened, and no lock is left. Values that would not fit are not written.
func TestIncompatibleStateInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	app := func(text string) string {
		t.Helper()
		return purseApp(t, s, "", strings.ReplaceAll(`
@dataclass
class Point:
    x: int
    y: int = 0

class Purse(Service):
`, "\t", "    ")+text)
	}
	one := app(`
    n: Value[str] = "x"
    half: Value[float] = 0.5
    tags: Value[list[str]]
    place: Value[Point] = Point(1)
    all: List[str]
    map: Map[str, str]
    ints: Map[int, int]
    any: Value[object] = "x"

    def fill(self):
        self.n += "y"
        self.half *= 3
        self.tags = ["a", "b"]
        self.place.x = 2
        self.all.append("e")
        self.map["k"] = "v"
        self.ints[1] = 1
        self.any = self.any * 2
        del self.place.y
        return 1
`)
	const two = `
    n: Value[int]
    half: Value[int]
    tags: Value[list[int]]
    place: Value[Point] = Point(1)
    all: List[int]
    map: Map[str, int]
    ints: Map[str, int]
    any: Value[Optional[int]] = None
    fine: Value[float] = 1

    def one(self, name: str):
        self.fine = 5
        return getattr(self, name)

    def length(self):
        self.fine += 1
        return len(self.all)

    def walk(self, name: str):
        try:
            return list(getattr(self, name).items())
        except BaseException:
            return "caught"

    def first(self):
        return self.all[0]

    def nested(self):
        try:
            Purse.at("a").one("n")
        except Error:
            pass
        return 1

    def calls(self):
        self.fine = 7
        with transaction():
            return Purse.at("a").one("n")

    def writes(self, how: int):
        self.fine = 9
        if how == 0:
            self.fine = "text"
        elif how == 1:
            self.map["x"] = "text"
        elif how == 2:
            self.all.append(None)
        elif how == 3:
            self.ints[3] = 1
        elif how == 4:
            self.fresh = [1]

    fresh: Value[list[str]]

    def grows(self, v: object):
        self.fresh.append(v)
        return self.fresh
`
	const three = `
    all: Value[list]
    place: Value[Point] = Point(1)
    tags: List[str]
    map: Map[str, str]

    def one(self, name: str):
        return getattr(self, name) and 1

    def length(self):
        return len(self.tags)
`
	app(two)
	app(three) // nothing is stored yet
	if _, err := s.CallService(t.Context(), node.ServiceCall{App: "test", Service: "purse", Object: "a", Method: "fill", Version: one}); err != nil {
		t.Fatal(err)
	}
	before := kept(t, s, "purse", "a")
	app(two)
	const ways = ": give the class a version and _migrate, or go back to code that reads it"
	converse(t, s, []exchange{
		{"purse/a.one", `["n"]`, "", "n holds str, 'xy', where this code has int" + ways},
		{"purse/a.one", `["half"]`, "", "half holds float, 1.5, where this code has int" + ways},
		{"purse/a.one", `["tags"]`, "", "tags[0] holds str, 'a', where this code has int"},
		{"purse/a.one", `["any"]`, "", "any holds str, 'xx', where this code has Optional[int]"},
		{"purse/a.first", ``, "", "all[0] holds str, 'e', where this code has int"},
		{"purse/a.walk", `["map"]`, "", `map["k"] holds str, 'v', where this code has int`},
		{"purse/a.walk", `["ints"]`, "", "a key of ints holds int, 1, where this code has str"},
		{"purse/b.calls", ``, "", "purse/a.one: n holds str, 'xy', where this code has int"},
		{"purse/b.nested", ``, "", "purse/a.one: n holds str, 'xy', where this code has int"},
		{"purse/a.writes", `[0]`, "", "TypeError: fine is float, and not str, 'text'"},
		{"purse/a.writes", `[1]`, "", `TypeError: map["x"] is int, and not str, 'text'`},
		{"purse/b.writes", `[2]`, "", "TypeError: all[0] is int, and not NoneType, None"},
		{"purse/a.writes", `[3]`, "", "TypeError: the keys of ints are str, and not int, 3"},
		{"purse/a.writes", `[4]`, "", "TypeError: fresh[0] is str, and not int, 1"},
		{"purse/b.grows", `["x"]`, `["x"]`, ""},
		{"purse/b.grows", `[5]`, "", "TypeError: fresh[1] is str, and not int, 5"},
		{"purse/b.grows", `["y"]`, `["x","y"]`, ""},
		{"purse/a.length", ``, `1`, ""},
	})
	app(three)
	converse(t, s, []exchange{
		{"purse/a.one", `["all"]`, "", "all holds int, 1, where this code has list"},
		{"purse/a.length", ``, "", "tags holds list, ['a', 'b'], where this code has a List"},
		{"purse/a.one", `["place"]`, `1`, ""},
	})
	got := slices.DeleteFunc(kept(t, s, "purse", "a"), func(p string) bool { return strings.HasPrefix(p, "fine=") })
	if !slices.Equal(got, before) {
		t.Errorf("the state is %q, and was %q", got, before)
	}
}

// An argument that is not of the type of its annotation is refused, whatever is in it, with its
// number, its name and both types.
func TestArgumentsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  ask: {runtime: python, source: ./ask.py}\n", "ask.py", `
from __future__ import annotations

import datetime
import enum
from collections import Counter
from typing import Any, Dict, List, Literal, NewType, Optional, Tuple, TypedDict, Union
from weft.service import Service

class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2

class Kind(str, enum.Enum):
    A = "a"

Name = NewType("Name", str)

class Point(TypedDict):
    x: int
    y: float

class Ask(Service):
    def ints(self, a: int, b: float = 1): return [a, b]
    def truth(self, a: bool): return a
    def lists(self, a: list[int], b: List[Dict[str, float]]): return [a, b]
    def maybe(self, a: Optional[int] = None, b: Union[int, str] = 0, c: str = None): return [a, b, c]
    def words(self, a: Literal["x", "y"]): return a
    def point(self, p: Point): return p
    def pair(self, p: Tuple[int, int], q: set): return [p, list(q)] if isinstance(p, tuple) and isinstance(q, set) else None
    def any(self, a: Any, b: object, c: Name, d): return [a, b, c, d]
    def when(self, at: datetime.datetime): return 1
    def none(self, a: None): return a
    def base(self, l: Level, k: Kind, c: Counter[str]): return [l, k, c] if isinstance(l, Level) and isinstance(k, Kind) and isinstance(c, Counter) else None
    def based(self): return Ask.at().base(Level.HIGH, Kind.A, Counter("aab"))
`))
	converse(t, s, []exchange{
		{"ask.ints", `[1, 2]`, `[1,2]`, ""},
		{"ask.ints", `[1.5]`, "", "ints: argument 1 (a) is of type float, not int"},
		{"ask.ints", `[true]`, "", "ints: argument 1 (a) is of type bool, not int"},
		{"ask.ints", `[1, "2"]`, "", "ints: argument 2 (b) is of type str, not float"},
		{"ask.ints", `[null]`, "", "ints: argument 1 (a) is of type NoneType, not int"},
		{"ask.truth", `[1]`, "", "truth: argument 1 (a) is of type int, not bool"},
		{"ask.lists", `[[1, 2], [{"a": 1}]]`, `[[1,2],[{"a":1}]]`, ""},
		{"ask.lists", `[[1, "2"], []]`, "", "lists: argument 1 (a)[1] is of type str, not int"},
		{"ask.lists", `[[], [{"a": 1}, {"b": "c"}]]`, "", "lists: argument 2 (b)[1]['b'] is of type str, not float"},
		{"ask.lists", `[{}, []]`, "", "lists: argument 1 (a) is of type dict, not list[int]"},
		{"ask.maybe", ``, `[null,0,null]`, ""},
		{"ask.maybe", `[1, "x", null]`, `[1,"x",null]`, ""},
		{"ask.maybe", `["x"]`, "", "maybe: argument 1 (a) is of type str, not Optional[int]"},
		{"ask.maybe", `[1, []]`, "", "maybe: argument 2 (b) is of type list, not Union[int, str]"},
		{"ask.words", `["y"]`, `"y"`, ""},
		{"ask.words", `["z"]`, "", "words: argument 1 (a) is of type str, not Literal['x', 'y']"},
		{"ask.point", `[{"x": 1, "y": 2.5}]`, `{"x":1,"y":2.5}`, ""},
		{"ask.point", `[{"x": 1}]`, "", "point: argument 1 (p)['y'] is missing, and of type float"},
		{"ask.point", `[{"x": "1", "y": 1}]`, "", "point: argument 1 (p)['x'] is of type str, not int"},
		{"ask.pair", `[[1, 2], [3]]`, `[[1,2],[3]]`, ""},
		{"ask.pair", `[1, [3]]`, "", "pair: argument 1 (p) is of type int, not Tuple[int, int]"},
		{"ask.any", `[1, null, "n", {}]`, `[1,null,"n",{}]`, ""},
		{"ask.any", `[1, null, 2, {}]`, "", "any: argument 3 (c) is of type int, not str"},
		{"ask.when", `["2024-01-01"]`, "", "when: argument 1 (at) is of type str, not datetime"},
		{"ask.none", `[null]`, `null`, ""},
		{"ask.based", ``, `[2,"a",{"a":2,"b":1}]`, ""},
		{"ask.base", `["2", "a", {}]`, "", "base: argument 1 (l) is of type str, not Level"},
		{"ask.base", `[true, "a", {}]`, "", "base: argument 1 (l) is of type bool, not Level"},
	})
}
