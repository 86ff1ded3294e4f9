package node_test

import (
	"strings"
	"testing"
)

// Arguments and results of types that JSON has no form for arrive as what their annotations say: from outside, from other
// methods, started and sent, and when a method continues. Arguments can be given by name.
func TestTypesOfArgumentsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  clerk: {runtime: python, source: ./clerk.py}\n  desk: {runtime: python, source: ./clerk.py}\n", "clerk.py", `
from __future__ import annotations

import datetime
import enum
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Dict, NamedTuple, Optional, Tuple, TypedDict, Union
from weft.service import Object, Service, Value, compensate, continue_with, gather, run, send, start

class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)

class Level(enum.IntEnum):
    LOW = 1

@dataclass
class Item:
    price: Decimal
    on: datetime.date = datetime.date(2020, 1, 1)
    parts: list[Item] = field(default_factory=list)

    def __post_init__(self):
        if self.price < 0:
            raise ValueError("a price is not negative")

class Order(TypedDict):
    at: datetime.datetime
    items: dict[int, Item]

class Place(NamedTuple):
    x: int
    name: bytes

class Clerk(Service):
    last: Value[Optional[Item]] = None

    def when(self, at: datetime.datetime) -> datetime.datetime:
        assert isinstance(at, datetime.datetime)
        return at + timedelta(days=1)

    def day(self, on: datetime.date, after: timedelta) -> datetime.date:
        return on + after

    def price(self, p: Decimal, u: uuid.UUID, c: Colour, l: Level) -> Tuple[Decimal, uuid.UUID, Colour, Level]:
        return p * 2, u, c, l

    def keep(self, item: Item) -> Item:
        self.last = item
        item.parts.append(Item(item.price + 1))
        return item

    def order(self, o: Order) -> Order:
        o["items"][2] = Item(Decimal(2))
        return o

    def kinds(self, s: set[int], t: Tuple[int, ...], p: Place, c: Counter[str]) -> list:
        return [type(s).__name__, type(t).__name__, type(p).__name__, p.name.decode(), type(c).__name__]

    def all(self, *at: datetime.date) -> list[datetime.date]:
        return [d + timedelta(days=1) for d in at]

    def none(self, item: Item = None, d: Union[datetime.date, int] = 5) -> Optional[Item]:
        return item

    def liar(self) -> datetime.date:
        return "2020-01-01"

    def named(self, a: int, b: int = 2, c: Decimal = Decimal(3)):
        return [a, b, str(c)]

    def again(self, n: int, at: datetime.date) -> datetime.date:
        if n > 0:
            continue_with(at=at + timedelta(days=1), n=n - 1)
        return at

    def open(self, v):
        return v

class Desk(Service):
    got: Value[list]

    def asks(self):
        c = Clerk.at()
        now = datetime.datetime(2024, 1, 31, 12, tzinfo=timezone.utc)
        item = c.keep(Item(Decimal("1.10")))
        o = c.order({"at": now, "items": {1: item}})
        both = gather(start(c.when, now), start(c.day, after=timedelta(days=1), on=now.date()))
        return [c.when(at=now) == now + timedelta(days=1), item == Item(Decimal("1.10"), parts=[Item(Decimal("2.10"))]), sorted(o["items"]), o["items"][2] == Item(Decimal(2)),
                both == [now + timedelta(days=1), datetime.date(2024, 2, 1)], c.price(Decimal("1.5"), uuid.UUID(int=1), Colour.PAIR, Level.LOW) == (3, uuid.UUID(int=1), Colour.PAIR, Level.LOW),
                c.kinds({1}, (1, 2), Place(1, b"\xc3\xa9"), Counter("aa")), c.all(now.date()) == [datetime.date(2024, 2, 1)], c.none(), c.named(1, c=Decimal(5))]

    def sends(self):
        send(Clerk.at().keep, item=Item(Decimal(7)))

    def wrong(self, how: int):
        c = Clerk.at()
        try:
            if how == 0:
                c.named(1, nothing=5)
            elif how == 1:
                c.named(1, a=5)
            elif how == 2:
                c.named(c=Decimal(5))
            elif how == 3:
                Object("clerk").named(a=5)
            elif how == 4:
                c.when("2024-01-31T12:00:00")
            elif how == 5:
                c.open(Decimal(1))
            elif how == 6:
                Object("clerk").when(datetime.datetime(2024, 1, 31, 12))
            elif how == 7:
                compensate(c.open, {1, 2})
        except Exception as e:
            return str(e)

    def holds(self):
        self.got.append(1)
        try:
            compensate(Clerk.at().open, {1, 2})
        except Exception:
            pass
        try:
            run(5, lambda: 1)
        except TypeError as e:
            return [self.got, str(e)]

    def kept(self):
        return self.got
`))
	converse(t, s, []exchange{
		{"clerk.when", `["2024-01-31T12:00:00+00:00"]`, `"2024-02-01T12:00:00+00:00"`, ""},
		{"clerk.when", `["2024-01-31T12:00:00Z"]`, `"2024-02-01T12:00:00+00:00"`, ""},
		{"clerk.when", `["2024-01-31"]`, "", "when: argument 1 (at) is of type str, not datetime: '2024-01-31', where it is like '2024-01-31T12:00:00+00:00'"},
		{"clerk.when", `[null]`, "", "when: argument 1 (at) is of type NoneType, not datetime"},
		{"clerk.day", `["2024-01-31", 86400]`, `"2024-02-01"`, ""},
		{"clerk.price", `["1.10", "00000000-0000-4000-8000-000000000000", "red", 1]`, `["2.20","00000000-0000-4000-8000-000000000000","red",1]`, ""},
		{"clerk.price", `[1.1, "00000000-0000-4000-8000-000000000000", "red", 1]`, "", "price: argument 1 (p) is of type float, not Decimal: 1.1, where it is like"},
		{"clerk.price", `["1", "x", "red", 1]`, "", "price: argument 2 (u) is of type str, not UUID"},
		{"clerk.price", `["1", "00000000-0000-4000-8000-000000000000", "blue", 1]`, "", "price: argument 3 (c) is of type str, not Colour: it is 'blue'"},
		{"clerk.keep", `[{"price": "1"}]`, `{"price":"1","on":"2020-01-01","parts":[{"price":"2","on":"2020-01-01","parts":[]}]}`, ""},
		{"clerk.keep", `[{"price": "1", "parts": [{"price": "2", "on": 7}]}]`, "", "keep: argument 1 (item).parts[0].on is of type int, not date"},
		{"clerk.keep", `[{}]`, "", "keep: argument 1 (item).price is missing, and of type Decimal"},
		{"clerk.keep", `[{"price": "1", "colour": 1}]`, "", "keep: argument 1 (item) is of type dict, not Item: it has 'colour', which is no field"},
		{"clerk.keep", `[{"price": "-1"}]`, "", "not Item: a price is not negative"},
		{"clerk.all", `["2024-01-31", "2024-02-01"]`, `["2024-02-01","2024-02-02"]`, ""},
		{"clerk.all", `["2024-01-31", 5]`, "", "all: argument 2 (at) is of type int, not date"},
		{"clerk.none", ``, `null`, ""},
		{"clerk.none", `[null, "2024-01-31"]`, `null`, ""},
		{"clerk.none", `[null, "x"]`, "", "none: argument 2 (d) is of type str, not date"},
		{"clerk.liar", ``, "", "the result of liar is of type str, not date"},
		{"clerk.again", `[3, "2024-01-31"]`, `"2024-02-03"`, ""},
		{"desk.asks", ``, `[true,true,[1,2],true,true,true,["set","tuple","Place","é","Counter"],true,null,[1,2,"5"]]`, ""},
		{"desk.wrong", `[0]`, `"named has no argument nothing that a call can give"`, ""},
		{"desk.wrong", `[1]`, `"named: argument a is given twice"`, ""},
		{"desk.wrong", `[2]`, `"named: an argument before c is missing"`, ""},
		{"desk.wrong", `[3]`, `"clerk.named: what its arguments are called is not known here: give them in their order, or call it by its class, as in Account.at(KEY).put(amount=5)"`, ""},
		{"desk.wrong", `[4]`, `"argument 1 (at) of when is of type str, not datetime"`, ""},
		{"desk.wrong", `[5]`, `"argument 1 of Clerk.open: a value of type Decimal is not JSON"`, ""},
		{"desk.wrong", `[6]`, `"argument 1 of clerk.when: a value of type datetime is not JSON"`, ""},
		{"desk.wrong", `[7]`, `"argument 1 of Clerk.open: a value of type set is not JSON"`, ""},
		{"desk.holds", ``, `[[1],"the name of a promise, or of a side effect, is text, and 5 is not"]`, ""},
		{"desk.kept", ``, `[1]`, ""},
		{"desk.sends", ``, `null`, ""},
	})
	if !eventually(func() bool {
		got := kept(t, s, "clerk", "")
		return len(s.Services.Requests()) == 0 && len(got) == 1 && strings.Contains(got[0], "Decimal")
	}) {
		t.Errorf("what was sent has not happened: %q", kept(t, s, "clerk", ""))
	}
}

// Arguments whose annotations no call can meet are refused when the app is deployed, with their place.
func TestUnfitArgumentsInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	_, err := deployProcesses(t, s, load(t, "services:\n  clerk: {runtime: python, source: ./clerk, handler: clerk:Clerk}\n", "clerk/clerk.py", `
from typing import Any, Callable, Union
from datetime import datetime
from other import Base
from weft.service import Service

class Thing:
    pass

class Clerk(Base):
    def thing(self, a: int, t: Thing): pass
    def calls(self, f: Callable[[], int]): pass
    def either(self, at: Union[datetime, str]): pass
    def table(self, t: dict[tuple, int]): pass
    def apart(self, a, *, b): pass
    def rest(self, *all: complex): pass
    def unknown(self, a: "Nobody"): pass
    def odd(self, a: "1 +"): pass
    def _inner(self, t: Thing): pass
    def fine(self, a: Any, *, b=1, **c) -> Thing: pass
`, "clerk/other.py", `
from weft.service import Service

class Base(Service):
    def based(self, r: range): pass
`))
	for _, words := range []string{
		"clerk.py:11: Clerk.thing cannot be called: argument t: Thing has no form in JSON", "clerk.py:12: Clerk.calls cannot be called: argument f: Callable",
		"clerk.py:13: Clerk.either cannot be called: argument at: datetime and str are both text in JSON", "clerk.py:14: Clerk.table cannot be called: argument t: keys of dicts are text",
		"clerk.py:15: Clerk.apart cannot be called: argument b can only be given by its name", "clerk.py:16: Clerk.rest cannot be called: argument all: complex",
		"clerk.py:17: unknown: name 'Nobody' is not defined", "clerk.py:18: odd: ", "other.py:5: Clerk.based cannot be called: argument r: range",
	} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "Clerk._inner") || strings.Contains(err.Error(), "Clerk.fine")) {
		t.Errorf("%v: _inner and fine are fine", err)
	}
}

// cached_property keeps what it has computed, or was given, for a method, and not longer; properties have setters.
func TestCachedPropertiesInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  clerk: {runtime: python, source: ./clerk.py}\n", "clerk.py", `
import functools
from functools import cached_property
from weft.service import Service, Value

class Clerk(Service):
    n: Value[int]

    @cached_property
    def twice(self):
        return 2 * self.n

    @functools.cached_property
    def list(self) -> list:
        return []

    three = cached_property(lambda self: 3)

    @property
    def half(self):
        return self.n // 2

    @half.setter
    def half(self, v):
        self.n = 2 * v

    def add(self):
        self.n += 1
        self.list.append(self.twice)
        return [self.twice, self.list, self.three]

    def sets(self):
        self.half = 4
        self.twice = 1
        self.three = 5
        return [self.n, self.twice, self.three]
`))
	converse(t, s, []exchange{{"clerk.add", ``, `[2,[2],3]`, ""}, {"clerk.add", ``, `[4,[4],3]`, ""}, {"clerk.sets", ``, `[8,1,5]`, ""}, {"clerk.add", ``, `[18,[18],3]`, ""}})
}
