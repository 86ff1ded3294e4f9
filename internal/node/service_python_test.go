package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
)

// pythonFiles are the files of a folder of testdata, as load takes them.
func pythonFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", dir, "*.py"))
	if err != nil || len(names) == 0 {
		t.Fatalf("testdata/%s has no files: %v", dir, err)
	}
	var files []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Base(name), string(text))
	}
	return files
}

// deployPython deploys an app with services in Python.
func deployPython(t *testing.T, s *node.Server, a *app.App) {
	t.Helper()
	if _, err := deployProcesses(t, s, a); err != nil {
		t.Fatal(err)
	}
}

const shopApp = `
services:
  account: {runtime: python, source: ./shop.py, keyed: true}
  teller: {runtime: python, source: ./shop.py, handler: Teller, attempts: 3, timeout: 20s}
`

// exchange is a call and what comes of it: a result, or an error that has these words.
type exchange struct{ target, args, result, words string }

// converse makes calls one after the other. Arguments are a JSON list.
func converse(t *testing.T, s *node.Server, all []exchange) {
	t.Helper()
	for _, e := range all {
		var args []json.RawMessage
		if e.args != "" {
			if err := json.Unmarshal([]byte(e.args), &args); err != nil {
				t.Fatal(err)
			}
		}
		var list []string
		for _, a := range args {
			list = append(list, string(a))
		}
		got, err := call(s, "", e.target, list...)
		switch {
		case e.words == "" && (err != nil || got != e.result):
			t.Errorf("%s(%s) is %s, %v; want %s", e.target, e.args, got, err, e.result)
		case e.words != "" && (err == nil || !strings.Contains(err.Error(), e.words)):
			t.Errorf("%s(%s) is %s, %v; want an error with %q", e.target, e.args, got, err, e.words)
		}
	}
	if left := s.Services.Locks(); len(left) > 0 {
		t.Errorf("locks are left: %v", left)
	}
}

func TestServicesInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir(), func(c *node.ServerConfig) { c.ValueMax = 32 << 10 })
	deployPython(t, s, load(t, shopApp, pythonFiles(t, "python")...))
	converse(t, s, []exchange{
		{"account/ann.put", `[100]`, `100`, ""},
		{"account/ann.take", `[101]`, "", "Funds: there is not so much"},
		{"account/ann.show", ``, `[100,["put 100"],[100],{"last":100},"ann"]`, ""},
		{"account/ann.stock", `[1, "é\""]`, `[["é\"","b","c"],"c",1,["b","é\"","i"],3]`, ""},
		{"teller.move", `["ann", "bob", 30]`, `70`, ""},
		{"teller.move", `["ann", "bob", 80]`, "", "Funds: there is not so much"},
		{"teller.totals", `["ann", "bob", "eve"]`, `[70,30,0]`, ""},
		{"teller.careful", `["ann", "bob", 80]`, `["there is not so much",1]`, ""},
		{"teller.swallows", `["ann", 80]`, `"nothing: there is not so much"`, ""},
		{"teller.nested", ``, `["inner",1]`, ""},
		{"teller.counted", ``, `1`, ""},
		{"teller.first", `["bob"]`, `[1,31]`, ""},
		{"teller.effect", `["x"]`, `[{"bytes":4,"key":true},"IndexError: list index out of range"]`, ""},
		{"teller.naps", `[0.01]`, `[true,[1,2]]`, ""},
		{"teller.loops", `[3, 0]`, `6`, ""},
		{"teller.counted", ``, `5`, ""},
		{"teller.saga", `["bob", 5]`, "", "it does not work out"},
		{"teller.totals", `["bob"]`, `[31]`, ""},
		{"teller.later", `["eve", 7]`, `null`, ""},
		{"teller.dies", `["carol"]`, `2`, ""},
		{"teller.chances", ``, `2`, ""},
		{"account/carol.show", ``, `[2,["put 1","put 1"],[1,1],{"last":1},"carol"]`, ""},

		{"teller.nothing", ``, "", "there is no method teller.nothing"},
		{"teller._private", ``, "", "there is no method"},
		{"account/ann.put", `[]`, "", "put takes 1 argument, the call has 0"},
		{"account/ann.put", `[1, 2]`, "", "put takes 1 argument, the call has 2"},
		{"account/ann.put", `["x"]`, "", "put: argument 1 (amount) is of type str, not int"},
		{"teller.secret", ``, "", "get them in run"},
		{"teller.thread", ``, "", "no threads"},
		{"teller.unpicklable", ``, "", "a value of type list cannot be stored"},
		{"teller.large", `[40000]`, "", "at most 32768"},
		{"teller.notjson", ``, "", "the result of notjson: a value of type set is not JSON"},
		{"teller.raises", ``, "", "KeyError: 'missing'"},
		{"teller.open", ``, "", "in the middle of a transaction"},
		{"teller.sleeps_inside", ``, "", "does not wait"},
		{"teller.counted", ``, `5`, ""},
	})
	if !eventually(func() bool {
		out, err := call(s, "", "account/eve.show")
		return err == nil && strings.HasPrefix(out, "[7,")
	}) {
		t.Error("what was sent has not happened")
	}
	a, b := mustCall(t, s, "", "teller.same"), mustCall(t, s, "", "teller.same")
	if a == b {
		t.Errorf("two requests have the same chance: %s", a)
	}
	first := mustCall(t, s, "", "teller.pid")
	if again := mustCall(t, s, "", "teller.pid"); again != first {
		t.Errorf("the instance was %s and is %s: it does not stay", first, again)
	}
}

// A request that waits for somebody outside outlives its node, and then does the same again.
func TestPromisesInPython(t *testing.T) {
	needProcesses(t)
	dir := t.TempDir()
	s := serveBeside(t, dir)
	deployPython(t, s, load(t, shopApp, pythonFiles(t, "python")...))
	id, err := s.SendService(t.Context(), node.ServiceCall{App: "test", Service: "teller", Method: "waits", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		return len(s.Services.Requests()) == 1 && s.Services.Requests()[0].State == machine.Waiting
	}) {
		t.Fatal("nothing waits")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = serveBeside(t, dir)
	if err := s.Services.Resolve(t.Context(), id, "answer", wire.Value{Data: []byte(`{"a":1}`)}); err != nil {
		t.Fatal(err)
	}
	if got := mustCall(t, s, "k", "teller.waits"); got != `{"a":1}` {
		t.Errorf("it was told %s", got)
	}
}

// Clients at once, on few objects, with instances that end meanwhile: money neither comes
// nor goes.
func TestMoneyInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, shopApp, pythonFiles(t, "python")...))
	names := []string{`"a"`, `"b"`, `"c"`}
	for _, n := range names {
		mustCall(t, s, "", "account/"+strings.Trim(n, `"`)+".put", "1000")
	}
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := range 12 {
				if _, err := call(s, fmt.Sprintf("%d-%d", c, i), "teller.move", names[(c+i)%3], names[(c+i+1+i%2)%3], "7"); err != nil {
					t.Error(err)
					return
				}
				if c == 0 && i%4 == 3 {
					s.Refresh("test") // its instances end when they are free
				}
			}
		})
	}
	clients.Wait()
	var totals []int
	if err := json.Unmarshal([]byte(mustCall(t, s, "", "teller.totals", names...)), &totals); err != nil {
		t.Fatal(err)
	}
	if totals[0]+totals[1]+totals[2] != 3000 {
		t.Errorf("the accounts have %v, of 3000", totals)
	}
}

// mu2slsApp has services in the format of mu2sls, one for each file and class.
func mu2slsApp(classes ...string) string {
	text := "services:\n"
	for _, c := range classes {
		file, class, _ := strings.Cut(c, ":")
		text += fmt.Sprintf("  %s: {runtime: python, source: ./%s.py, handler: %s:%s}\n", strings.ReplaceAll(file, "_", ""), file, file, class)
	}
	return text
}

func TestServicesOfMu2sls(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, mu2slsApp("counter:Counter", "url_shortener:UrlShortener", "service1:Service1", "service2:Service2", "frontend:Frontend",
		"service2abort:Service2Abort", "frontendabort:FrontendAbort", "caller:Caller", "hotel:Hotel", "flight:Flight", "order:Order", "travel:Travel",
		"language:Language", "inner:Inner", "outer:Outer"), pythonFiles(t, "mu2sls")...))
	converse(t, s, []exchange{
		{"counter.hit", `["a"]`, `0`, ""},
		{"counter.hit", `["a"]`, `1`, ""},
		{"counter.hit", `["b-c"]`, `0`, ""},
		{"urlshortener.ShortenUrls", `["http://long"]`, `["NotFound","http://s/9a13fc06"]`, ""},
		{"urlshortener.ShortenUrls", `["http://long"]`, `["Found","http://s/9a13fc06"]`, ""},
		{"urlshortener.ComposeUrls", `[["http://long", "http://long"]]`, `["http://s/9a13fc06","http://s/9a13fc06"]`, ""},
		{"frontend.compose", `[5]`, `[[5],[5],[5]]`, ""},
		{"frontend.compose", `[42]`, `[[5,42],[5,42],[5,42]]`, ""},
		{"frontendabort.compose", `[5]`, `[]`, ""},
		{"frontendabort.compose", `[42]`, `[]`, ""},
		{"service2abort.get", ``, `[]`, ""},
		{"frontendabort.forgets", `[1]`, "", "ABORT"},
		{"service1.set", `[0]`, `[5,42,0]`, ""},
		{"caller.compose", `[1]`, `[[5,42,0,1],[5,42,1]]`, ""},
		{"caller.compose_sync", `[2]`, `[5,42,1,2]`, ""},
		{"caller.one", `[3]`, `[5,42,0,1,2,3]`, ""},
		{"outer.go", `[5]`, `[5]`, ""},
		{"outer.go", `[50]`, `"aborted"`, ""},
		{"outer.go", `[6]`, `[5,6]`, ""},
		{"inner.work", `[50]`, "", "ABORT"},
		{"hotel.add_hotel", `["h", 4]`, `null`, ""},
		{"flight.add_flight", `["f", 3]`, `null`, ""},
		{"travel.req", `["u1", "f", "h"]`, `[true,"Order Successful"]`, ""},
		{"travel.req", `["u2", "f", "h"]`, `[true,"Order Successful"]`, ""},
		{"travel.req", `["u3", "f", "h"]`, `[true,"Order Successful"]`, ""},
		{"travel.req", `["u4", "f", "h"]`, `[false,"Flight Reservation Failed"]`, ""},
		{"hotel.left", `["h"]`, `1`, ""},
		{"order.count", ``, `3`, ""},
		{"travel.req", `["u5", "none", "h"]`, "", "KeyError: 'none'"},
		{"hotel.left", `["h"]`, `1`, ""},
		{"language.lists", ``, `[7,1,5]`, ""},
		{"language.lists", ``, "", "AssertionError"},
		{"language.scalars", ``, `[6,"aa",2,true]`, ""},
		{"language.scalars", ``, `[7,"aaaa",3,false]`, ""},
	})
	var got []any
	if err := json.Unmarshal([]byte(mustCall(t, s, "", "language.dicts")), &got); err != nil {
		t.Fatal(err)
	}
	want := `[[1,2,9],null,0,7,null,true,7,["(1, 't')","8","a","a-b","b","c","d"],["(1, 't')","8","a","b","c","d"],` +
		`["('a', [1, 2, 9])","('b', [3, 4, 9])","('c', 5)","('d', 6)","((1, 't'), {1})","(8, 'n')"],{"b":[3,4,9]},"'none'"]`
	if text, _ := json.Marshal(got); string(text) != want {
		t.Errorf("a dict does\n%s, want\n%s", text, want)
	}
	converse(t, s, []exchange{{"language.again", ``,
		`["('a', [1, 2, 9])","('b', [3, 4, 9])","('c', 5)","('d', 6)","((1, 't'), {1})","(8, 'n')",{"a":0,"new":1},0,true,1,{"b":2}]`, ""},
		{"language.again", ``, `[{"a":0,"new":1},0,true,"gone",{"b":2}]`, ""}})
	if a, again := mustCall(t, s, "k", "language.chance"), mustCall(t, s, "", "language.chance"); a == again {
		t.Errorf("chance is always %s", a)
	}
}

// A service whose code cannot be right is refused when it is deployed, with file and line.
func TestUnfitServicesInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	const head = "from weft.service import Service, Value, Map\n"
	for _, test := range []struct {
		text  string
		words []string
	}{
		{head + `from typing import ClassVar
seen = []
n = 0

class Box:
    pass

box = Box()

class Count(Service):
    n: int = 0
    m: Value[int]
    cache: ClassVar = {}

    def __init__(self):
        pass

    def add(self, x=[]):
        global n
        n += 1
        self.other = 1
        Count.seen = Box.seen = 1
        type(self).seen += 1
        self.__class__.seen = 1
        Box = 1
`, []string{"count.py:3: seen is a list, which can change", "count.py:9: box is an object of Box", "count.py:12: n is not persistent", "count.py:14: Count.cache is a dict",
			"count.py:16: a service has no __init__", "count.py:19: a default argument that can change", "count.py:20: global n", "count.py:22: self.other is not a field",
			"count.py:23: Count.seen is assigned", "count.py:24: type(self).seen is assigned", "count.py:25: self.__class__.seen is assigned"}},
		{"from compiler import decorators\n@decorators.service\nclass Count:\n  def __init__(self):\n    self.n = 0\n    print(1)\n    self.f = lambda: 0 # type: Persistent[int]\n",
			[]string{"count.py:5: self.n is not persistent", "count.py:6: __init__ of a service only assigns its fields", "count.py:7: the initial value of self.f"}},
		{head + `
class Count(Service, version=2):
    at: Value[int]
    n: Value[int] = "x"
    m: Map[str, int] = {"a": None}
    none: Value[int] = None

class Other(Service):
    def _migrate(self, version):
        pass
`, []string{"count.py:3: Count has version 2 of its state, and does not say", "count.py:4: at is not the name of a field", "count.py:5: the initial value of n: str, 'x', where the annotation says int",
			"count.py:6: the initial value of m: NoneType, None", "count.py:9: Other has _migrate, and no version"}},
		{head + "class Count(Service, version=1): pass\n", []string{"class Count has version 1 of its state: versions are numbers from 2 on"}},
		{"def count(): pass\n", []string{"module count has no service: say which class is service count, as in `handler: count:Name`"}},
		{head + "class A(Service): pass\nclass B(Service): pass\n", []string{"module count has the services A, B: say which class is service count, as in `handler: count:A`"}},
		{"def f(:\n", []string{"SyntaxError"}},
	} {
		_, err := deployProcesses(t, s, load(t, "services:\n  count: {runtime: python, source: ./count.py}\n", "count.py", test.text))
		for _, words := range test.words {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%v, want %q", err, words)
			}
		}
	}
	deployPython(t, s, load(t, "services:\n  count: {runtime: python, source: ./count.py}\n", "count.py", head+`
import enum, logging, re, types
from dataclasses import dataclass
from typing import NamedTuple

class Colour(enum.Enum):
    RED = [1]

@dataclass(frozen=True)
class Fixed:
    n: int

class Pair(NamedTuple):
    a: int

LOG, WORD, FIXED, PAIR = logging.getLogger("x"), re.compile("a"), Fixed(1), Pair(2)
TABLE = types.MappingProxyType({"a": 1})
__all__ = ["Count"]

class Count(Service):
    n: Value[int]

    def add(self, by=1):
        LOG.error("logged")
        self.n += by
        return self.n
`))
	converse(t, s, []exchange{{"count.add", ``, `1`, ""}, {"count.add", `[2]`, `3`, ""}, {"count.add", `[2, 3]`, "", "add takes 0 to 1 arguments, the call has 2"}})
}

// The state does what plain objects do: random operations on both, over transactions
// that abort, waits, and many requests.
func TestStateInPythonIsAsPlainObjects(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  both: {runtime: python, source: ./compare.py, timeout: 30s}\n", pythonFiles(t, "python")...))
	for seed := range 30 {
		if wrong := mustCall(t, s, "", "both.steps", fmt.Sprint(seed), "60"); wrong != "[]" {
			t.Errorf("with seed %d it does otherwise: %s", seed, wrong)
		}
		if got := mustCall(t, s, "", "both.agree"); !strings.HasPrefix(got, "[true,true,true,") {
			t.Fatalf("after seed %d: %s", seed, got)
		}
	}
}

// What a method holds of a value stays the value over waits and aborts, the initial one
// too, unless somebody else has written it; what a class inherits is as it was declared; and
// maps and lists of the state are copied into each other.
func TestValuesThatMethodsHold(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  base: {runtime: python, source: ./held.py}\n  held: {runtime: python, source: ./held.py}\n", "held.py", `
from weft.service import List, Map, Service, Value, run, transaction

class Base(Service):
    n: Value[int] = 7
    rates: Map[str, int] = {"a": 1}

    def read(self):
        return [self.n, self.rates]

class Held(Base):
    tags: Value[list]
    parts: Map[str, int]
    all: List[dict]

    def wait(self):
        a = self.tags
        run("x", lambda: None)
        a.append(1)
        b = self.tags
        return [a, a is b]

    def replace(self):
        a = self.tags
        run("x", lambda: None)
        self.tags = [5]
        a.append(1)
        return [a, self.tags]

    def abort(self):
        a = self.tags
        try:
            with transaction():
                a.append(9)
                len(self.parts)  # so that the node knows
                raise ValueError
        except ValueError:
            return [a, self.tags]

    def assign(self):
        self.rates = {"b": 2}
        return self.rates

    def copy(self):
        self.parts["x"] = 1
        self.all.append(self.parts)
        self.parts["x"] = 2
        self.all[0]["x"] += 5
        return [self.all, self.parts]
`))
	converse(t, s, []exchange{
		{"held.abort", ``, `[[9],[]]`, ""},
		{"held.wait", ``, `[[1],true]`, ""},
		{"held.wait", ``, `[[1,1],true]`, ""},
		{"held.abort", ``, `[[1,1,9],[1,1]]`, ""},
		{"held.assign", ``, `{"b":2}`, ""},
		{"held.read", ``, `[7,{"b":2}]`, ""},
		{"base.read", ``, `[7,{"a":1}]`, ""},
		{"held.copy", ``, `[[{"x":6}],{"x":2}]`, ""},
		{"held.replace", ``, `[[1,1,1],[5]]`, ""},
		{"held.wait", ``, `[[5,1],true]`, ""},
	})
}

// An instance whose handler is a function speaks frames itself.
func TestFramesInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  count: {runtime: python, source: ./count.py, handler: serve}\n", "count.py", `
import os

def serve(event, context):
    from weft import _frames
    stream = _frames.Stream(int(os.environ["WEFT_SERVICE_FD"]))
    served = 0
    while frame := stream.next():
        call = _frames.start(frame)[0]
        stream.say(bytes([_frames.RETURN]) + call + b"\1\0\0" + _frames.text("") + _frames.text(str(served)) + b"\0")
        served += 1
`))
	for want := range 3 {
		if got := mustCall(t, s, "", "count.next"); got != fmt.Sprint(want) {
			t.Errorf("the instance has answered %s, want %d", got, want)
		}
	}
	var failed *node.MethodError
	if _, err := call(s, "", "count.next"); errors.As(err, &failed) {
		t.Error(err)
	}
}
