"""Time and chance, as methods have them: the same again whenever a method is run again.

Modules that a service imports get these in place of Python's. Outside of a method, while a module is
imported, and in what run() does, they are the real ones.
"""
import _posixsubprocess
import _random
import _thread
import ast
import datetime
import os
import random
import socket
import sys
import threading
import time
import uuid

from . import _execution
from ._execution import Refused

_real_datetime, _real_date = datetime.datetime, datetime.date
_Random = random.Random
_reseed = _random.Random.seed


def _method():
    """The execution whose time and chance count, if there is one."""
    x = _execution.current
    return None if x is None or x.effect else x


def _chance(x):
    """Randomness of an execution, apart from that of the module random."""
    if x.chance is None:
        x.chance = _Random(x.seed ^ 0x9E3779B97F4A7C15)
    return x.chance


def _clock(real, unit):
    def clock():
        x = _method()
        return real() if x is None else x.time if unit == 1 else x.time / unit

    return clock


def _calendar(real, at):
    def calendar(*args):
        x = _method()
        if x is None or len(args) > at and args[at] is not None:
            return real(*args)
        return real(*args[:at], x.time / 1e9) if at == 0 else real(args[0], time.localtime(x.time / 1e9))

    return calendar


def _sleep(real):
    def sleep(seconds):
        if _method() is None:
            return real(seconds)
        from . import service

        return service.sleep(seconds)

    return sleep


class _Like(type):
    """Makes Python's own times instances of the classes here, too."""

    def __instancecheck__(cls, v):
        return isinstance(v, cls.real)

    def __subclasscheck__(cls, c):
        return issubclass(c, cls.real)


class _Date(_real_date, metaclass=_Like):
    real = _real_date

    @classmethod
    def today(cls):
        x = _method()
        return cls.fromtimestamp(time.time() if x is None else x.time / 1e9)


class _DateTime(_real_datetime, metaclass=_Like):
    real = _real_datetime

    @classmethod
    def now(cls, tz=None):
        x = _method()
        if x is None:
            return super().now(tz)
        return cls.fromtimestamp(x.time / 1e9, tz)

    @classmethod
    def utcnow(cls):
        x = _method()
        if x is None:
            return super().utcnow()
        return cls.fromtimestamp(x.time / 1e9, datetime.timezone.utc).replace(tzinfo=None)

    @classmethod
    def today(cls):
        return cls.now()



_SECRETS = "secrets are not the same when a method is run again: get them in run(…); random and uuid give chance that is"
_THREADS = "a method has no threads: they would not do the same when it is run again"
_PROGRAMS = "a method starts no programs: they belong into run(…)"
_NETWORK = "a method does not speak with others by sockets: what they say belongs into run(…)"
NO_LOOP = "a method has no event loop: it awaits what it has started itself, and nothing else; an effect of run(…) may be async"


def place(frame=None):
    """Where the code of the service is, as FILE:LINE and a colon, for messages."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("/fn/"):
            return _at(frame, frame.f_lineno)
        frame = frame.f_back
    return ""


def _at(frame, line):
    return "%s:%d: " % (frame.f_code.co_filename[len("/fn/"):], line)


def _apart_from_methods(of, name, why):
    """Refuses a function in methods, and says where."""
    real = getattr(of, name, None)
    if real is None:
        return

    def refused(*args, **kw):
        if _method() is not None:
            raise Refused(place() + why)
        return real(*args, **kw)

    refused.__name__ = name
    setattr(of, name, refused)


def _uuid4(real):
    def uuid4():
        x = _method()
        if x is None:
            return real()
        return uuid.UUID(int=_chance(x).getrandbits(128), version=4)

    return uuid4


def _uuid1(real):
    def uuid1(node=None, clock_seq=None):
        x = _method()
        if x is None:
            return real(node, clock_seq)
        chance = _chance(x)
        ticks = x.time // 100 + 0x01B21DD213814000 + chance.getrandbits(12)
        seq = chance.getrandbits(14) if clock_seq is None else clock_seq
        mac = chance.getrandbits(48) | 1 << 40 if node is None else node
        return uuid.UUID(fields=(ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF, seq >> 8 & 0x3F, seq & 0xFF, mac), version=1)

    return uuid1


def _seed(real):
    def seed(self, a=None, version=2):
        x = _method()
        if a is None and x is not None:
            a = _chance(x).getrandbits(64)
        return real(self, a, version)

    return seed


def _read_clock(real, unit):
    def clock(which):
        x = _method()
        return real(which) if x is None else x.time if unit == 1 else x.time / unit

    return clock


def _node(real):
    def getnode():
        x = _method()
        return real() if x is None else _Random(x.seed).getrandbits(48) | 1 << 40

    return getnode


def explained(e):
    """Says what asyncio, or an await of what is there, means by an error in a method."""
    if type(e) is RuntimeError and "no running event loop" in str(e):
        why = NO_LOOP
    elif type(e) is TypeError and "can't be used in 'await' expression" in str(e):
        why = "%s: a call has its result already; await what start(…) gives, or leave await out" % e
    else:
        return e
    where, trace = "", e.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("/fn/"):
            where = _at(trace.tb_frame, trace.tb_lineno)
        trace = trace.tb_next
    return Refused(where + why)


def install():
    """Puts what is here in the place of Python's own."""
    for name, unit in (("time", 1e9), ("monotonic", 1e9), ("perf_counter", 1e9), ("process_time", 1e9), ("time_ns", 1),
                       ("monotonic_ns", 1), ("perf_counter_ns", 1), ("process_time_ns", 1), ("thread_time", 1e9), ("thread_time_ns", 1)):
        setattr(time, name, _clock(getattr(time, name), unit))
    for name, at in (("localtime", 0), ("gmtime", 0), ("ctime", 0), ("strftime", 1)):
        setattr(time, name, _calendar(getattr(time, name), at))
    time.clock_gettime, time.clock_gettime_ns = _read_clock(time.clock_gettime, 1e9), _read_clock(time.clock_gettime_ns, 1)
    time.sleep = _sleep(time.sleep)
    for new, old in ((_Date, _real_date), (_DateTime, _real_datetime)):
        new.__name__ = new.__qualname__ = old.__name__
        new.__module__ = "datetime"
        setattr(datetime, old.__name__, new)
    import copyreg

    copyreg.pickle(_real_datetime, lambda v: (_DateTime, v.__reduce__()[1]))
    copyreg.pickle(_real_date, lambda v: (_Date, v.__reduce__()[1]))
    uuid.uuid4, uuid.uuid1 = _uuid4(uuid.uuid4), _uuid1(uuid.uuid1)
    uuid.getnode = _node(uuid.getnode)
    _Random.seed = _seed(_Random.seed)
    _apart_from_methods(os, "urandom", _SECRETS)
    random._urandom = os.urandom
    for of, names, why in (
        (os, ("getrandom",), _SECRETS),
        (threading.Thread, ("start",), _THREADS),
        (_thread, ("start_new_thread", "start_new"), _THREADS),
        (os, ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen"), _PROGRAMS),
        (_posixsubprocess, ("fork_exec",), _PROGRAMS),
        (sys.modules.get("subprocess"), ("_fork_exec",), _PROGRAMS),
        (socket.socket, ("connect", "connect_ex", "sendto", "bind"), _NETWORK),
        (socket, ("getaddrinfo",), _NETWORK),
        (socket, ("socketpair",), NO_LOOP),
    ):
        for name in names:
            _apart_from_methods(of, name, why)


def used(modules):
    """Whether modules, with their trees, may use generators that begin has to seed: none but Python's own do not."""
    if any("/layers/" in str(getattr(m, "__file__", "")) for m in list(sys.modules.values())):
        return True
    return any(isinstance(node, (ast.Import, ast.ImportFrom)) and "random" in ast.dump(node) for _, _, tree in modules for node in ast.walk(tree))


def apart(effect):
    """Does a side effect with chance of its own: when it is recorded, the method's goes on as if it had been done."""
    numpy = sys.modules.get("numpy.random")
    state, other = random.getstate(), numpy and numpy.get_state()
    _reseed(random._inst)
    try:
        return effect()
    finally:
        random.setstate(state)
        if numpy is not None:
            numpy.set_state(other)


def begin(x):
    """Gives the modules' own generators what an execution was given."""
    _reseed(random._inst, x.seed)
    random._inst.gauss_next = None
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(x.seed & 0xFFFFFFFF)
