package node_test

import (
	"strings"
	"testing"
)

// What is odd about exceptions is no reason to begin anew: they are the error of the method, as text.
func TestOddExceptionsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  odd: {runtime: python, source: ./odd.py}\n", "odd.py", `
import asyncio
from weft.service import Error, Service, Value, attempt

class Mute(Exception):
    def __str__(self):
        raise ValueError("no")

class Numb(Error):
    def __str__(self):
        return 5

class Base(BaseException):
    pass

class Odd(Service):
    n: Value[int]
    __hidden: Value[int]

    def mute(self): raise Mute
    def numb(self): raise Numb
    def base(self):
        self.n = 1
        raise Base("of all")
    async def cancelled(self): raise asyncio.CancelledError("enough")
    def stop(self): raise StopIteration(1)
    def exit(self): raise GeneratorExit
    def large(self): raise ValueError("é" * (5 << 20))
    def calls(self):
        try:
            Odd.at().large()
        except Error as e:
            return [len(str(e)), str(e)[-1:], attempt()]
    def surrogate(self): raise ValueError("\ud800")
    def group(self): raise ExceptionGroup("two", [ValueError(1), KeyError(2)])
    def caused(self):
        try:
            1 / 0
        except ZeroDivisionError as e:
            raise e from e
    def hidden(self):
        self.__hidden += 1
        return self.__hidden
    def rest(*all): return len(all)
    def read(self): return [self.n, attempt()]
`))
	converse(t, s, []exchange{
		{"odd.mute", ``, "", "Mute"},
		{"odd.numb", ``, "", "Numb"},
		{"odd.base", ``, "", "Base: of all"},
		{"odd.cancelled", ``, "", "CancelledError: enough"},
		{"odd.stop", ``, "", "StopIteration: 1"},
		{"odd.exit", ``, "", "GeneratorExit"},
		{"odd.large", ``, "", "ValueError: éééé"},
		{"odd.calls", ``, `[32775,"…",1]`, ""},
		{"odd.surrogate", ``, "", "ValueError: ?"},
		{"odd.group", ``, "", "ExceptionGroup: two (2 sub-exceptions)"},
		{"odd.caused", ``, "", "ZeroDivisionError: division by zero"},
		{"odd.hidden", ``, `1`, ""},
		{"odd.hidden", ``, `2`, ""},
		{"odd.rest", `[1, 2]`, `3`, ""},
		{"odd.read", ``, `[0,1]`, ""},
	})
}

// What would be kept in a module or class by other ways, and methods that are none, are refused with their place.
func TestOddSpecificationsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	_, err := deployProcesses(t, s, load(t, "services:\n  odd: {runtime: python, source: ./odd.py}\n", "odd.py", `
from weft.service import Service, Value

class Odd(Service):
    n: Value[int]

    def at(self, when: int): return when
    def none(): return 1
    def sets(self):
        import os, json as j
        from decimal import Decimal as D, getcontext
        os.environ["X"] = "1"
        j.x = 1
        D.x = 1
        setattr(Odd, "z", 1)
        delattr(type(self), "z")
        setattr(self, "n", 1)
        here = {}
        here["x"] = getcontext()
        globals()["seen"] = 1
`))
	for _, words := range []string{
		"odd.py:7: at is not the name of a method: it is one of all services", "odd.py:8: Odd.none cannot be called: it has no self",
		"odd.py:12: os.environ['X'] is assigned", "odd.py:13: j.x is assigned", "odd.py:14: D.x is assigned", "odd.py:15: setattr(Odd, 'z', 1) is assigned", "odd.py:16: delattr(type(self), 'z') is assigned", "odd.py:20: globals()['seen'] is assigned",
	} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "odd.py:17") || strings.Contains(err.Error(), "odd.py:19")) {
		t.Errorf("%v: what is kept nowhere is refused", err)
	}
}

// What a method gives that is none of the kind is its error, and says what would be; what it changes for decimals is gone when
// it ends.
func TestOddCallsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  odd: {runtime: python, source: ./odd.py}\n", "odd.py", `
import decimal
from datetime import timedelta
from decimal import Decimal
from weft.service import Service, Value, after, any_of, gather, send, sleep

decimal.getcontext().prec = 7

class Odd(Service):
    any: Value[object] = None

    def one(self):
        return 1

    def naps(self, how: int):
        return sleep(["x", None, float("nan"), 1e300, 10**30, timedelta.max, -1, True][how])

    def waits(self, how: int):
        return (gather, any_of)[how](Odd.at().one(), 2)

    async def awaits(self):
        return await Odd.at().one()

    def keeps(self):
        self.any = [self]

    def digits(self, n: int):
        was = str(Decimal(1) / 3)
        decimal.getcontext().prec = n
        return [was, str(Decimal(1) / 3)]
`))
	const time = "a time is a number of seconds, or a timedelta, and "
	converse(t, s, []exchange{
		{"odd.naps", `[0]`, "", time + "'x' is not"},
		{"odd.naps", `[1]`, "", time + "None is not"},
		{"odd.naps", `[2]`, "", time + "nan is not"},
		{"odd.naps", `[3]`, "", time + "1e+300 is not"},
		{"odd.naps", `[4]`, "", time + "1000000000000000000000000000000 is not"},
		{"odd.naps", `[5]`, "", "is longer than a time may be"},
		{"odd.naps", `[6]`, `null`, ""},
		{"odd.waits", `[0]`, "", "TypeError: 1 is not a future: start(Account.at(KEY).put, 5) gives one"},
		{"odd.waits", `[1]`, "", "TypeError: 1 is not a future"},
		{"odd.awaits", ``, "", "odd.py:22: object int can't be used in 'await' expression: a call has its result already"},
		{"odd.keeps", ``, "", "a value of type list cannot be stored: it is its service's, and not a value: keep the key"},
		{"odd.digits", `[3]`, `["0.3333333","0.333"]`, ""},
		{"odd.digits", `[2]`, `["0.3333333","0.33"]`, ""},
	})
}
