"""Whether values are of the types that annotations name.

A check is a function of a value: None if that is of the type, else where in it something is not ("[2].name"),
what is there, and the type that was wanted, as words. What an annotation says that is not known here, everything fits.
"""
import dataclasses
import types
import typing
from collections import abc

from ._words import ABSENT

UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
_KEYED = (dict, abc.Mapping, abc.MutableMapping)
_LISTED = (list, set, frozenset, abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet, abc.Collection, abc.Iterable)
_NoneType = type(None)


def bare(hint):
    """An annotation without names for it, and what is said about it."""
    while True:
        if hint is None:
            return _NoneType
        if hasattr(hint, "__supertype__"):  # of NewType
            hint = hint.__supertype__
        elif typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def name_of(hint):
    """An annotation as people write it."""
    if hint is None or hint is _NoneType:
        return "None"
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "")


def check_of(hint, given=False, made=None):
    """The check for an annotation, None if everything fits. given: it has no form (package _forms), and a value is what JSON gives, of which
    keys are text, and True is no number."""
    made = {} if made is None else made
    hint = bare(hint)
    of, args = typing.get_origin(hint), typing.get_args(hint)
    if of in UNIONS:
        return _either([check_of(a, given, made) for a in args], name_of(hint))
    if of is typing.Literal:
        return lambda v: None if any(v == a and type(v) is type(a) for a in args) else ("", v, name_of(hint))
    if isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__total__"):
        return _typed_dict(hint, given, made)
    cls = of or hint
    if not isinstance(cls, type) or cls is object or cls is typing.Any or getattr(cls, "_is_protocol", False):
        return None
    outer = _is(cls, name_of(hint), given)
    if cls in _KEYED and len(args) == 2:
        return _mapping(outer, None if given else check_of(args[0], given, made), check_of(args[1], given, made))
    if cls in _LISTED and len(args) == 1:
        return _elements(outer, check_of(args[0], given, made))
    if cls is tuple and args:
        return _elements(outer, check_of(args[0], given, made)) if args[-1] is ... else _tuple(outer, [check_of(a, given, made) for a in args if a != ()])
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls, outer, made)
    return outer


def optional(check):
    """The check for a field that may be None, too."""
    return None if check is None else lambda v: None if v is None else check(v)


def _is(cls, words, given):
    check = _instance_of(cls, words, given)
    check.exact = {cls}  # the types of which all values fit
    return check


def _instance_of(cls, words, given):
    if cls is float:
        cls = (float, int)  # as annotations have it
    elif cls is complex:
        cls = (complex, float, int)
    if given and cls in (int, (float, int)):
        return lambda v: None if isinstance(v, cls) and v is not True and v is not False else ("", v, words)
    return lambda v: None if isinstance(v, cls) else ("", v, words)


def _either(checks, words):
    if None in checks:
        return None

    def check(v):
        inner = None
        for c in checks:
            wrong = c(v)
            if wrong is None:
                return None
            if wrong[0]:
                inner = wrong  # it is of this part, but for something in it
        return inner or ("", v, words)

    return check


def _all(values, check):
    """Whether all are exactly of the type that a check wants: what can be told fast."""
    return set(map(type, values)) <= getattr(check, "exact", set())


def _elements(outer, inner):
    if inner is None:
        return outer

    def check(v):
        wrong = outer(v)
        if wrong is None and not isinstance(v, (str, bytes)) and not _all(v, inner):
            for i, e in enumerate(v):
                wrong = inner(e)
                if wrong is not None:
                    return "[%d]%s" % (i, wrong[0]), *wrong[1:]
        return wrong

    return check


def _mapping(outer, keys, values):
    if keys is None and values is None:
        return outer

    def check(v):
        wrong = outer(v)
        if wrong is not None or (keys is None or _all(v, keys)) and (values is None or _all(v.values(), values)):
            return wrong
        for k, e in v.items():
            wrong = None if keys is None else keys(k)
            if wrong is not None:
                return " (a key)", *wrong[1:]
            wrong = None if values is None else values(e)
            if wrong is not None:
                return "[%r]%s" % (k, wrong[0]), *wrong[1:]
        return None

    return check


def _tuple(outer, inner):
    words = "a tuple of %d" % len(inner)

    def check(v):
        wrong = outer(v)
        if wrong is not None:
            return wrong
        if len(v) != len(inner):
            return "", v, words
        for i, (c, e) in enumerate(zip(inner, v)):
            wrong = None if c is None else c(e)
            if wrong is not None:
                return "[%d]%s" % (i, wrong[0]), *wrong[1:]
        return None

    return check


def hints(cls):
    """The annotations of a class."""
    try:
        return typing.get_type_hints(cls)
    except Exception:
        return {}  # names that are there for a type checker only


def _typed_dict(cls, given, made):
    if cls in made:
        return lambda v: made[cls](v)
    known, words = hints(cls), cls.__name__
    made[cls] = lambda v: check(v)
    parts = {k: check_of(h, given, made) for k, h in known.items()}
    required = getattr(cls, "__required_keys__", frozenset(known))

    def check(v):
        if not isinstance(v, dict):
            return "", v, words
        for k, c in parts.items():
            if k not in v:
                if k in required:
                    return "[%r]" % k, ABSENT, name_of(known[k])
                continue
            wrong = None if c is None else c(v[k])
            if wrong is not None:
                return "[%r]%s" % (k, wrong[0]), *wrong[1:]
        return None

    return check


def _dataclass(cls, outer, made):
    """An object that was stored has the attributes that its class had then."""
    if cls in made:
        return lambda v: made[cls](v)
    known = hints(cls)
    made[cls] = lambda v: check(v)
    parts = []
    for f in dataclasses.fields(cls):
        hint = known.get(f.name, object)
        c = check_of(hint, False, made)
        parts.append((f.name, optional(c) if f.default is None else c, name_of(hint)))

    def check(v):
        wrong = outer(v)
        if wrong is not None:
            return wrong
        for name, c, words in parts:
            e = getattr(v, name, ABSENT)
            if e is ABSENT:
                return "." + name, ABSENT, words
            wrong = None if c is None else c(e)
            if wrong is not None:
                return ".%s%s" % (name, wrong[0]), *wrong[1:]
        return None

    return check


_KEYS = {str: str, int: int, float: (float, int), bytes: bytes}


def key_check(hint):
    """The check for the keys of a map: 1, 1.0 and True are one key there."""
    cls = _KEYS.get(hint)
    if cls is None:
        return None
    words = name_of(hint)
    return lambda k: None if isinstance(k, cls) or isinstance(k, float) and k == int(k) and hint is int else ("", k, words)
