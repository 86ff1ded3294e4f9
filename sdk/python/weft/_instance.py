"""An instance of a service: it executes methods for the node, one at a time, until their stream ends."""
import decimal
import os
import sys
import traceback

from . import _calls, _execution, _fit, _frames, _globals, _mu2sls, _recorded, _specification, _values
from ._execution import Continued, Error, Execution, Over, Unreadable
from ._forms import Mismatch
from ._specification import Unfit
from ._values import decode_json, encode_json


def prepare(peers):
    """Is before the import of a service: its modules get time and chance that can be repeated."""
    _calls.peers.update(peers)
    _recorded.install()
    _mu2sls.install()


def load(name, module, handler, declared=None):
    """The specification of a service, after its import; None if the handler is a function, which speaks frames itself.
    declared is what the app file says of its methods, None where there is none."""
    cls = _specification.find(name, module, handler)
    if cls is None:
        if handler and callable(getattr(module, handler, None)) and not isinstance(getattr(module, handler), type):
            return None
        there = sorted({c.__name__ for c in _specification.known()})
        if handler:
            raise LookupError("module %s has no service %s: a class with @decorators.service, or one derived from weft.service.Service%s" % (
                module.__name__, handler, "; it has " + ", ".join(there) if there else ""))
        raise LookupError("module %s has %s: say which class is service %s, as in `handler: %s:%s`" % (
            module.__name__, "the services " + ", ".join(there) if there else "no service", name, module.__name__, there[0] if there else "Name"))
    problems = []

    def problem(path, line, text):
        problems.append((path, line, text))

    modules = _specification.sources()
    spec = _specification.specify(cls, modules, problem)
    for other in _specification.known():
        if other is not cls:
            _specification.specify(other, modules, problem)
    _globals.check(modules, problem)
    if declared:
        _specification.compare(name, spec, declared, problem)
    if problems:
        raise Unfit(["%s:%d: %s" % p for p in sorted(set(problems))])
    spec.chance = _recorded.used(modules)
    return spec


def outcome(effect, key, encode):
    """What a side effect has come to, as (code, text, data)."""
    kept = _kept(effect)
    try:
        code = getattr(effect, "__code__", None)
        takes = code is not None and code.co_argcount - bool(getattr(effect, "__self__", None)) - len(effect.__defaults__ or ()) == 1
        v = effect(key) if takes else effect()
        if hasattr(v, "__await__"):
            import asyncio

            async def awaited():
                return await v

            v = asyncio.run(awaited())
        data = encode(v)
        for name, was in kept.items():
            if _kept(effect).get(name) != was:
                raise TypeError("%s:%d: a side effect has changed %s, a variable of the method: where its result is recorded it is not done again; return what is needed" % (
                    code.co_filename.replace("/fn/", "", 1), code.co_firstlineno, name))
        return _frames.OK, b"", data
    except Exception as e:
        return _frames.FAILED, _execution.describe(e).encode("utf-8", "replace"), b""


_SHOWN = frozenset(("builtins", "collections", "array", "_io", "random"))


def _kept(effect):
    """The variables of a method that a side effect has in its hands, as bytes that tell whether they have changed.
    What objects of libraries note in themselves (a urllib.request.Request, a client) is their own business."""
    found = {}
    code = getattr(effect, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(effect, "__closure__", None) or ()):
        try:
            v = cell.cell_contents
            of = type(v).__module__
            if of in _SHOWN or getattr(sys.modules.get(of), "__file__", "").startswith("/fn/"):
                found[name] = _values.encode(v)
        except Exception:
            found[name] = b""  # of which nothing is known
    return found


def drive(coroutine):
    """Runs a method that is a coroutine. What it awaits is there."""
    try:
        coroutine.send(None)
    except StopIteration as e:
        return e.value
    where = _recorded.place(coroutine.cr_frame)
    coroutine.close()
    raise Error(where + _recorded.NO_LOOP)


def arguments(x):
    """What a caller has sent."""
    args = []
    try:
        for data in x.args:
            args.append(decode_json(data))
    except (ValueError, RecursionError) as e:
        raise Error("%s: argument %d is not JSON: %s" % (x.method, len(args) + 1, e)) from None
    return args


def execute(spec, node, frame):
    """Runs a method. The result is the last frame of its execution, None if the node has given that up."""
    x = Execution(node, frame)
    if x.method == _fit.METHOD:
        return x.last(_frames.OK, _fit.misfits(spec, x.known).encode("utf-8", "replace"), b"")
    last = None
    try:
        try:
            method = spec.methods.get(x.method)
            if method is None:
                raise Error("there is no method %s.%s" % (x.service, x.method))
            args = arguments(x)
            if not method.plain or len(args) != method.most:
                args = method.signature.received(args)
            x.signature = method.signature
            _execution.current = x
            if spec.chance:
                _recorded.begin(x)
            decimal.setcontext(spec.decimals.copy())  # what a method changes in it is gone
            self = spec.new(spec.cls)
            x.edition, x.mode = spec.edition(self), method.mode
            result = method.run(self, *args)
            if method.coroutine:
                result = drive(result)
            if x.ending is not None:
                raise x.ending  # the method has caught it
            if x.abandoned:
                _mu2sls.ended(x)
            try:
                data = encode_json(method.result(result))
            except (TypeError, ValueError, RecursionError) as e:
                raise Error("the result of %s: %s" % (x.method, e)) from None
            except Mismatch as e:
                raise Error("the result of %s%s" % (x.method, e)) from None
            last = x.last(_frames.OK, b"", data)
        except Continued as e:
            last = x.head(_frames.CONTINUE) + e.arguments
        except (MemoryError, SystemExit, KeyboardInterrupt) as e:
            traceback.print_exc()
            last = x.failed(_frames.PANICKED, _execution.describe(e))
        except Unreadable as e:
            last = x.failed(_frames.REFUSED, str(e))
        except Over:
            raise
        except BaseException as e:  # CancelledError, and those of the app, too
            e = _recorded.explained(e)
            if not isinstance(e, Error):
                explain(x, e)
            last = x.failed(_frames.FAILED, _execution.describe(e))
    except Over:
        pass
    finally:
        _execution.current = None
    return None if x.over else last


def explain(x, e):
    """Writes the traceback of an exception to the log, without what is weft's."""
    import __main__

    print("%s.%s: %s" % (x.service, x.method, getattr(__main__, "explain", repr)(e)), file=sys.stderr)


def serve(spec, fd):
    """Executes methods until the stream ends."""
    node = _frames.Stream(fd)
    while True:
        frame = node.next()
        if frame is None:
            return
        if frame[0] != _frames.START:
            continue  # of an execution that is over
        last = execute(spec, node, frame)
        if last is not None:
            node.say(last)


def main(spec):
    """Is the instance that weft starts."""
    serve(spec, int(os.environ["WEFT_SERVICE_FD"]))
