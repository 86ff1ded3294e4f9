"""Services in the format of mu2sls: a class with @decorators.service, whose __init__ says by comments what is persistent.

What its specifications import is there, unless the folder of the service has it itself, and its words are
known without an import.
"""
import ast
import builtins
import sys
import types
from importlib.machinery import PathFinder

from . import _calls, _state
from . import _frames as wire
from ._execution import TransactionException, running
from ._values import encode

classes = []  # that were decorated
_COROUTINE = 0x80 | 0x200  # of code: inspect.CO_COROUTINE and CO_ASYNC_GENERATOR


def service(cls):
    """The decorator."""
    classes.append(cls)
    return cls


def SyncInvoke(service, method, *args):
    """Calls a method and returns its result. If that aborts the transaction, it is over."""
    return _joined(lambda: _calls.Method(service, "", method)(*args))


def _joined(get):
    try:
        return get()
    except TransactionException:
        running().leave_all()
        raise


def AsyncInvoke(service, method, *args):
    """Starts a method. Its result comes with Wait."""
    x = running()
    to = _calls.Method(service, "", method)
    return _calls.Future(x.invoke(wire.ASYNC, to.to, to.given(args, None)))


class _Awaited:
    """What an async method awaits: it is there at once."""

    def __init__(self, get):
        self.get = get

    def __await__(self):
        return self.get()
        yield


def _waited(get):
    """A result for who has asked: a coroutine awaits it, other code has it."""
    return _Awaited(get) if sys._getframe(2).f_code.co_flags & _COROUTINE else get()


def Wait(promise):
    """The result of what was started; in an async method it is awaited."""
    return _waited(lambda: _joined(lambda: _calls.wait_all([promise])[0]))


def WaitAll(*promises):
    """The results of what was started, in order; in an async method they are awaited."""
    return _waited(lambda: _joined(lambda: _calls.wait_all(promises)))


def BeginTx():
    """Begins a transaction. It takes in all that is called until it ends."""
    x = running()
    if x.broken:
        x.leave_all()
    x.manual = True
    x.begin()


def CommitTx():
    """Commits. TransactionException if the transaction has come to nothing."""
    x = running()
    if not x.within:
        raise TransactionException("there is no transaction")
    try:
        x.commit()
    except TransactionException:
        raise
    except Exception as e:
        raise TransactionException(str(e)) from None


def AbortTxNoExc():
    """Aborts the transaction and goes on. A method that has none aborts its caller's."""
    x = running()
    if x.within:
        x.abort()
    elif not x.began:
        x.abandoned = True


def AbortTx():
    """Aborts the transaction and raises TransactionException."""
    AbortTxNoExc()
    raise TransactionException


WORDS = (SyncInvoke, AsyncInvoke, Wait, WaitAll, BeginTx, CommitTx, AbortTx, AbortTxNoExc, TransactionException)


def install():
    """Makes the words known, and the modules that specifications import."""
    for word in WORDS:
        setattr(builtins, word.__name__, word)
    decorators = types.ModuleType("compiler.decorators")
    decorators.service = service
    exception = types.ModuleType("runtime.transaction_exception")
    exception.TransactionException = TransactionException
    for package, name, module in (("compiler", "decorators", decorators), ("runtime", "transaction_exception", exception)):
        if PathFinder.find_spec(package) is not None:
            continue
        parent = types.ModuleType(package)
        parent.__path__ = []
        setattr(parent, name, module)
        sys.modules[package] = parent
        sys.modules[module.__name__] = module
    sys.modules.setdefault("decorators", decorators)


def _initial(expression, path, scope):
    """What makes an initial value: the expression, each time."""
    code = compile(ast.Expression(expression), path, "eval")
    return lambda: eval(code, scope)


def fields(cls, definition, path, scope, problem):
    """The persistent fields that __init__ declares, as descriptors by name; problem hears of what is none."""
    found = {}
    init = next((f for f in definition.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
    for statement in init.body if init is not None else ():
        if isinstance(statement, ast.Pass) or isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        comment, targets = getattr(statement, "type_comment", None), getattr(statement, "targets", ())
        if isinstance(statement, ast.AnnAssign):
            comment, targets = ast.unparse(statement.annotation).strip("'\""), (statement.target,)
        if not (len(targets) == 1 and isinstance(targets[0], ast.Attribute) and isinstance(targets[0].value, ast.Name)
                and targets[0].value.id == "self" and statement.value is not None):
            problem(statement, "__init__ of a service only assigns its fields: self.f = VALUE # type: Persistent[TYPE]")
            continue
        name = targets[0].attr
        if comment is None or not comment.startswith("Persistent"):
            problem(statement, "self.%s is not persistent: write `# type: Persistent[TYPE]` behind it" % name)
            continue
        inner = comment[len("Persistent"):].strip("[] ").lower()
        make = _initial(statement.value, path, scope)
        try:
            encode(make())
        except Exception as e:
            problem(statement, "the initial value of self.%s: %s: %s" % (name, type(e).__name__, e))
            continue
        if inner.startswith("dict") or not inner and isinstance(statement.value, ast.Dict):
            if not isinstance(make(), dict):
                problem(statement, "self.%s is a dict, and its initial value is not" % name)
                continue
            found[name] = _state.Entries(name, make if make() else None, _state.Map)
        else:
            found[name] = _state.Value(name, make)
    return found


def ended(x):
    """What a method that has returned still says by how it did: that its caller's transaction is aborted."""
    if x.abandoned:
        raise TransactionException

