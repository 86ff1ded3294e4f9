"""weft.service: services, which are state with methods, written as if each object were one in a process that never fails.

    from weft.service import Error, Map, Service, Value, transaction

    class Funds(Error):
        pass

    class Account(Service):
        balance: Value[int] = 0
        log: Map[str, int]

        def put(self, amount: int) -> int:
            self.balance += amount
            return self.balance

        def take(self, amount: int) -> int:
            if amount > self.balance:
                raise Funds("there is not so much")     # nothing of this call has happened
            self.balance -= amount
            return self.balance

    class Teller(Service):
        def move(self, source: str, to: str, amount: int) -> None:
            with transaction():                         # both happen, or none
                Account.at(source).take(amount)
                Account.at(to).put(amount)

A method runs alone from its beginning to its end, or to the next moment at which it waits. It is run again
from its beginning when that is needed, and is then given the same answers: it has no
global state, and the clock, random and uuid say the same again. docs/services-python.md has all of it.
"""
from __future__ import annotations

import datetime as _datetime
import types as _types
import typing as _typing

from . import _calls, _execution
from . import _frames as _wire
from ._calls import Future, Object
from ._execution import CallError, Error, Refused, Stale, TransactionException
from ._values import encode as _encode

__all__ = [
    "CallError", "Error", "Future", "List", "Map", "Object", "Refused", "Service", "Stale", "TransactionException", "Value",
    "after", "any_of", "attempt", "compensate", "continue_with", "earlier", "gather", "key", "now", "promise", "request", "run", "send",
    "shared", "sleep", "snapshot", "start", "transaction",
]

T = _typing.TypeVar("T")
K = _typing.TypeVar("K")
V = _typing.TypeVar("V")
S = _typing.TypeVar("S", bound="Service")

VALUE, MAP, LIST = "weft value", "weft map", "weft list"

# A type checker sees what the field holds: balance: Value[int] is an int.
Value = _typing.Annotated[T, VALUE]
Map = _typing.Annotated[_typing.Dict[K, V], MAP]
List = _typing.Annotated[_typing.List[T], LIST]

classes = []  # all services that were imported


class Service:
    """A service: persistent fields, which are annotated with Value, Map or List, and methods.

    Methods whose names begin with _ cannot be called by others. The service is called as its class is, UrlShortener
    url-shortener or urlshortener, or as the class says: class Account(Service, name="bank").

    What earlier code has stored in another form is changed by _migrate, which is told the version that the object has: class
    Account(Service, version=2). Code without a version is version 1. It runs before the first method that uses the
    state of the object does, in the same segment, and reads and writes fields, its own and earlier ones.
    """

    service_name: _typing.ClassVar[str] = ""
    state_version: _typing.ClassVar[int] = 0

    def __init_subclass__(cls, name: str = "", version: int = 0, **kw):
        super().__init_subclass__(**kw)
        cls.service_name = name or cls.__name__
        if version:
            if type(version) is not int or version < 2:
                raise ValueError("class %s has version %r of its state: versions are numbers from 2 on, code without one is version 1" % (cls.__name__, version))
            cls.state_version = version
        classes.append(cls)

    def __reduce__(self):
        raise TypeError("it is its service's, and not a value: keep the key")

    @classmethod
    def at(cls: _typing.Type[S], key: str = "") -> S:
        """The object with a key, of a service that is keyed, to be called by others; without one, the only object."""
        return _typing.cast(S, Object(cls.service_name, key, cls))


F = _typing.TypeVar("F", bound=_typing.Callable)


def shared(method: F) -> F:
    """Says that a method does not write the state of its object. The app file says the same: methods: {METHOD: shared}."""
    return _marked(method, "shared")


def snapshot(method: F) -> F:
    """Says that a method, and what it calls, only reads, as of one moment. The app file says the same: methods: {METHOD: snapshot}."""
    return _marked(method, "snapshot")


def _marked(method, mode):
    if not isinstance(method, _types.FunctionType):
        raise TypeError("@%s stands before a method, and nothing else between them" % mode)
    _typing.cast(_typing.Any, method).weft_mode = mode
    return method


def earlier(**fields):
    """Fields that the state had in earlier versions, in _migrate: old = earlier(balance=Value[float]) has old.balance,
    None where there was none. They are read, written and deleted like others, also under the name of one that is there."""
    from . import _edition, _specification

    return _edition.earlier({name: _specification.field(name, hint, None) for name, hint in fields.items()})


def _method(method):
    if not isinstance(method, _calls.Method):
        raise TypeError("%r is not a method of an object: give one as Account.at(KEY).put, without calling it" % (method,))
    return method


def start(method: _typing.Callable[..., T], *args, **named) -> Future:
    """Starts a method. It begins when the caller waits, at the latest when it has ended, and then happens whatever
    becomes of the caller. In a transaction it runs at once, as a part of it."""
    x, of = _execution.running(), _method(method)
    return Future(x.invoke(_wire.ASYNC, of.to, of.given(args, named)), of)


def send(method: _typing.Callable, *args, delay: float | _datetime.timedelta = 0, **named) -> None:
    """Has a method called that nobody waits for, once, after the caller has succeeded or waited; delay is in seconds."""
    x, of = _execution.running(), _method(method)
    x.invoke(_wire.SEND, of.to, of.given(args, named), _calls.nanoseconds(delay))


def gather(*futures: Future) -> list:
    """Waits for all results, and returns them in order. The error is that of the first one that has failed."""
    return _calls.wait_all(futures)


def any_of(*futures: Future) -> int:
    """Waits until one of several results is there, and returns its index. Its wait() does not wait any more."""
    values = _execution.running().wait(_calls.handles(futures), True)
    return next(i for i, v in enumerate(values) if v[0] != _wire.PENDING)


def after(delay: float | _datetime.timedelta) -> Future:
    """A future that is there after a while, in seconds."""
    x, ns = _execution.running(), _wire.varint(_calls.nanoseconds(delay))
    return Future(x.silent(x.head(_wire.TIMER) + ns))


def sleep(delay: float | _datetime.timedelta) -> None:
    """Waits, in seconds, for days if need be; meanwhile there need be no instance. Refused in a transaction."""
    after(delay).wait()


def _named(name):
    """A name of a promise or an effect, as it is on the wire."""
    if not isinstance(name, str):
        raise TypeError("the name of a promise, or of a side effect, is text, and %r is not" % (name,))
    return _wire.text(name)


def promise(name: str) -> Future:
    """A future of what somebody outside will say, under a name of the request: weft requests resolve."""
    x, name = _execution.running(), _named(name)
    return Future(x.silent(x.head(_wire.PROMISE) + name))


def compensate(method: _typing.Callable, *args, **named) -> None:
    """Says what undoes the work of the request so far: called if it fails later or is cancelled, the latest first."""
    x, of = _execution.running(), _method(method)
    to = of.to + of.given(args, named)  # before what was written leaves with the question: it may raise
    x.silent(x.head(_wire.COMPENSATE) + to)


def continue_with(*args, **named) -> _typing.NoReturn:
    """Ends the method and begins it anew, with other arguments and without its journal. It does not return."""
    x = _execution.running()
    if x.within:
        raise Refused("a method does not continue in the middle of a transaction")
    x.ending = _execution.Continued(_calls.arguments(args, named, x.method, x.signature))
    raise x.ending


def run(name: str, effect: _typing.Callable[..., T]) -> T:
    """Does a side effect, or what is not the same each time: at least once, and its first recorded result stands, as
    does its exception. effect() may do all that the sandbox allows, but not use the service. If it takes an
    argument, that is a key, the same in every attempt. Refused in a transaction."""
    from . import _instance, _recorded

    return _execution.running().run(_named(name), lambda k: _recorded.apart(lambda: _instance.outcome(effect, k, _encode)))


class transaction:
    """A part of a method that happens as a whole or not at all, in all services: with transaction(): …

    An exception that leaves it aborts it. So does what fails in it, in whatever service, whether the part looks at exceptions or
    not: then it ends with the exception of that. It is not retried by code: what cannot
    have a lock begins again by itself. One within another is a part of that one. Nothing waits in it.
    """

    def __enter__(self):
        _execution.running().begin()
        return self

    def __exit__(self, kind, e, trace):
        x = _execution.running()
        if kind is None:
            x.commit()
        elif issubclass(kind, Exception):
            x.abort()
        return False


def key() -> str:
    """The key of the object whose method runs, "" where a service has one object only."""
    return _execution.running().object


def request() -> str:
    """The ID of the request that the method is part of, the same in every attempt."""
    return _execution.running().request


def attempt() -> int:
    """Counts the attempts of the request, from 1. Who decides upon it does not do the same again."""
    return _execution.running().attempt


def now() -> _datetime.datetime:
    """The time in UTC, at the method's beginning or its latest question: the same in every attempt."""
    return _datetime.datetime.fromtimestamp(_execution.running().time / 1e9, _datetime.timezone.utc)
