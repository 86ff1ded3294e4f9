"""Refuses state that is not persistent: module variables, attributes of classes and default arguments that can change.

What a method left there is there in one instance and not in another, and not after a crash.
"""
import array
import ast
import collections
import contextvars
import dis
import enum
import functools
import random
import sys
import threading
import types
import weakref
from collections.abc import Iterator

_CHANGEABLE = (list, dict, set, bytearray, collections.deque, collections.UserDict, collections.UserList, collections.ChainMap, array.array, random.Random, Iterator,
               weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet, threading.local, contextvars.ContextVar, functools._lru_cache_wrapper)
_MAKERS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter"}
_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def check(modules, problem):
    """Looks through modules of a service, given with their trees; problem(path, line, text) hears of what is wrong."""
    own = {module.__name__ for module, _, _ in modules}
    for module, path, tree in modules:
        _scope(tree, vars(module), "", own, lambda node, what: problem(path, node.lineno, what))
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                problem(path, node.lineno, "global %s: what a method leaves in a variable of the module is not there in the next call: use a field" % ", ".join(node.names))
            for place, name in _changed(node):
                problem(path, place.lineno, "a side effect changes %s, a variable of the method: where its result is recorded it is not done again; return what is needed" % name)
            for place in _kept(node, vars(module)):
                problem(path, place.lineno, "%s is assigned: what a method leaves in an attribute of a class or a module is not there in the next call: use a field" % ast.unparse(place))
            if isinstance(node, _FUNCTIONS):
                for default in node.args.defaults + [d for d in node.args.kw_defaults if d is not None]:
                    if _makes(default):
                        problem(path, default.lineno, "a default argument that can change is kept between calls: use None, and make it in the function")


def _kept(function, names):
    """The attributes of modules, classes and functions that a function assigns."""
    if not isinstance(function, _FUNCTIONS):
        return
    nodes = list(ast.walk(function))
    names = {**names, **_imported(nodes)}
    own = {n.arg for n in nodes if isinstance(n, ast.arg)} | {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("setattr", "delattr") and node.args:
            of = node.args[0]
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            of = node.value
        else:
            continue
        while isinstance(node, ast.Subscript) and isinstance(of, (ast.Attribute, ast.Subscript)):
            of = of.value  # of what a module or class has
        if isinstance(of, ast.Name):
            kept = of.id not in own and isinstance(names.get(of.id), (type, types.ModuleType, types.FunctionType))
        else:
            kept = (isinstance(of, ast.Attribute) and of.attr == "__class__"
                    or isinstance(of, ast.Call) and isinstance(of.func, ast.Name) and of.func.id in ("type", "globals"))
        if kept:
            yield node


def _imported(nodes):
    """What a function imports by itself."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for a in node.names:
                found[a.asname or a.name.split(".")[0]] = sys.modules.get(a.name if a.asname else a.name.split(".")[0], types)
        elif isinstance(node, ast.ImportFrom):
            module = sys.modules.get(node.module or "")
            for a in node.names:
                found[a.asname or a.name] = getattr(module, a.name, None)
    return found


def _changed(function):
    """The variables of a function that side effects in it assign, which run() is given by name or as a lambda."""
    if not isinstance(function, _FUNCTIONS) or isinstance(function, ast.Lambda):
        return
    given = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "run" and len(node.args) == 2:
            given.add(getattr(node.args[1], "id", ""))
    for effect in ast.walk(function):
        if isinstance(effect, (ast.FunctionDef, ast.AsyncFunctionDef)) and effect is not function and effect.name in given:
            for node in ast.walk(effect):
                if isinstance(node, ast.Nonlocal):
                    yield node, ", ".join(node.names)


def _makes(node):
    return isinstance(node, _DISPLAYS) or isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in _MAKERS


def _scope(scope, names, within, own, problem):
    """Checks what a module or a class has."""
    seen = set()
    for node in _statements(scope.body):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            seen.update((a.asname or a.name).split(".")[0] for a in node.names)
        elif isinstance(node, ast.ClassDef):
            seen.add(node.name)
            cls = names.get(node.name)
            if isinstance(cls, type) and not issubclass(cls, enum.Enum):
                _scope(node, vars(cls), within + node.name + ".", own, problem)
        elif isinstance(node, _FUNCTIONS):
            seen.add(node.name)
            _function(node, names.get(node.name), within + node.name, own, problem)
        for target in _targets(node):
            seen.add(target.id)
            _variable(target, within, target.id, names, own, problem)
    if "*" in seen or not scope.body:
        return
    for name in sorted(n for n in names if n not in seen and not n.startswith("_")):  # by globals() or setattr
        _variable(scope if isinstance(scope, ast.ClassDef) else scope.body[0], within, name, names, own, problem)


def _variable(node, within, name, names, own, problem):
    if name in names and not (name.startswith("__") and name.endswith("__")):
        what = _state(names[name], own)
        if what:
            problem(node, "%s%s is %s, which can change: what a method changes there is not the same in all instances; "
                    "make it a tuple, a frozenset or types.MappingProxyType, or a field" % (within, name, what))


def _statements(body):
    """The statements of a module or class, with those that stand within others."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, part, []))
        if isinstance(node, ast.Try):
            for handler in node.handlers:
                yield from _statements(handler.body)


def _function(node, f, name, own, problem):
    """Checks what a function keeps from one call to the next."""
    f = getattr(f, "fget", getattr(f, "__func__", f))
    if isinstance(f, functools._lru_cache_wrapper):
        problem(node.decorator_list[0] if node.decorator_list else node,
                "%s keeps its results: they are there in one instance and not in another, and stay when the state changes; use a field, or no cache" % name)
        return
    if not isinstance(f, types.FunctionType):
        return
    kept = f.__module__ in own and f.__code__.co_freevars and _closed(f, own)
    if kept:
        problem(node, "%s keeps %s between calls, in a variable that it closes over: use a field" % (name, kept))
    places = node.args.defaults + [d for d in node.args.kw_defaults if d is not None]
    values = [*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()]
    if len(places) == len(values):
        for place, v in zip(places, values):
            what = "" if _makes(place) else _state(v, own)
            if what:
                problem(place, "a default argument is %s, which can change, and is kept between calls: use None, and make it in the function" % what)


def _closed(f, own):
    """What a function can keep in variables of a function that has returned."""
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or ()):
        if any(i.opname in ("STORE_DEREF", "DELETE_DEREF") and i.argval == name for i in dis.get_instructions(f.__code__)):
            return name
        try:
            v = cell.cell_contents
        except ValueError:
            continue  # it was never assigned
        what = "" if isinstance(v, types.FunctionType) else _state(v, own)
        if what:
            return "%s, %s" % (name, what)
    return ""


def _targets(node):
    """The names that a statement assigns."""
    if isinstance(node, ast.Assign):
        places = node.targets
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        if isinstance(node, ast.AnnAssign) and node.value is None:
            return
        places = [node.target]
    else:
        return
    for place in places:
        for n in ast.walk(place):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                yield n


def _state(v, own):
    """What a value is if it can change, as words; else nothing."""
    t = type(v)
    if isinstance(v, _CHANGEABLE):
        return "a " + t.__name__ if t.__name__[0] not in "aeiou" else "an " + t.__name__
    if t is tuple:
        return next((what for what in (_state(e, own) for e in v) if what), "")
    if isinstance(v, types.FunctionType):
        kept = v.__module__ in own and _closed(v, own)
        return "a function that keeps %s" % kept if kept else ""
    if isinstance(v, (type, tuple, BaseException, enum.Enum)) or t.__module__ not in own:
        return ""
    frozen = getattr(t, "__dataclass_params__", None)
    if frozen is not None and frozen.frozen:
        return ""
    return "an object of %s" % t.__name__
