package node_test

import (
	"fmt"
	"strings"
	"testing"
)

// What a service keeps between calls without saying so is refused when it is deployed, with file and line:
// in either format.
func TestHiddenStateInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	for _, test := range []struct {
		text  string
		words []string
	}{
		{`from compiler import decorators
import functools

def counter():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    return count

def memo(f):
    found = {}
    def get(k):
        return found.setdefault(k, f(k))
    return get

tick = counter()

class Helper:
    pass

@functools.lru_cache(maxsize=None)
def cached(k):
    return k

@memo
def remembered(k):
    return k

slow = functools.cache(len)

@decorators.service
class Count:
    shared = []
    cached_too = functools.partial(len)
    with_object = Helper()

    def __init__(self):
        self.n = 0  # type: Persistent[int]

    def add(self, by=Helper(), *, more={}):
        self.last = by
        self.n += 1
        for self.i in range(3):
            pass

    @functools.cache
    def total(this):
        this.seen = 1

    @staticmethod
    @functools.lru_cache
    def fixed(self):
        self.anything = 1

    async def later(me, x):
        with open("x") as me.file:
            pass
        def inner():
            me.inner = 1
        class Other:
            def __init__(me):
                me.fine = 1

globals()["late"] = {}
setattr(Count, "table", [1])
`, []string{"count.py:18: tick is a function that keeps n", "count.py:23: cached keeps its results", "count.py:28: remembered keeps found, a dict", "count.py:31: slow is a _lru_cache_wrapper",
			"count.py:35: Count.shared is a list", "count.py:37: Count.with_object is an object of Helper", "count.py:42: a default argument is an object of Helper", "count.py:42: a default argument that can change",
			"count.py:43: self.last is not a field, and gone when the method ends: declare it in __init__", "count.py:45: self.i is not a field", "count.py:48: Count.total keeps its results",
			"count.py:50: self.seen is not a field", "count.py:52: Count.fixed keeps its results", "count.py:58: self.file is not a field", "count.py:61: self.inner is not a field",
			"count.py:1: late is a dict", "count.py:34: Count.table is a list", "!anything", "!fine", "!partial"}},
		{`from weft.service import Service, Value, run
import os

class Count(Service):
    n: Value[int]

    def add(self):
        done = []
        last = 0

        def effect():
            nonlocal last
            last = 1

        run("x", effect)
        os.environ["A"] = "1"
        Count.__annotations__["x"] = 1
        local = {}
        local["x"] = 1
`, []string{"count.py:12: a side effect changes last, a variable of the method", `count.py:16: os.environ['A'] is assigned`, "count.py:17: Count.__annotations__['x'] is assigned", "!local"}},
	} {
		_, err := deployProcesses(t, s, load(t, "services:\n  count: {runtime: python, source: ./count.py}\n", "count.py", test.text))
		for _, words := range test.words {
			words, none := strings.CutPrefix(words, "!")
			if err == nil || strings.Contains(err.Error(), words) == none {
				t.Errorf("%v, want %q (none: %v)", err, words, none)
			}
		}
	}
}

// What is not the same when a method is run again is recorded, or refused with file and line.
func TestHazardsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  hazard: {runtime: python, source: ./hazard.py}\n  old: {runtime: python, source: ./old.py, handler: Old}\n",
		"old.py", `from compiler import decorators
import asyncio

@decorators.service
class Old:
    def __init__(self):
        self.n = 0  # type: Persistent[int]

    def sets(self, name):
        setattr(self, name, 5)
        return self.n

    async def task(self):
        async def other():
            return 1
        return await asyncio.create_task(other())

    async def naps(self):
        await asyncio.sleep(1)

    async def gathers(self):
        async def other():
            return 1
        return [await other(), await asyncio.gather(other(), other())]

    async def yields(self):
        await asyncio.sleep(0)

    def loops(self):
        return asyncio.run(self.gathers())
`, "hazard.py", `import datetime
import os
import random
import secrets
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from time import clock_gettime, monotonic

from weft import service
from weft.service import Map, Service, Value, run


class Hazard(Service):
    n: Value[int]
    m: Map[str, int]

    def recorded(self):
        """The same again, also after another instance has begun."""
        seen = [time.time(), monotonic(), clock_gettime(time.CLOCK_REALTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.perf_counter_ns(), time.thread_time(),
                datetime.datetime.now().isoformat(), datetime.datetime.now(datetime.timezone.utc).isoformat(), datetime.datetime.utcnow().isoformat(),
                datetime.date.today().isoformat(), time.strftime("%s"), list(time.localtime()), random.random(), random.Random().random(), random.sample(range(99), 3),
                str(uuid.uuid4()), str(uuid.uuid1()), uuid.getnode(), list({"a", "b", "c", "d"}), hash("x")]
        run("here %r" % seen, lambda: None)
        if service.attempt() == 1:
            os._exit(3)
        return run("there %r" % seen, lambda: 1)

    def refused(self, i: int):
        return [lambda: os.urandom(2), lambda: secrets.token_hex(), lambda: secrets.choice("ab"), lambda: random.SystemRandom().random(), lambda: os.getrandom(2),
                lambda: threading.Thread(target=print).start(), lambda: threading.Timer(1, print).start(), lambda: ThreadPoolExecutor().submit(print),
                lambda: __import__("_thread").start_new_thread(print, ()), os.fork, lambda: subprocess.run(["true"]), lambda: os.system("true"),
                lambda: socket.create_connection(("127.0.0.1", 1)), lambda: socket.socketpair()][i]()

    def effects(self):
        """In a side effect all of it is allowed."""
        def effect():
            thread = threading.Thread(target=print)
            thread.start()
            thread.join()
            a, b = socket.socketpair()
            a.close(), b.close()
            return [len(os.urandom(2)), len(secrets.token_hex(2)), time.monotonic() > 0]

        async def later():
            import asyncio
            return await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))

        return [run("x", effect), run("y", later)]

    def closure(self, how: int):
        done, box, n = [], {"n": 1}, 0
        if how == 0:
            return run("x", lambda: done.append(1))
        if how == 1:
            return run("x", lambda: box.update(n=2))
        if how == 2:
            return run("x", lambda: box["n"] + len(done) + n)
        if how == 3:
            return run("x", lambda: self.n)
        if how == 4:
            return run("x", lambda: Hazard.at("").closure(2))
        if how == 6:
            req = urllib.request.Request("http://localhost/")
            return run("x", lambda: req.add_header("X", "1"))
        try:
            run("x", lambda: done.append(1))
        except Exception:
            return run("again", lambda: len(box))

    def grows(self, how: int):
        self.m = {"a": 1, "b": 2}
        if how == 0:
            for k in self.m:
                self.m[k + "x"] = 1
        elif how == 1:
            for k, v in self.m.items():
                self.m.setdefault(k + "x", 1)
        elif how == 2:
            for k in self.m:
                self.m[k] += 1
        elif how == 3:
            for k in self.m:
                if k == "a":
                    del self.m["b"]
        elif how == 4:
            for k in list(self.m):
                self.m[k + "x"] = 1
        elif how == 5:
            for k in self.m:
                for other in self.m:
                    break
                self.m["c"] = 3
        elif how == 6:
            return self.m.keys()
        elif how == 7:
            return (k for k in self.m)
        elif how == 8:
            for k in self.m:
                break
            self.m["c"] = 3
        return self.m
`))
	converse(t, s, []exchange{
		{"hazard.recorded", ``, `1`, ""},
		{"hazard.effects", ``, `[[2,4,true],[1,2]]`, ""},
		{"hazard.closure", `[0]`, "", "hazard.py:59: a side effect has changed done, a variable of the method"},
		{"hazard.closure", `[1]`, "", "hazard.py:61: a side effect has changed box"},
		{"hazard.closure", `[2]`, `1`, ""},
		{"hazard.closure", `[3]`, "", "a side effect uses the service"},
		{"hazard.closure", `[4]`, "", "a side effect uses the service"},
		{"hazard.closure", `[5]`, `1`, ""},
		{"hazard.closure", `[6]`, `null`, ""},
		{"hazard.grows", `[0]`, "", "RuntimeError: m has got a new key while a loop goes over it"},
		{"hazard.grows", `[1]`, "", "RuntimeError: m has got a new key while a loop goes over it"},
		{"hazard.grows", `[2]`, `{"a":2,"b":3}`, ""},
		{"hazard.grows", `[3]`, `{"a":1}`, ""},
		{"hazard.grows", `[4]`, `{"a":1,"ax":1,"b":2,"bx":1}`, ""},
		{"hazard.grows", `[5]`, "", "RuntimeError: m has got a new key"},
		{"hazard.grows", `[6]`, "", "is not JSON"},
		{"hazard.grows", `[7]`, "", "a value of type generator is not JSON"},
		{"hazard.grows", `[8]`, `{"a":1,"b":2,"c":3}`, ""},
		{"old.sets", `["n"]`, `5`, ""},
		{"old.sets", `["other"]`, "", "old.py:10: self.other is not a field, and gone when the method ends"},
		{"old.task", ``, "", "old.py:16: a method has no event loop"},
		{"old.naps", ``, "", "old.py:19: a method has no event loop"},
		{"old.gathers", ``, "", "old.py:24: a method has no event loop"},
		{"old.yields", ``, "", "old.py:27: a method has no event loop"},
		{"old.loops", ``, "", "old.py:30: a method has no event loop"},
	})
	for i, words := range []string{"get them in run", "get them in run", "get them in run", "get them in run", "get them in run", "no threads", "no threads", "no threads", "no threads",
		"starts no programs", "starts no programs", "starts no programs", "by sockets", "no event loop"} {
		got, err := call(s, "", "hazard.refused", fmt.Sprint(i))
		if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "hazard.py:3") {
			t.Errorf("refused(%d): %s, %v; want %q and its place", i, got, err, words)
		}
	}
}
