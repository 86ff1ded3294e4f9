"""The fields of a service's objects: one value, a map whose entries are places of their own, and such a list."""
from collections.abc import Mapping, MutableMapping, MutableSequence

from . import _execution
from . import _frames as wire
from ._execution import running
from ._values import View, decode_key, encode, encode_key
from ._words import ABSENT, holds, shown

BATCH = 200  # entries that are asked for at a time
_MISSING = object()


class Value:
    """A field with one value, as a descriptor: it is read and written where it stands."""

    def __init__(self, name, initial, check=None):
        """initial makes the value of an object that has none yet; check says whether a value is of the field's type."""
        self.place = wire.text(name) + b"\0"
        self.initial = initial
        self.check = check

    def __get__(self, obj, owner=None):
        if obj is None:
            return self
        x = _execution.current
        if x is None or x.effect:
            x = running()
        v = x.live.get(self.place, ABSENT)
        if v is ABSENT:
            v = x.load(self.place, False, self.check)
            if v is ABSENT:
                v = self.initial()
                v = x.begin_with(self.place, v, encode(v), self.check)
        return v

    def __set__(self, obj, v):
        running().store(self.place, v, self.check)

    def __delete__(self, obj):
        running().remove(self.place)


class Entries(Value):
    """A field that is a map or a list."""

    def __init__(self, name, initial, view, keys=None, check=None):
        """keys and check say whether a key, and an entry or element, is of the field's type."""
        super().__init__(name, initial)
        self.view = view(name, keys, check)

    def __get__(self, obj, owner=None):
        if obj is None:
            return self
        if self.initial is not None:
            given = self.begin()
            if given is not None:
                return given
        return self.view

    def __set__(self, obj, v):
        if v is not self.view:
            if self.initial is not None:
                self.begin()  # so that its initial entries do not come later
            self.view.assign(v)

    def __delete__(self, obj):
        self.__set__(obj, ())

    def begin(self):
        """Gives an object its initial entries, once. A method that only reads has them as they would be."""
        x = running()
        if x.load(self.place) is not ABSENT:
            return None
        if x.reads():
            given = x.given_entries.get(self.place)
            if given is None:
                given = x.given_entries[self.place] = self.view.given(self.initial())
                x.watch(self.place, given, encode(given), None)
            return given
        self.view.fill(self.initial())
        if isinstance(self.view, Map):
            x.store(self.place, True)
        return None


class Map(View, MutableMapping):
    """A map: each entry is a place with a lock of its own. The order is that of the keys' encodings."""

    __slots__ = ("name", "field", "prefix", "keyed", "check")
    __hash__ = None

    def __init__(self, name, keys, check):
        self.name, self.keyed, self.check = name, keys, check
        self.field = wire.text(name)
        self.prefix = self.field + b"\1"

    def place(self, k):
        data = encode_key(k)
        n = len(data)
        return self.prefix + (wire.ONE[n] if n < 128 else wire.uvarint(n)) + data

    def key(self, entry):
        """The key of an entry that is stored."""
        k = decode_key(entry)
        wrong = None if self.keyed is None else self.keyed(k)
        if wrong is not None:
            running().refuse(holds("a key of " + self.name, wrong))
        return k

    def admit(self, k):
        """Raises a TypeError if a key that is written is not of the field's type."""
        wrong = self.keyed(k)
        if wrong is not None:
            raise TypeError("the keys of %s are %s, and not %s" % (self.name, wrong[2], shown(k)))

    def __getitem__(self, k):
        v = running().load(self.place(k), False, self.check)
        if v is ABSENT:
            raise KeyError(k)
        return v

    def __setitem__(self, k, v):
        if self.keyed is not None:
            self.admit(k)
        x, place = running(), self.place(k)
        if x.loops:
            self.grows(x, place)
        x.store(place, v, self.check)

    def __delitem__(self, k):
        x, place = running(), self.place(k)
        if x.load(place, True, self.check) is ABSENT:
            raise KeyError(k)
        x.remove(place)

    def __contains__(self, k):
        return running().load(self.place(k), False, self.check) is not ABSENT

    def get(self, k, default=None):
        v = running().load(self.place(k), False, self.check)
        return default if v is ABSENT else v

    def pop(self, k, default=_MISSING):
        x, place = running(), self.place(k)
        v = x.load(place, True, self.check)
        if v is ABSENT:
            if default is _MISSING:
                raise KeyError(k)
            return default
        x.remove(place)
        return v

    def popitem(self):
        for k in self._scan(1):
            return k, self.pop(k)
        raise KeyError("popitem(): the map is empty")

    def setdefault(self, k, default=None):
        x, place = running(), self.place(k)
        v = x.load(place, True, self.check)
        if v is ABSENT:
            if self.keyed is not None:
                self.admit(k)
            if x.loops:
                self.grows(x, place)
            x.store(place, default, self.check)
            v = x.load(place)
        return v

    def grows(self, x, place):
        """Is before an entry is written while loops go over maps: those that go over this one end if it is new, as they do with a dict."""
        if x.loops.get(self.field) and x.load(place, True, self.check) is ABSENT:
            x.loops[self.field] = []

    def _places(self, batch=BATCH):
        x, after, this = running(), b"", object()
        x.loops.setdefault(self.field, []).append(this)
        try:
            while True:
                found = running().scan(self.field, after, batch)
                for entry, place in found:
                    yield entry, place
                    if this not in x.loops.get(self.field, ()):
                        raise RuntimeError("%s has got a new key while a loop goes over it: loop over list(…)" % self.name)
                if len(found) < batch:
                    return
                after = found[-1][0]
        finally:
            rest = [loop for loop in x.loops.pop(self.field, ()) if loop is not this]
            if rest:
                x.loops[self.field] = rest

    def _scan(self, batch=BATCH):
        for entry, _ in self._places(batch):
            yield self.key(entry)

    def __iter__(self):
        return self._scan()

    def __len__(self):
        return sum(1 for _ in self._places())

    def __bool__(self):
        for _ in self._places(1):
            return True
        return False

    def items(self):
        return Items(self)

    def values(self):
        return Values(self)

    def clear(self):
        for _, place in list(self._places()):
            running().remove(place)

    def copy(self):
        return dict(self.items())

    plain = copy

    def assign(self, v):
        new = dict(v)
        keep = {self.place(k) for k in new}
        x = running()
        for _, place in list(self._places()):
            if place not in keep:
                x.remove(place)
        self.fill(new)

    def fill(self, v):
        for k, e in v.items():
            self[k] = e

    def given(self, v):
        """Initial entries in the order of the map."""
        return dict(sorted(v.items(), key=lambda e: encode_key(e[0])))

    def __eq__(self, other):
        return self is other or (isinstance(other, Mapping) and self.copy() == dict(other))

    def __or__(self, other):
        return self.copy() | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other):
        return dict(other) | self.copy() if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other):
        self.update(other)
        return self

    def __repr__(self):
        return repr(self.copy())


class Items:
    """The entries of a map, for a loop."""

    def __init__(self, of):
        self.of = of

    def __iter__(self):
        for entry, place in self.of._places():
            v = running().load(place, False, self.of.check)
            if v is not ABSENT:  # the loop has not deleted it
                yield self.of.key(entry), v

    def __len__(self):
        return len(self.of)

    def __contains__(self, item):
        k, v = item
        return self.of.get(k, _MISSING) == v

    def __repr__(self):
        return "dict_items(%r)" % list(self)


class Values(Items):
    """The values of a map, for a loop."""

    def __iter__(self):
        for _, v in Items.__iter__(self):
            yield v

    def __contains__(self, v):
        return any(v is e or v == e for e in self)

    def __repr__(self):
        return "dict_values(%r)" % list(self)


def _length(v):
    return None if type(v) is int else ("", v, "a List")


class List(View, MutableSequence):
    """A list: each element is a place with a lock of its own, and so is the length."""

    __slots__ = ("name", "prefix", "length", "check")
    __hash__ = None

    def __init__(self, name, keys, check):
        self.name, self.check = name, check
        self.prefix = wire.text(name) + b"\1"
        self.length = wire.text(name) + b"\0"

    def place(self, i):
        return self.prefix + wire.blob(b"%d" % i)

    def _len(self, update=False):
        n = running().load(self.length, update, _length)
        return 0 if n is ABSENT else n

    def _index(self, i, n, what="list index out of range"):
        at = i.__index__()
        if at < 0:
            at += n
        if not 0 <= at < n:
            raise IndexError(what)
        return at

    def __len__(self):
        return self._len()

    def __getitem__(self, i):
        n = self._len()
        if isinstance(i, slice):
            return running().load_all([self.place(j) for j in range(*i.indices(n))], False, self.check)
        return running().load(self.place(self._index(i, n)), False, self.check)

    def __setitem__(self, i, v):
        if isinstance(i, slice):
            new = self.plain()
            new[i] = v
            return self.assign(new)
        running().store(self.place(self._index(i, self._len(), "list assignment index out of range")), v, self.check)

    def __delitem__(self, i):
        if not isinstance(i, slice):
            self.pop(i)
            return
        new = self.plain()
        del new[i]
        self.assign(new)

    def append(self, v):
        x, n = running(), self._len(True)
        x.store(self.place(n), v, self.check)
        x.store(self.length, n + 1)

    def extend(self, values):
        x, n, new = running(), self._len(True), list(values)
        for i, v in enumerate(new):
            x.store(self.place(n + i), v, self.check)
        x.store(self.length, n + len(new))

    def insert(self, i, v):
        x, n, i = running(), self._len(True), i.__index__()
        i = min(i, n) if i >= 0 else max(i + n, 0)
        rest = x.load_all([self.place(j) for j in range(i, n)], True, self.check)
        for j, e in enumerate([v, *rest]):
            x.store(self.place(i + j), e, self.check)
        x.store(self.length, n + 1)

    def pop(self, i=-1):
        x, n = running(), self._len(True)
        if n == 0:
            raise IndexError("pop from empty list")
        i = self._index(i, n, "pop index out of range")
        rest = x.load_all([self.place(j) for j in range(i, n)], True, self.check)
        for j, v in enumerate(rest[1:]):
            x.store(self.place(i + j), v, self.check)
        x.remove(self.place(n - 1))
        x.store(self.length, n - 1)
        return rest[0]

    def __iter__(self):
        i, n = 0, self._len()
        while i < n:
            if i % BATCH == 0:
                running().load_all([self.place(j) for j in range(i, min(n, i + BATCH))], False, self.check)
            yield running().load(self.place(i), False, self.check)
            i, n = i + 1, self._len()  # the loop may have changed it

    def plain(self):
        return list(self)

    copy = plain

    def clear(self):
        self.assign([])

    def assign(self, v):
        x, old, new = running(), self._len(True), list(v)
        for i, e in enumerate(new):
            x.store(self.place(i), e, self.check)
        for i in range(len(new), old):
            x.remove(self.place(i))
        x.store(self.length, len(new))

    fill = assign

    def given(self, v):
        return v

    def sort(self, *, key=None, reverse=False):
        self.assign(sorted(self, key=key, reverse=reverse))

    def __eq__(self, other):
        return self is other or (isinstance(other, (list, List)) and self.plain() == list(other))

    def __add__(self, other):
        return self.plain() + list(other) if isinstance(other, (list, List)) else NotImplemented

    def __radd__(self, other):
        return list(other) + self.plain() if isinstance(other, list) else NotImplemented

    def __repr__(self):
        return repr(self.plain())
