"""weft: what functions in Python can do besides taking an event and returning a result.

    import weft

    def handler(event, context):
        view = weft.take("matrix")                    # memoryview, without a copy
        buf = weft.alloc(8 * 1000)                    # memory that others will read
        numpy.frombuffer(buf.view, dtype="f8")[:] = 1
        weft.put("ones", buf)                         # published without a copy
        return {"step": context.step, "bytes": len(view)}

Names of slots are those of the app: "x" is published for the own step, "STEP/x"
or "STEP[2]/x" is another's. All functions raise subclasses of weft.Error.
"""
from __future__ import annotations

import contextvars as _contextvars
import os as _os
import time as _time

from . import _slots
from ._slots import (
    Ambiguous,
    Buffer,
    Closed,
    Deadlock,
    Error,
    Exists,
    NotFound,
    QuotaExceeded,
    TypeMismatch,
    alloc,
    array,
    borrow,
    put,
    take,
    wait,
)

__all__ = [
    "Ambiguous", "Buffer", "Closed", "Context", "Deadlock", "Error", "Exists", "NotFound", "QuotaExceeded", "TypeMismatch",
    "alloc", "array", "borrow", "context", "put", "take", "wait",
]


class Context:
    """What a call is part of. It is the handler's second argument.

    run       the run's id, "" for a single invocation
    step      the step's path in the run, such as "count[3]"
    index     of the foreach, -1 without one
    attempt   1 for the first
    key       stays the same over attempts: the key for what must happen once
    deadline  seconds of time.monotonic() at which the call is ended, None: never
    trace     traceparent of the W3C, "" without one
    """

    __slots__ = ("function", "run", "step", "index", "attempt", "key", "deadline", "trace")

    def __init__(self, meta):
        self.function = meta.get("function", "")
        self.run = meta.get("run", "")
        self.step = meta.get("step", "")
        self.index = meta.get("index", -1)
        self.attempt = meta.get("attempt", 1)
        self.key = meta.get("key", "")
        self.trace = meta.get("trace", "")
        left = meta.get("left")
        self.deadline = None if left is None else _time.monotonic() + left

    def remaining(self):
        """Seconds until the deadline, None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - _time.monotonic())

    def __repr__(self):
        return "weft.Context(run=%r, step=%r, index=%r, attempt=%r)" % (self.run, self.step, self.index, self.attempt)


_current = _contextvars.ContextVar("weft_context", default=None)
_last = None  # what code sees that has left its call's context, such as threads


def _begin(context):
    global _last
    _last = context
    _current.set(context)


def _reopen(fd):
    """The call that begins has its buffers behind fd; -1: it has none."""
    if fd >= 0:
        _os.environ["WEFT_FD"] = str(fd)
    else:
        _os.environ.pop("WEFT_FD", None)
    _slots._connection.reset()


def context():
    """The context of the call that this code serves, None outside of one."""
    return _current.get() or _last
