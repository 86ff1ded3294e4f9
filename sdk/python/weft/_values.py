"""How values are written: of the state, of arguments and results, and of the keys of maps.

Arguments and results are JSON. A value of the state is JSON too if that gives it
back as it was, and else a pickle, which only the sandbox reads: no JSON begins with its first byte.
"""
import json
import pickle
from json.encoder import encode_basestring as _quote

PICKLE = 4  # the protocol: all versions of Python that are served know it
_DEPTH = 100

_decode = json.JSONDecoder().decode
_NoneType = type(None)
_FIXED = frozenset((int, str, float, bool, bytes, complex, _NoneType))


class View:
    """A map or list of the state: where it becomes part of a value, what it holds does."""

    __slots__ = ()

    def plain(self):
        raise NotImplementedError

    def __reduce__(self):
        return _given, (self.plain(),)


def _given(v):
    return v


def _other(v):
    """What the encoder of JSON makes of a value that it does not know."""
    if isinstance(v, View):
        return v.plain()
    raise TypeError("a value of type %s is not JSON" % type(v).__name__)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other).encode


def encode_json(v):
    """The JSON of an argument or a result. The error is a TypeError or ValueError."""
    t = type(v)
    if t is int:
        return b"%d" % v
    if t is str:
        return _quote(v).encode()
    if v is None:
        return b"null"
    return _encode(v).encode()


def decode_json(data):
    """What encode_json was given; nothing is None."""
    if data.isdigit() and (data[0] != 48 or len(data) == 1):
        return int(data)
    if data[:1] == b'"' and b"\\" not in data:
        return str(data[1:-1], "utf-8")
    if not data:
        return None
    return _decode(str(data, "utf-8"))


def _exact(v, depth, seen):
    """Whether JSON gives a value back as it was: what is in it twice would be two values."""
    t = type(v)
    if t is str or t is int or t is bool or v is None:
        return True
    if t is float:
        return v - v == 0
    if depth == 0 or t is not list and t is not dict or id(v) in seen:
        return False
    seen.add(id(v))
    if t is dict:
        for k in v:
            if type(k) is not str:
                return False
        v = v.values()
    for e in v:
        t = type(e)
        if t is not str and t is not int and not _exact(e, depth - 1, seen):
            return False
    return True


def encode(v):
    """The bytes of a value of the state. The error is one of pickle, or a TypeError."""
    t = type(v)
    try:
        if t is int:
            return b"%d" % v
        if t is str:
            return _quote(v).encode()
        if _exact(v, _DEPTH, set()):
            return _encode(v).encode()
    except ValueError:
        pass  # half of a character, or a number of thousands of digits
    if isinstance(v, View):
        return encode(v.plain())
    try:
        return pickle.dumps(v, PICKLE)
    except RecursionError:
        raise ValueError("a value that is nested too deeply") from None
    except (pickle.PicklingError, AttributeError, TypeError) as e:
        raise TypeError("a value of type %s cannot be stored: %s" % (t.__name__, e)) from None


def decode(data):
    """What encode was given, as a new value."""
    if data[:1] == b"\x80":
        return pickle.loads(data)
    return decode_json(data)


def changeable(v):
    """Whether a value can change in place."""
    t = type(v)
    if t in _FIXED:
        return False
    if t is tuple or t is frozenset:
        return any(changeable(e) for e in v)
    return True


def encode_key(k):
    """The bytes of a map's key. Keys that are equal have the same: 1, 1.0 and True."""
    t = type(k)
    if t is str:
        return _quote(k).encode()
    if t is int or t is bool:
        return b"%d" % k
    if k is None:
        return b"null"
    if isinstance(k, str):
        return _quote(str.__str__(k)).encode()
    if isinstance(k, int):
        return b"%d" % int(k)
    if isinstance(k, float) and k - k == 0:
        return b"%d" % int(k) if k.is_integer() else float.__repr__(k).encode()
    if t is bytes:
        return b"b" + _quote(str(k, "latin-1")).encode()
    if isinstance(k, tuple) and not any(type(e) is bytes for e in k):
        return b"[" + b",".join([encode_key(e) for e in k]) + b"]"
    raise TypeError("%r cannot be the key of a persistent map: use text, numbers, bytes, None, or tuples of them" % (k,))


def _tuples(v):
    return tuple([_tuples(e) for e in v]) if type(v) is list else v


def decode_key(data):
    """The key that encode_key was given."""
    if data[:1] == b"b":
        return _decode(str(data[1:], "utf-8")).encode("latin-1")
    k = decode_json(data)
    return _tuples(k) if type(k) is list else k
