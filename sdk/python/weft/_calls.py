"""Calls of other services, and futures of what comes later."""
import datetime

from . import _frames as wire
from ._execution import Error, running
from ._values import encode_json

peers = {}  # the services of the app: name -> class, "" where the app file names none
_names = {}


def bare(name):
    """A name of a service or a class without what people write it differently with."""
    return name.replace("-", "").replace("_", "").lower()


def named(name):
    """The service that code calls by its name, or by the name of its class."""
    found = _names.get(name)
    if found is None:
        found = name
        if name not in peers:
            for same in (lambda s: peers[s] == name, lambda s: bare(s) == bare(name)):
                fitting = [s for s in peers if same(s)]
                if len(fitting) == 1:
                    found = fitting[0]
                    break
        _names[name] = found
    return found


def target(service, key, method):
    """A method of an object, as it is on the wire."""
    if not isinstance(key, str):
        raise TypeError("the key of an object is text, and %r is not" % (key,))
    return wire.text(named(service)) + wire.text(key) + wire.text(method)


def arguments(args, of):
    """Arguments, as they are on the wire."""
    parts = [wire.uvarint(len(args))]
    for i, a in enumerate(args):
        try:
            parts.append(wire.blob(encode_json(a)))
        except (TypeError, ValueError, RecursionError) as e:
            raise Error("argument %d of %s: %s" % (i + 1, of, e)) from None
    return b"".join(parts)


def nanoseconds(delay):
    """A time that is given in seconds, or as a timedelta."""
    if isinstance(delay, datetime.timedelta):
        return (delay.days * 86400 + delay.seconds) * 10**9 + delay.microseconds * 1000
    return int(delay * 10**9)


class Method:
    """A method of an object. Calling it calls the method, and waits for its result."""

    __slots__ = ("service", "key", "method", "to")

    def __init__(self, service, key, method):
        self.service, self.key, self.method = service, key, method
        self.to = target(service, key, method)

    def __call__(self, *args):
        x = running()
        return x.result(x.invoke(wire.WAIT, self.to, arguments(args, self)))

    def __repr__(self):
        return "%s%s.%s" % (self.service, "/" + self.key if self.key else "", self.method)


class Object:
    """An object of a service, whose attributes are its methods."""

    __slots__ = ("_service", "_key")

    def __init__(self, service, key=""):
        self._service, self._key = service, key

    def __getattr__(self, method):
        if method.startswith("_"):
            raise AttributeError("%s has no method %s that can be called" % (self._service, method))
        return Method(self._service, self._key, method)

    def __repr__(self):
        return "%s/%s" % (self._service, self._key) if self._key else self._service


class Future:
    """A result that comes later."""

    __slots__ = ("handle",)

    def __init__(self, handle):
        self.handle = handle

    def wait(self):
        """Waits for the result, and returns it, or raises what the method has failed with."""
        x = running()
        return x.result(x.wait([self.handle])[0])

    def __await__(self):
        return self.wait()
        yield  # it never does: what is awaited is there

    def __reduce__(self):
        raise TypeError("what was started is of this request: wait for its result, and keep that")

    def __repr__(self):
        return "<future %d>" % self.handle


def wait_all(futures):
    """The results of futures, in their order. The error is that of the first one that has failed."""
    if not futures:
        return []
    x = running()
    return [x.result(v) for v in x.wait([f.handle for f in futures])]
