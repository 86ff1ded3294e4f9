"""Methods that only read: what their code shows of whether they do. What it does not show, their execution does."""
import ast
import types

from . import service

_WRITERS = frozenset((
    "__delitem__", "__setitem__", "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert",
    "intersection_update", "pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort", "symmetric_difference_update", "update",
))
_MORE = ("after", "compensate", "continue_with", "promise", "run", "send", "sleep")


def check(cls, definition, fields, names, wrong):
    """Refuses writes in methods that are marked, and in methods of the class that they use."""
    methods = {f.name: f for f in definition.body if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for name in methods:
        mode = mode_of(vars(cls).get(name))
        if mode:
            _look(methods, name, "%s.%s is @%s" % (cls.__name__, name, mode), mode, fields, names, wrong, set())


def mode_of(f):
    """What a method is marked as: shared, snapshot, or nothing."""
    return getattr(f, "weft_mode", "")


def _look(methods, name, who, mode, fields, names, wrong, seen):
    if name in seen:
        return
    seen.add(name)
    f = methods[name]
    first = (f.args.posonlyargs + f.args.args)[:1]
    own = first[0].arg if first else ""
    for node in ast.walk(f):
        written = ""
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            written = _field(node, own, fields)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _WRITERS:
                written = _field(node.func.value, own, fields)
            if isinstance(node.func.value, ast.Name) and node.func.value.id == own and node.func.attr in methods:
                _look(methods, node.func.attr, who, mode, fields, names, wrong, seen)
        if written:
            wrong(node, "%s, and writes %s" % (who, written))
        if mode == "snapshot" and isinstance(node, ast.Call):
            more = _more(node.func, names)
            if more:
                wrong(node, "%s: it only reads, and %s does more" % (who, more))


def _field(node, own, fields):
    """The field that an expression is, or is a part of."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return node.attr if node.value.id == own and node.attr in fields else ""
        node = node.func if isinstance(node, ast.Call) else node.value
    return ""


def _more(f, names):
    """The function of weft.service that is called, if it does more than to read."""
    if isinstance(f, ast.Name):
        called = names.get(f.id)
    elif isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and isinstance(names.get(f.value.id), types.ModuleType):
        called = getattr(names[f.value.id], f.attr, None)
    else:
        return ""
    return next((name for name in _MORE if called is getattr(service, name)), "")
