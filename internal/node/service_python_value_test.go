package node_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
)

// The order of a set of text is the same in instances that have nothing in common, whatever the app says.
func TestOrderOfSetsInPython(t *testing.T) {
	needProcesses(t)
	var seen []string
	for range 2 {
		s := serveBeside(t, t.TempDir())
		deployPython(t, s, load(t, "services:\n  order: {runtime: python, source: ./order.py, env: {PYTHONHASHSEED: random}}\n", "order.py", `
import os
from weft.service import Service

class Order(Service):
    def words(self):
        return [list({"word %d" % i for i in range(50)}), list(frozenset(b"%d" % i for i in range(50))).__repr__(), hash("x"), os.getpid()]
`))
		for range 2 {
			var got []json.RawMessage
			if err := json.Unmarshal([]byte(mustCall(t, s, "", "order.words")), &got); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprintf("%s", got[:3]))
			s.Refresh("test") // the next call has another instance
		}
	}
	for _, other := range seen[1:] {
		if other != seen[0] {
			t.Errorf("the orders are\n%s and\n%s", seen[0], other)
		}
	}
}

// What is no JSON and could be a pickle, in an argument, a result, a promise and the state of a service, from a client or a
// service that is hostile, is decoded by nobody but the sandbox of the service whose state it is.
func TestHostilePickles(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	mark := filepath.Join(t.TempDir(), "mark")
	const victim = `
import builtins
from weft.service import Error, Object, Service, promise, run

class Victim(Service):
    def take(self, v):
        return type(v).__name__

    def calls(self):
        return Object("evil").give()

    def waits(self):
        return promise("answer").wait()

    def gone(self):
        return hasattr(builtins, "hostile")
`
	evil := fmt.Sprintf(`
import os, pickle

MARK = %q

class Hostile:
    def __reduce__(self):
        return exec, ("import builtins; builtins.hostile = 1\ntry: open(%%r, 'w')\nexcept OSError: pass" %% MARK,)

PICKLE = pickle.dumps(Hostile(), 4)

def serve(event, context):
    from weft import _frames as wire
    stream = wire.Stream(int(os.environ["WEFT_SERVICE_FD"]))
    while frame := stream.next():
        if frame[0] != wire.START:
            continue
        call, *_, method, _, _, _, _ = wire.start(frame)
        writes, data, code, why, number = b"\0", b"1", wire.OK, "", b"\1"
        if method == "give":
            data = PICKLE
        elif method == "keep":
            writes = b"\1" + wire.text("field") + b"\0" + b"\0" + wire.blob(PICKLE)
        elif method == "sends":
            stream.say(bytes([wire.INVOKE]) + call + b"\1\0" + bytes([wire.WAIT]) + wire.text("victim") + wire.text("") + wire.text("take") + b"\1" + wire.blob(PICKLE) + wire.varint(0))
            answer = stream.next()
            (code, said, data), *_ = wire.answer(answer, 1 + len(call))
            why, number = said.decode(), b"\2"
        stream.say(bytes([wire.RETURN]) + call + number + writes + bytes([code]) + wire.text(why) + wire.blob(data) + b"\0")
`, mark)
	yaml := "services:\n  victim: {runtime: python, source: ./victim.py}\n  evil: {runtime: python, source: ./evil.py, handler: %s}\n"
	deployPython(t, s, load(t, fmt.Sprintf(yaml, "serve"), "victim.py", victim, "evil.py", evil))
	pickle := "\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94\x8c\x04exec\x94\x93\x94\x8c\x011\x85R."
	if _, err := call(s, "", "victim.take", pickle); err == nil || !strings.Contains(err.Error(), "take: argument 1 is not JSON") {
		t.Errorf("a client sends a pickle: %v", err)
	}
	text, err := json.Marshal(pickle)
	if err != nil {
		t.Fatal(err)
	}
	if got := mustCall(t, s, "", "victim.take", string(text)); got != `"str"` {
		t.Errorf("a text with a pickle is %s", got)
	}
	converse(t, s, []exchange{
		{"victim.calls", ``, "", "what was answered is not JSON"},
		{"evil.sends", ``, "", "take: argument 1 is not JSON"},
	})
	id, err := s.SendService(t.Context(), node.ServiceCall{App: "test", Service: "victim", Method: "waits", Key: "w"})
	if err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return stateOf(s, id) == machine.Waiting }) {
		t.Fatal("nothing waits")
	}
	if err := s.Services.Resolve(t.Context(), id, "answer", wire.Value{Data: []byte(pickle)}); err == nil {
		if got, err := call(s, "w", "victim.waits"); err == nil || !strings.Contains(err.Error(), "is not JSON") {
			t.Errorf("a promise that is a pickle: %s, %v", got, err)
		}
	}
	if got := mustCall(t, s, "", "victim.gone"); got != "false" {
		t.Error("the pickle was decoded by the service that was sent it")
	}
	mustCall(t, s, "", "evil.keep")
	if got := kept(t, s, "evil", ""); len(got) != 1 || !strings.HasPrefix(got[0], "field=\x80\x04") {
		t.Errorf("the state is %q", got)
	}
	deployPython(t, s, load(t, fmt.Sprintf(yaml, "Evil"), "victim.py", victim, "evil.py", `
import builtins
from weft.service import Service, Value

class Evil(Service):
    field: Value[object] = None

    def read(self):
        return [self.field, hasattr(builtins, "hostile")]
`))
	converse(t, s, []exchange{{"evil.read", ``, `[null,true]`, ""}, {"victim.gone", ``, `false`, ""}})
	if _, err := os.Stat(mark); err == nil {
		t.Error("the pickle has reached the machine")
	}
}

// Values may be as large as there is room for, and more of them than a frame takes are read; what is too large is refused
// with its name, its size and the bound.
func TestLargeValuesInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  large: {runtime: python, source: ./large.py, timeout: 60s}\n", "large.py", `
from weft import service
from weft.service import List, Map, Service, Value, gather, run, start

class Large(Service):
    all: List[str]
    map: Map[int, str]
    one: Value[object] = ""

    def add(self, text: str):
        self.map[len(self.all)] = text
        self.all.append(text)
        return len(self.all)

    def sizes(self):
        return [[len(t) for t in self.all], [len(t) for t in self.map.values()], [len(t) for t in self.all[:]], sum(len(t) for _, t in self.map.items())]

    def one_of(self, n: int, how: str):
        self.one = b"x" * n if how == "bytes" else "x" * n
        return len(self.one)

    def read(self):
        return len(self.one)

    def repeat(self, n: int):
        return "x" * n

    def grows(self, n: int):
        self.one = ["x"]
        run("wait", lambda: None)
        self.one.append("y" * n)

    def effect(self, n: int):
        return len(run("effect", lambda: "x" * n))

    def passes(self, n: int):
        return Large.at("").repeat("x" * n)

    def together(self, n: int):
        return len(gather(*[start(Large.at("").repeat, n) for _ in range(3)]))

    def many(self, n: int):
        for i in range(n):
            self.map[1000 + i] = "x" * (300 << 10)
        return sum(len(t) for t in self.map.values())
`))
	quoted := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	const most = 1 << 20
	for i, n := range []int{most, 700 << 10, 7, 900 << 10} {
		if got := mustCall(t, s, "", "large.add", quoted(n)); got != fmt.Sprint(i+1) {
			t.Errorf("add is %s", got)
		}
	}
	const sizes = `[1048574,716798,5,921598]`
	for range 2 { // the second time what was read the first time is given
		if got := mustCall(t, s, "", "large.sizes"); got != "["+sizes+","+sizes+","+sizes+",2686975]" {
			t.Errorf("the sizes are %s", got)
		}
	}
	if got := mustCall(t, s, "", "large.repeat", fmt.Sprint(most-2)); len(got) != most {
		t.Errorf("a large result: %d bytes", len(got))
	}
	if _, err := call(s, "", "large.add", quoted(most+1)); err == nil || !strings.Contains(err.Error(), "call large.add") || !strings.Contains(err.Error(), "1048577 bytes together, at most 1048576") {
		t.Errorf("large arguments: %v", err)
	}
	converse(t, s, []exchange{
		{"large.one_of", `[1048574, "text"]`, `1048574`, ""},
		{"large.read", ``, `1048574`, ""},
		{"large.one_of", `[1048575, "text"]`, "", "write one: a value of 1048577 bytes, at most 1048576"},
		{"large.one_of", `[1048560, "bytes"]`, `1048560`, ""},
		{"large.one_of", `[1048576, "bytes"]`, "", "write one: a value of 10485"},
		{"large.read", ``, `1048560`, ""},
		{"large.repeat", `[1048575]`, "", "large.repeat: a result of 1048577 bytes, at most 1048576"},
		{"large.grows", `[1048576]`, "", "write one: a value of 1048584 bytes, at most 1048576"},
		{"large.read", ``, `1`, ""},
		{"large.effect", `[1048574]`, `1048574`, ""},
		{"large.effect", `[1048575]`, "", "1048577 bytes, at most 1048576"},
		{"large.passes", `[1048575]`, "", "large.repeat: arguments of 1048577 bytes, at most 1048576"},
		{"large.together", `[921600]`, "", "results of 2764854 bytes together, at most"},
		{"large.together", `[600000]`, `3`, ""},
		{"large.many", `[10]`, `5758975`, ""},
		{"large.many", `[0]`, `5758975`, ""},
		{"large.many", `[20]`, "", "bytes are written at a time, at most 4194304"},
	})
}
