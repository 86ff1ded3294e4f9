"""How values that JSON has no form for are arguments and results: as annotations say.

A form reads what JSON gives, and writes what it is given. Both raise Mismatch. Where an annotation names
types of JSON alone there is no form: such values are as they are, and package _types says whether they fit.
"""
import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import inspect
import typing
import uuid
from collections import abc

from . import _types
from ._execution import Error
from ._types import name_of
from ._words import ABSENT, brief

_KINDS = {str: "text", int: "number", float: "number", bool: "truth", type(None): "null", list: "list", dict: "object"}
_TUPLES = (tuple, set, frozenset, collections.deque, abc.Set, abc.MutableSet)
_WAYS = "a type of JSON, a dataclass, an Enum, a TypedDict, datetime, date, time, timedelta, Decimal, UUID and bytes have one"


class Mismatch(Exception):
    """A value is not of the type of an annotation: path says where in it."""

    def __init__(self, path, v, want, why=""):
        super().__init__(path, v, want, why)
        self.path, self.v, self.want, self.why = path, v, want, why

    def within(self, path):
        """The same, of a value that this one is in."""
        return Mismatch(path + self.path, self.v, self.want, self.why)

    def __str__(self):
        what = "is missing, and of type %s" % self.want if self.v is ABSENT else "is of type %s, not %s" % (type(self.v).__name__, self.want)
        return "%s %s%s" % (self.path, what, ": " + self.why if self.why else "")


class Formless(Exception):
    """An annotation says a type that JSON has no form for."""


class Form:
    """How the values of a type are in JSON. kinds says what of JSON they are."""

    __slots__ = ("words", "kinds", "read", "write")

    def __init__(self, words, kinds, read=None, write=None):
        self.words, self.kinds, self.read, self.write = words, frozenset(kinds), read, write


def form_of(hint, made=None):
    """The form of an annotation, None where values are as they are. The error is Formless."""
    made = {} if made is None else made
    hint = _types.bare(hint)
    of, args = typing.get_origin(hint), typing.get_args(hint)
    if of in _types.UNIONS:
        return _either(args, name_of(hint), made)
    if of is typing.Literal:
        for a in args:
            if type(a) not in _KINDS:
                raise Formless("%s is none of JSON's values" % (a,))
        return None
    cls = of or hint
    if _open(cls):
        return None
    if cls in made:
        return made[cls]
    if issubclass(cls, dict) and hasattr(cls, "__total__"):
        return _typed_dict(cls, made)
    for base, parse, show, like in _SCALARS:
        if issubclass(cls, base):
            return _text(cls, parse, show, like)
    if issubclass(cls, enum.Enum):
        return _members(cls)
    if dataclasses.is_dataclass(cls):
        return _record(cls, made)
    if cls is collections.defaultdict:
        raise Formless("a defaultdict is more than its entries: take a dict")
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        hints = _types.hints(cls)
        return _tuple(name_of(cls), [_part(hints.get(f, object), made) for f in cls._fields], cls._make)
    if cls is tuple and args and args[-1] is not ...:
        return _tuple(name_of(hint), [_part(a, made) for a in args if a != ()], tuple)
    if issubclass(cls, _TUPLES):
        make = cls if not inspect.isabstract(cls) else set
        return _elements(name_of(hint), make, _part(args[0] if args else object, made))
    if issubclass(cls, dict) and cls is not dict or cls in (dict, abc.Mapping, abc.MutableMapping):
        return _mapping(cls, args, name_of(hint), made)
    for base in (str, int, float, list):
        if issubclass(cls, base) and cls is not base and cls is not bool:
            return _derived(cls, base)
    if len(args) == 1 and issubclass(list, cls):
        inner = form_of(args[0], made)
        return None if inner is None else _elements(name_of(hint), list, inner)
    if not any(issubclass(j, cls) for j in _KINDS):
        raise Formless("%s has no form in JSON: %s" % (name_of(hint), _WAYS))
    return None


def _open(cls):
    """Whether an annotation leaves open what a value is."""
    return not isinstance(cls, type) or cls is object or cls is typing.Any or getattr(cls, "_is_protocol", False)


def _kinds_of(hint):
    """What of JSON fits an annotation without a form."""
    hint = _types.bare(hint)
    of, args = typing.get_origin(hint), typing.get_args(hint)
    if of in _types.UNIONS:
        return {k for a in args for k in _kinds_of(a)}
    if of is typing.Literal:
        return {_KINDS[type(a)] for a in args}
    cls = of or hint
    if _open(cls):
        return set(_KINDS.values())
    if issubclass(cls, dict):
        return {"object"}
    return {"number"} if cls is float else {k for j, k in _KINDS.items() if issubclass(j, cls) and not (j is bool and cls is int)}


def _part(hint, made):
    """The form of a part of a value, also where that is as it is."""
    form = form_of(hint, made)
    if form is not None:
        return form
    check = _types.check_of(hint, True)

    def same(v):
        wrong = None if check is None else check(v)
        if wrong is not None:
            raise Mismatch(*wrong)
        return v

    return Form(name_of(hint), _kinds_of(hint), same, same)


def _kind(v):
    """What of JSON a value is, "" if it is none."""
    t = type(v)
    return _KINDS.get(t, "")


def _wanted(v, cls, words):
    if not isinstance(v, cls):
        raise Mismatch("", v, words)


def _either(hints, words, made):
    """One of several types: what is in JSON says which."""
    plain = {h for h in map(_types.bare, hints) if h in _KINDS}
    hints = [h for h in hints if not (isinstance(h, type) and h not in plain and h is not bool and any(issubclass(h, p) for p in plain))]  # a base class is what they arrive as
    if all(form_of(h, made) is None for h in hints):
        return None
    parts = [_part(h, made) for h in hints]
    for i, a in enumerate(parts):
        for j in range(i):
            both = (a.kinds & parts[j].kinds) - {"list"}
            if both and (form_of(hints[i], made) or form_of(hints[j], made)):
                raise Formless("%s and %s are both %s in JSON, which does not say which of them it is" % (parts[j].words, a.words, " and ".join(sorted(both))))

    def tried(v, how, fitting):
        wrong = None
        for p in fitting:
            try:
                return how(p)(v)
            except Mismatch as e:
                wrong = wrong if wrong and wrong.path else e
        raise wrong if wrong and (wrong.path or wrong.why) else Mismatch("", v, words)

    return Form(words, frozenset().union(*(p.kinds for p in parts)), lambda v: tried(v, lambda p: p.read, [p for p in parts if _kind(v) in p.kinds]),
                lambda v: tried(v, lambda p: p.write, parts))


def _text(cls, parse, show, like):
    """A value that is a text, or a number."""
    words = name_of(cls)

    def read(v):
        if type(v) is bool or not isinstance(v, (str, int, float)):
            raise Mismatch("", v, words)
        try:
            return parse(cls, v)
        except (ValueError, TypeError, ArithmeticError):
            raise Mismatch("", v, words, "%s, where it is like %s" % (brief(v), like)) from None

    def write(v):
        if not isinstance(v, cls) or issubclass(cls, _DATE) and isinstance(v, _DATETIME) and not issubclass(cls, _DATETIME):
            raise Mismatch("", v, words)
        return show(v)

    return Form(words, {"number"} if cls is datetime.timedelta else {"text", "number"} if issubclass(cls, decimal.Decimal) else {"text"}, read, write)


def _only(of):
    def parse(cls, v):
        if type(v) is not str:
            raise TypeError
        return of(cls, v)

    return parse


def _moment(cls, v):
    if "-" not in v or ":" not in v:
        raise ValueError("it has no time")
    return cls.fromisoformat(v[:-1] + "+00:00" if v[-1:] in "zZ" else v)


def _decimal(cls, v):
    if type(v) is float:
        raise ValueError("a float is not exact")
    return cls(v)


def _seconds(cls, v):
    if type(v) is str:
        raise TypeError
    return cls(seconds=v)


_DATETIME, _DATE = datetime.datetime, datetime.date
_SCALARS = (
    (_DATETIME, _only(_moment), lambda v: v.isoformat(), "'2024-01-31T12:00:00+00:00'"),
    (_DATE, _only(lambda cls, v: cls.fromisoformat(v)), lambda v: v.isoformat(), "'2024-01-31'"),
    (datetime.time, _only(lambda cls, v: cls.fromisoformat(v)), lambda v: v.isoformat(), "'12:00:00'"),
    (datetime.timedelta, _seconds, lambda v: v.total_seconds(), "1.5, in seconds"),
    (decimal.Decimal, _decimal, str, "'1.10', a text or a whole number"),
    (uuid.UUID, _only(lambda cls, v: cls(v)), str, "'00000000-0000-4000-8000-000000000000'"),
    (bytes, _only(lambda cls, v: cls(base64.b64decode(v, validate=True))), lambda v: base64.b64encode(v).decode(), "'AQID', in base64"),
)


def _members(cls):
    """An Enum: its members are their values."""
    words, flag = name_of(cls), issubclass(cls, enum.Flag)
    kinds = {"number"} if flag else {_kind(_bare_value(m)) for m in cls}
    if "" in kinds:
        raise Formless("%s has no form in JSON: the values of its members are none of JSON's" % words)

    def read(v):
        try:
            if flag and type(v) is int:
                return cls(v)
        except ValueError:
            pass
        for m in cls:
            if not flag and _bare_value(m) == v and type(_bare_value(m)) is type(v):
                return m
        raise Mismatch("", v, words, "it is %s" % brief(v) if _kind(v) in kinds else "")

    def write(v):
        _wanted(v, cls, words)
        return v.value if flag else _bare_value(v)

    return Form(words, kinds, read, write)


def _bare_value(m):
    """The value of a member as JSON gives it back."""
    v = m.value
    if type(v) is tuple:
        return list(v)
    return next((base(v) for base in (str, int, float) if isinstance(v, base) and type(v) is not bool), v)


def _derived(cls, base):
    """A class that derives from one of JSON: it is made of that."""
    words = name_of(cls)

    def read(v):
        if type(v) is not base and not (base is float and type(v) is int):
            raise Mismatch("", v, words)
        try:
            return cls(v)
        except (ValueError, TypeError) as e:
            raise Mismatch("", v, words, str(e)) from None

    def write(v):
        _wanted(v, cls, words)
        return v

    return Form(words, {_KINDS[base]}, read, write)


def _elements(words, make, inner):
    """Lists, and what is made of one. Any of them can be given for another one."""

    def each(v, how):
        out = []
        for i, e in enumerate(v):
            try:
                out.append(how(e))
            except Mismatch as wrong:
                raise wrong.within("[%d]" % i) from None
        return out

    def read(v):
        _wanted(v, list, words)
        try:
            return make(each(v, inner.read))
        except TypeError as e:
            raise Mismatch("", v, words, str(e)) from None

    def write(v):
        if isinstance(v, (str, bytes, abc.Mapping)) or not isinstance(v, abc.Collection):
            raise Mismatch("", v, words)
        return each(v, inner.write)

    return Form(words, {"list"}, read, write)


def _tuple(words, parts, make):
    def each(v, how):
        if len(v) != len(parts):
            raise Mismatch("", v, words, "it has %d parts, and not %d" % (len(v), len(parts)))
        out = []
        for i, (p, e) in enumerate(zip(parts, v)):
            try:
                out.append(how(p)(e))
            except Mismatch as wrong:
                raise wrong.within("[%d]" % i) from None
        return out

    def read(v):
        _wanted(v, list, words)
        return make(each(v, lambda p: p.read))

    def write(v):
        _wanted(v, (tuple, list), words)
        return each(v, lambda p: p.write)

    return Form(words, {"list"}, read, write)


def _mapping(cls, args, words, made):
    """Dicts, whose keys are text in JSON."""
    keys, values = (args + (object,))[:2] if args else (object, object)
    if cls is collections.Counter:
        values = int
    make = cls if isinstance(cls, type) and issubclass(cls, dict) and cls is not dict else None
    key, inner = _key(keys, made), form_of(values, made)
    if key is None and inner is None and make is None:
        return None
    inner = inner or _part(values, made)

    def each(v, of_key, of_value):
        out = {}
        for k, e in v.items():
            try:
                name = k if key is None else of_key(k)
            except Mismatch as wrong:
                raise wrong.within(" (a key)") from None
            try:
                out[name] = of_value(e)
            except Mismatch as wrong:
                raise wrong.within("[%r]" % (k,)) from None
        return out

    def read(v):
        _wanted(v, dict, words)
        v = each(v, key and key.read, inner.read)
        return v if make is None else make(v)

    def write(v):
        _wanted(v, abc.Mapping, words)
        return each(v, key and key.write, inner.write)

    return Form(words, {"object"}, read, write)


def _key(hint, made):
    """The form of a dict's keys, None where they are text, or anything."""
    form = form_of(hint, made)
    kinds = form.kinds if form else _kinds_of(hint)
    if "text" in kinds:
        return form
    if kinds != {"number"}:
        raise Formless("keys of dicts are text in JSON, and none are %s" % name_of(hint))
    inner = form or _part(hint, made)

    def read(k):
        try:
            n = float(k) if any(c in k for c in ".en") else int(k)
        except ValueError:
            raise Mismatch("", k, inner.words) from None
        return inner.read(n)

    return Form(inner.words, {"text"}, read, lambda k: str(inner.write(k)))


def _typed_dict(cls, made):
    hints, words = _types.hints(cls), cls.__name__
    required = getattr(cls, "__required_keys__", frozenset(hints))
    form = made[cls] = Form(words, {"object"})
    parts = {k: _part(h, made) for k, h in hints.items()}
    if all(form_of(h, made) is None for h in hints.values()):
        made[cls] = None
        return None

    def each(v, how):
        _wanted(v, dict, words)
        out = dict(v)
        for k, p in parts.items():
            if k in v:
                try:
                    out[k] = how(p)(v[k])
                except Mismatch as wrong:
                    raise wrong.within("[%r]" % k) from None
            elif k in required:
                raise Mismatch("[%r]" % k, ABSENT, p.words)
        return out

    form.read, form.write = lambda v: each(v, lambda p: p.read), lambda v: each(v, lambda p: p.write)
    return form


def _record(cls, made):
    """A dataclass: an object with its fields."""
    words, hints = name_of(cls), _types.hints(cls)
    form = made[cls] = Form(words, {"object"})
    fields = dataclasses.fields(cls)
    needed = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(n not in [f.name for f in fields if f.init] for n in needed):
        raise Formless("%s has no form in JSON: it cannot be made of its fields" % words)
    parts = {}
    for f in fields:
        hint = hints.get(f.name, object)
        parts[f.name] = _part(typing.Optional[hint] if f.default is None else hint, made)

    def read(v):
        _wanted(v, dict, words)
        given = {}
        for k, e in v.items():
            if k not in parts:
                raise Mismatch("", v, words, "it has %s, which is no field" % brief(k))
            try:
                given[k] = parts[k].read(e)
            except Mismatch as wrong:
                raise wrong.within("." + k) from None
        for n in needed:
            if n not in given:
                raise Mismatch("." + n, ABSENT, parts[n].words)
        try:
            return cls(**{f.name: given[f.name] for f in fields if f.init and f.name in given})
        except (ValueError, TypeError) as e:
            raise Mismatch("", v, words, str(e)) from None

    def write(v):
        _wanted(v, cls, words)
        out = {}
        for k, p in parts.items():
            try:
                out[k] = p.write(getattr(v, k))
            except Mismatch as wrong:
                raise wrong.within("." + k) from None
        return out

    form.read, form.write = read, write
    return form


class Signature:
    """What a method takes and gives. The error is Formless, or a NameError of an annotation."""

    __slots__ = ("name", "places", "least", "most", "takes", "rest", "result")

    def __init__(self, name, f, typed):
        self.name = name
        parameters = list(inspect.signature(f).parameters.values())
        if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise Formless("it has no self")
        if parameters[0].kind != inspect.Parameter.VAR_POSITIONAL:
            del parameters[0]
        self.places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.least = sum(1 for p in self.places if p.default is p.empty)
        rest = [p for p in parameters if p.kind == p.VAR_POSITIONAL]
        self.most = None if rest else len(self.places)
        for p in parameters:
            if p.kind == p.KEYWORD_ONLY and p.default is p.empty:
                raise Formless("argument %s can only be given by its name, and a call gives arguments in their order: put it before the *, or give it a default" % p.name)
        hints = typing.get_type_hints(f) if typed else {}
        self.takes = [self._argument(p, hints) for p in self.places]
        self.rest = self._argument(rest[0], hints) if rest else None
        self.result = None
        if "return" in hints:
            try:
                self.result = form_of(hints["return"])
            except Formless:
                pass  # what is no JSON is refused where it is returned

    @staticmethod
    def _argument(p, hints):
        """The name, the form and the check of an argument."""
        if p.name not in hints:
            return p.name, None, None
        hint = typing.Optional[hints[p.name]] if p.default is None else hints[p.name]
        try:
            form = form_of(hint)
        except Formless as e:
            raise Formless("argument %s: %s" % (p.name, e)) from None
        return p.name, form, None if form else _types.check_of(hint, True)

    def plain(self):
        """Whether arguments are as they are, whatever they are."""
        return not any(t[1] or t[2] for t in self.takes) and (self.rest is None or not (self.rest[1] or self.rest[2]))

    def _of(self, i):
        return self.takes[i] if i < len(self.takes) else self.rest or ("", None, None)

    def received(self, args):
        """Arguments as the method takes them. Raises what is wrong with their number, or with the type of one."""
        n = len(args)
        if n < self.least or self.most is not None and n > self.most:
            want = str(self.least) if self.most == self.least else "%d or more" % self.least if self.most is None else "%d to %d" % (self.least, self.most)
            raise Error("%s takes %s argument%s, the call has %d" % (self.name, want, "" if want == "1" else "s", n))
        for i in range(n):
            name, form, check = self._of(i)
            try:
                if form is not None:
                    args[i] = form.read(args[i])
                elif check is not None:
                    wrong = check(args[i])
                    if wrong is not None:
                        raise Mismatch(*wrong)
            except Mismatch as e:
                raise Error("%s: argument %d (%s)%s" % (self.name, i + 1, name, e)) from None
        return args

    def sent(self, i, v):
        """An argument as JSON has it."""
        name, form, _ = self._of(i)
        if form is None:
            return v
        try:
            return form.write(v)
        except Mismatch as e:
            raise Error("argument %d (%s) of %s%s" % (i + 1, name, self.name, e)) from None

    def ordered(self, args, named):
        """Arguments, of which some are given by name, in their order."""
        left, args = dict(named), list(args)
        for i, p in enumerate(self.places):
            if i < len(args):
                if p.name in left:
                    raise TypeError("%s: argument %s is given twice" % (self.name, p.name))
            elif p.name in left:
                args.append(left.pop(p.name))
            elif left and p.default is not p.empty:
                args.append(p.default)
            elif left:
                break
        for name in left:
            known = any(p.name == name for p in self.places)
            raise TypeError("%s: an argument before %s is missing" % (self.name, name) if known else "%s has no argument %s that a call can give" % (self.name, name))
        return args
