"""Calls of other services, and futures of what comes later."""
import datetime
import inspect

from . import _forms
from . import _frames as wire
from ._execution import Error, running
from ._values import encode_json
from ._words import brief

peers = {}  # the services of the app: name -> class, "" where the app file names none
_names = {}
_signatures = {}  # of functions


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


def arguments(args, named, of, signature):
    """Arguments, as they are on the wire: those given by name in their order. signature is None where nothing is known of the method."""
    if named:
        if signature is None:
            raise TypeError("%s: what its arguments are called is not known here: give them in their order, or call it by its class, as in Account.at(KEY).put(amount=5)" % (of,))
        args = signature.ordered(args, named)
    parts = [wire.uvarint(len(args))]
    for i, a in enumerate(args):
        if signature is not None:
            a = signature.sent(i, a)
        try:
            parts.append(wire.blob(encode_json(a)))
        except (TypeError, ValueError, RecursionError) as e:
            raise Error("argument %d of %s: %s" % (i + 1, of, e)) from None
    return b"".join(parts)


def _signature(cls, name):
    """What a method of a class takes and gives, None if that cannot be known."""
    f = inspect.getattr_static(cls, name, None)
    if not inspect.isfunction(f):
        return None
    found = _signatures.get(f)
    if found is None:
        found = _signatures[f] = _forms.Signature(name, f, True)
    return found


def nanoseconds(delay):
    """A time that is given in seconds, or as a timedelta."""
    if isinstance(delay, datetime.timedelta):
        n = (delay.days * 86400 + delay.seconds) * 10**9 + delay.microseconds * 1000
    elif isinstance(delay, (int, float)) and abs(delay) < 1 << 63:
        n = int(delay * 10**9)
    else:
        raise TypeError("a time is a number of seconds, or a timedelta, and %s is not" % brief(delay))
    if n >> 63 not in (0, -1):
        raise ValueError("%s is longer than a time may be, which is 292 years" % brief(delay))
    return n


class Method:
    """A method of an object. Calling it calls the method, and waits for its result."""

    __slots__ = ("service", "key", "method", "to", "signature")

    def __init__(self, service, key, method, of=None):
        self.service, self.key, self.method = service, key, method
        self.to = target(service, key, method)
        self.signature = None if of is None else _signature(of, method)

    def __call__(self, *args, **named):
        x = running()
        return self.received(x.result(x.invoke(wire.WAIT, self.to, self.given(args, named))))

    def given(self, args, named):
        """Arguments, as they are on the wire."""
        return arguments(args, named, self, self.signature)

    def received(self, v):
        """A result, as the method's annotation says."""
        if self.signature is None or self.signature.result is None:
            return v
        try:
            return self.signature.result.read(v)
        except _forms.Mismatch as e:
            raise Error("the result of %s%s" % (self, e)) from None

    def __repr__(self):
        return "%s%s.%s" % (self.service, "/" + self.key if self.key else "", self.method)


class Object:
    """An object of a service, whose attributes are its methods. Its class, if it is known, says what they take and give."""

    __slots__ = ("_service", "_key", "_of")

    def __init__(self, service, key="", of=None):
        self._service, self._key, self._of = service, key, of

    def __getattr__(self, method):
        if method.startswith("_"):
            raise AttributeError("%s has no method %s that can be called" % (self._service, method))
        return Method(self._service, self._key, method, getattr(self, "_of", None))

    def __repr__(self):
        return "%s/%s" % (self._service, self._key) if self._key else self._service


class Future:
    """A result that comes later."""

    __slots__ = ("handle", "of")

    def __init__(self, handle, of=None):
        """of is the Method that was started, if one was."""
        self.handle, self.of = handle, of

    def taken(self, x, value):
        """What has come, or raises what the method has failed with."""
        v = x.result(value)
        return v if self.of is None else self.of.received(v)

    def wait(self):
        """Waits for the result, and returns it, or raises what the method has failed with."""
        x = running()
        return self.taken(x, x.wait([self.handle])[0])

    def __await__(self):
        return self.wait()
        yield  # it never does: what is awaited is there

    def __reduce__(self):
        raise TypeError("what was started is of this request: wait for its result, and keep that")

    def __repr__(self):
        return "<future %d>" % self.handle


def handles(futures):
    """What is waited for. The error is a TypeError."""
    for f in futures:
        if not isinstance(f, Future):
            raise TypeError("%s is not a future: start(Account.at(KEY).put, 5) gives one, and a call has its result already" % brief(f))
    return [f.handle for f in futures]


def wait_all(futures):
    """The results of futures, in their order. The error is that of the first one that has failed."""
    if not futures:
        return []
    x = running()
    return [f.taken(x, v) for f, v in zip(futures, x.wait(handles(futures)))]
