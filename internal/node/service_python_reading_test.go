package node_test

import (
	"slices"
	"strings"
	"testing"
)

// Methods that are marked as those that only read: their writes are refused when the app is deployed, if the code shows
// them, and else when they happen, with the key; nothing of such a call has happened. Reading goes on as ever.
func TestReadingMethodsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	const text = `from weft import service
from weft.service import List, Map, Service, Value, run, shared, snapshot, transaction

class Shelf(Service):
    n: Value[int]
    tags: Value[list]
    m: Map[str, list]
    rates: Map[str, int] = {"b": 2, "a": 1}
    kinds: List[str] = ["x"]

    @shared
    def defaults(self, how: int):
        if how == 1:
            rates = self.rates
            rates["c"] = 3
        elif how == 2:
            kinds = self.kinds
            kinds.append("y")
        return [self.rates, self.kinds, len(self.rates), "a" in self.rates, list(self.rates), self.rates is self.rates]

    def change(self):
        self.rates["c"] = 3
        self.kinds.append("y")
        return self.defaults(0)

    def fill(self):
        self.n += 1
        self.tags.append(self.n)
        self.m["a"] = [1]
        return self.n

    @shared
    def total(self):
        return [self.n, len(self.tags), self.m.get("a")]

    @snapshot
    async def view(self):
        return [self.n, Shelf.at("b").total(), service.start(Shelf.at("a").total).wait()]

    @shared
    def sneaky(self, how: int):
        if how == 0:
            setattr(self, "n", 5)
        elif how == 1:
            tags = self.tags
            tags.append(1)
        elif how == 2:
            for v in self.m.values():
                v.append(2)
        elif how == 3:
            type(self).n.__set__(self, 5)
        elif how == 4:
            Shelf.at("other").fill()
        return how

    @snapshot
    def peeps(self, how: int):
        if how == 0:
            tags = self.tags
            tags.append(1)
        elif how == 1:
            getattr(service, "run")("x", lambda: 1)
        elif how == 2:
            Shelf.at("other").fill()
        return how
`
	converse := func(all []exchange) { t.Helper(); converse(t, s, all) }
	deployPython(t, s, load(t, "services:\n  shelf: {runtime: python, source: ./shelf.py, keyed: true, methods: {fill: exclusive, change: exclusive, defaults: shared, total: shared, view: snapshot, sneaky: shared, peeps: snapshot}}\n", "shelf.py", text))
	mustCall(t, s, "", "shelf/a.fill")
	mustCall(t, s, "", "shelf/a.fill")
	before := kept(t, s, "shelf", "a")
	converse([]exchange{
		{"shelf/a.sneaky", `[0]`, "", "write n: shelf/a.sneaky is declared shared, and does not write"},
		{"shelf/a.sneaky", `[1]`, "", "write tags: shelf/a.sneaky is declared shared, and does not write"},
		{"shelf/a.sneaky", `[2]`, "", `write m["a"]: shelf/a.sneaky is declared shared`},
		{"shelf/a.sneaky", `[3]`, "", "write n: shelf/a.sneaky is declared shared"},
		{"shelf/a.sneaky", `[4]`, `4`, ""},
		{"shelf/a.peeps", `[0]`, "", "write tags: shelf/a.peeps is declared snapshot, and does not write"},
		{"shelf/a.peeps", `[1]`, "", "is a snapshot, and only reads"},
		{"shelf/a.peeps", `[2]`, "", "a snapshot, and only reads"},
	})
	if got := kept(t, s, "shelf", "a"); !slices.Equal(got, before) {
		t.Errorf("the state is %q, and was %q", got, before)
	}
	converse([]exchange{{"shelf/a.view", ``, `[2,[0,0,null],[2,2,[1]]]`, ""}})

	const defaults = `[{"a":1,"b":2},["x"],2,true,["a","b"],true]`
	converse([]exchange{
		{"shelf/new.defaults", `[0]`, defaults, ""},
		{"shelf/new.defaults", `[1]`, "", "write rates: shelf/new.defaults is declared shared, and does not write"},
		{"shelf/new.defaults", `[2]`, "", "write kinds: shelf/new.defaults is declared shared, and does not write"},
		{"shelf/new.defaults", `[0]`, defaults, ""},
		{"shelf/new.change", ``, `[{"a":1,"b":2,"c":3},["x","y"],3,true,["a","b","c"],true]`, ""},
		{"shelf/new.defaults", `[0]`, `[{"a":1,"b":2,"c":3},["x","y"],3,true,["a","b","c"],true]`, ""},
	})

	// Only the app file says so: the node refuses.
	plain := strings.NewReplacer("@shared", "", "@snapshot", "").Replace(text)
	deployPython(t, s, load(t, "services:\n  shelf: {runtime: python, source: ./shelf.py, keyed: true, methods: {fill: shared, total: shared, sneaky: shared}}\n", "shelf.py", plain))
	converse([]exchange{
		{"shelf/a.fill", ``, "", "shelf/a.fill is declared shared, and does not write"},
		{"shelf/a.sneaky", `[1]`, "", "shelf/a.sneaky is declared shared, and does not write"},
		{"shelf/a.total", ``, `[2,2,[1]]`, ""},
	})

	_, err := deployProcesses(t, s, load(t, "services:\n  shelf: {runtime: python, source: ./shelf.py}\n", "shelf.py", `from weft import service
from weft.service import Map, Service, Value, send, shared, snapshot

class Shelf(Service):
    n: Value[int]
    m: Map[str, list]

    @shared
    def one(self):
        self.n = 1
        self.n += 1
        del self.n
        self.m["a"][0] = 1
        self.m.get("a").append(1)
        self._deeper()
        local = {}
        local.update(a=1)
        service.run("x", lambda: 1)

    def _deeper(me):
        me.m.clear()

    @snapshot
    def two(self):
        service.run("x", lambda: 1)
        send(Shelf.at("").two)
        Shelf.at("").two()
`))
	for _, words := range []string{"shelf.py:10: Shelf.one is @shared, and writes n", "shelf.py:11: Shelf.one", "shelf.py:12: Shelf.one", "shelf.py:13: Shelf.one is @shared, and writes m", "shelf.py:14: Shelf.one",
		"shelf.py:21: Shelf.one is @shared, and writes m", "shelf.py:25: Shelf.two is @snapshot: it only reads, and run does more", "shelf.py:26: Shelf.two is @snapshot: it only reads, and send does more"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	for _, words := range []string{"shelf.py:17", "shelf.py:18", "shelf.py:27"} {
		if err != nil && strings.Contains(err.Error(), words) {
			t.Errorf("%v, and not %q", err, words)
		}
	}
}

// A method that is marked as something else than the app file says is refused when the app is deployed, with both places; what
// the app file says of methods without a mark stands. Where the places in it are is no difference.
func TestModesInPythonAndInTheAppFile(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	const text = `from weft.service import Service, Value, shared, snapshot

class Shelf(Service):
    n: Value[int]

    @shared
    def one(self):
        return self.n

    @snapshot
    def two(self):
        return self.n

    def three(self):
        return self.n
`
	app := func(methods string) error {
		_, err := deployProcesses(t, s, load(t, "services:\n  shelf:\n    runtime: python\n    source: ./shelf.py\n"+methods, "shelf.py", text))
		return err
	}
	for _, test := range []struct {
		methods string
		words   []string
	}{
		{"", []string{
			"shelf.py:6: method one of service shelf is @shared, and runs as exclusive, since weft.yaml:3 says nothing else: say `methods: {one: shared, …}`",
			"shelf.py:10: method two of service shelf is @snapshot, and runs as exclusive, since weft.yaml:3 says nothing else: say `methods: {two: snapshot, …}`",
		}},
		{"    methods: [one, two, three]\n", []string{"shelf.py:6: method one of service shelf is @shared, and exclusive in weft.yaml:6"}},
		{"    methods:\n      one: snapshot\n      two: shared\n", []string{
			"shelf.py:6: method one of service shelf is @shared, and snapshot in weft.yaml:7", "shelf.py:10: method two of service shelf is @snapshot, and shared in weft.yaml:8",
		}},
		{"    methods: {one: shared, two: snapshot}\n", nil},
		{"\n    methods: {two: snapshot, one: shared, three: shared}\n", nil},
	} {
		err := app(test.methods)
		if test.words == nil && err != nil {
			t.Errorf("%s: %v", test.methods, err)
		}
		for _, words := range test.words {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v, want %q", test.methods, err, words)
			}
		}
	}
}
