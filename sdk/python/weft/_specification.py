"""What a service is, read from its class: its fields, and its methods with what they take."""
import ast
import decimal
import functools
import inspect
import sys
import typing

from . import _calls, _forms, _mu2sls, _reading, _recorded, _state, _types, service
from ._edition import Edition
from ._execution import Error
from ._values import decode, encode
from ._words import WAYS, shown

FOLDER = "/fn/"
_ZEROS = {int: 0, float: 0.0, str: "", bool: False, bytes: b"", list: [], dict: {}, set: set(), tuple: ()}


class Unfit(Exception):
    """What is wrong with the code of a service, a line for each with its place."""

    def __init__(self, problems):
        self.problems = problems
        super().__init__("\n".join(problems))


def sources():
    """The modules that were imported from the folder of the service, with their files and trees."""
    found = []
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.startswith(FOLDER) or not path.endswith(".py"):
            continue
        with open(path, encoding="utf-8") as f:
            text = f.read()
        try:
            tree = ast.parse(text, path, type_comments=True)
        except SyntaxError:  # a comment that begins like one of a type
            tree = ast.parse(text, path)
        found.append((module, path[len(FOLDER):], tree))
    return found


class Method:
    """A method that can be called."""

    __slots__ = ("name", "run", "signature", "plain", "most", "coroutine", "mode")

    def __init__(self, name, f, typed):
        """The error is _forms.Formless, or what is wrong with an annotation."""
        self.name, self.run = name, f
        self.coroutine = inspect.iscoroutinefunction(f)
        self.mode = _reading.mode_of(f)
        self.signature = _forms.Signature(name, f, typed)
        self.plain, self.most = self.signature.plain(), self.signature.most

    def result(self, v):
        """What the method has returned, as JSON has it."""
        form = self.signature.result
        return v if form is None else form.write(v)


class Specification:
    """A service: its class, and its methods by name."""

    def __init__(self, cls, methods, fields):
        self.cls, self.methods, self.fields = cls, methods, fields
        self.new = cls.__new__
        self.chance = True  # it may use the module random
        self.decimals = decimal.getcontext().copy()  # how many digits there are, as the import has left it
        self.version = getattr(cls, "state_version", 0)
        self.ways = WAYS if issubclass(cls, service.Service) else "give the field another name, or go back to code that reads it"

    def edition(self, obj):
        """The version of the state of an object, None if the class has none."""
        return Edition(self.version, obj._migrate) if self.version else None


def known():
    """All services that were imported."""
    return [c for c in _mu2sls.classes + service.classes if c.__module__ in sys.modules]


def find(name, module, handler):
    """The class of a service in a module: the one that is named, or the only one, or the one that is called as the service is."""
    if handler:
        cls = getattr(module, handler, None)
        return cls if cls in known() else None
    own = [c for c in known() if getattr(module, c.__name__, None) is c]
    named = [c for c in own if _calls.bare(getattr(c, "service_name", c.__name__)) == _calls.bare(name)]
    here = [c for c in own if c.__module__ == module.__name__]
    for fitting in (named, here, own):
        if len(fitting) == 1:
            return fitting[0]
    return None


def _definition(cls, modules):
    for module, path, tree in modules:
        if module.__name__ == cls.__module__:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                    return module, path, node
    raise Unfit(["class %s is not in a file of the service" % cls.__name__])


def specify(cls, modules, problem):
    """Makes a class serve: its fields become descriptors. problem(path, line, text) hears of what is wrong."""
    module, path, definition = _definition(cls, modules)
    modern = issubclass(cls, service.Service)

    def wrong(node, text):
        problem(path, node.lineno, text)

    if modern:
        fields = _annotated(cls, definition, wrong)
        how = "annotate it in the class"
        if "__init__" in vars(cls):
            wrong(next((f for f in definition.body if getattr(f, "name", "") == "__init__"), definition),
                  "a service has no __init__: its fields are annotated in the class, with their initial values")
        if cls.state_version and not hasattr(cls, "_migrate"):
            wrong(definition, "%s has version %d of its state, and does not say how that is made of an earlier one: def _migrate(self, version: int)" % (cls.__name__, cls.state_version))
        elif not cls.state_version and hasattr(cls, "_migrate"):
            wrong(definition, "%s has _migrate, and no version: class %s(Service, version=2)" % (cls.__name__, cls.__name__))
        elif inspect.iscoroutinefunction(getattr(cls, "_migrate", None)):
            wrong(definition, "_migrate of %s is async: it reads and writes the state of its object, and waits for nothing" % cls.__name__)
        names = [n for n in dir(cls) if not n.startswith("_") and n not in vars(service.Service)]
        for n in ("at", "service_name", "state_version"):
            f = inspect.getattr_static(cls, n)
            if inspect.isfunction(f) or isinstance(f, property):
                wrong(next((d for d in definition.body if getattr(d, "name", "") == n), definition), "%s is not the name of a method: it is one of all services" % n)
    else:
        fields = _mu2sls.fields(cls, definition, FOLDER + path, vars(module), wrong)
        how = "declare it in __init__, with `# type: Persistent[TYPE]`"
        if "__init__" in vars(cls):
            del cls.__init__
        names = [n for n in vars(cls) if not (n.startswith("__") and n.endswith("__"))]
    kept = {*fields, *(n for n in dir(cls) if _assignable(inspect.getattr_static(cls, n)))}
    _assigned(definition, kept, how, wrong)
    _reading.check(cls, definition, fields, vars(module), wrong)
    for name, descriptor in fields.items():
        setattr(cls, name, descriptor)
    _guard(cls, kept, how)
    methods = {}
    for n in names:
        f = inspect.getattr_static(cls, n)
        if inspect.isfunction(f) and n not in fields:
            try:
                methods[n] = Method(n, f, modern)
            except _forms.Formless as e:
                _at(f, problem, "%s.%s cannot be called: %s; if it is for the class alone, begin its name with _" % (cls.__name__, n, e))
            except Exception as e:
                _at(f, problem, "%s: %s" % (n, e))
    return Specification(cls, methods, fields)


def compare(name, spec, declared, problem):
    """Refuses methods that are marked as something else than the app file says."""
    for m in spec.methods.values():
        said = declared.get(m.name)
        if not m.mode or said is not None and said["mode"] == m.mode:
            continue
        what = "method %s of service %s is @%s, and " % (m.name, name, m.mode)
        if said is None:
            what += "runs as exclusive, since %s says nothing else: say `methods: {%s: %s, …}`" % (declared[""]["place"], m.name, m.mode)
        else:
            what += "%s in %s" % (said["mode"], said["place"])
        _at(m.run, problem, what)


def _at(f, problem, text):
    """Says what is wrong with a function, which another class may have."""
    code = f.__code__
    problem(code.co_filename[len(FOLDER):] if code.co_filename.startswith(FOLDER) else code.co_filename, code.co_firstlineno, text)


_NONE = object()


def kind_of(hint):
    """Which kind of field an annotation says, None: none."""
    return next((m for m in getattr(hint, "__metadata__", ()) if m in (service.VALUE, service.MAP, service.LIST)), None)


def field(name, hint, default=_NONE):
    """The descriptor of a field with an annotation. The error is a TypeError or ValueError of its initial value."""
    kind, of, args = kind_of(hint), hint.__origin__, typing.get_args(hint.__origin__)
    if kind == service.VALUE:
        if default is _NONE:
            default = _ZEROS.get(typing.get_origin(of) or of)
        data, check = encode(default), _types.check_of(of)
        if default is None:
            check = _types.optional(check)
        _initially(default, check)
        return _state.Value(name, lambda: decode(data), check)
    want = dict if kind == service.MAP else list
    if default is not _NONE and default is not None and type(default) is not want:
        raise TypeError("it is not a %s" % want.__name__)
    keys, check = (_types.key_check(args[0]) if kind == service.MAP else None), _types.check_of(args[-1])
    make = None
    if default is not _NONE and default:
        for v in default.values() if kind == service.MAP else default:
            _initially(v, check)
        data = encode(default)
        make = lambda: decode(data)  # noqa: E731
    return _state.Entries(name, make, _state.Map if kind == service.MAP else _state.List, keys, check)


def _initially(v, check):
    wrong = None if check is None else check(v)
    if wrong is not None:
        raise TypeError("%s, where the annotation says %s" % (shown(wrong[1]), wrong[2]))


def _annotated(cls, definition, wrong):
    """The fields of a class with annotations, as descriptors by name."""
    found = {}
    at = {s.target.id: s for s in definition.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as e:
        wrong(definition, "an annotation of %s says nothing: %s" % (cls.__name__, e))
        return found
    for name, hint in hints.items():
        if typing.get_origin(hint) is typing.ClassVar or name in ("service_name", "state_version"):
            continue
        node = at.get(name, definition)
        if kind_of(hint) is None:
            wrong(node, "%s is not persistent: annotate it with Value, Map or List of weft.service, or with ClassVar" % name)
            continue
        if name in vars(service.Service):
            wrong(node, "%s is not the name of a field: it is one of all services" % name)
            continue
        default = getattr(cls, name, _NONE)
        if isinstance(default, _state.Value):  # of a class that serves already
            found[name] = default
            continue
        try:
            found[name] = field(name, hint, default)
        except (TypeError, ValueError) as e:
            wrong(node, "the initial value of %s: %s" % (name, e))
    return found


_NO_FIELD = "self.%s is not a field, and gone when the method ends: %s, or use a variable"


def _assignable(v):
    """Whether what a class has takes what is assigned to it: a property with a setter, and what a method computes once for itself."""
    return v.fset is not None if isinstance(v, property) else isinstance(v, functools.cached_property)


def _assigned(definition, fields, how, wrong):
    """Refuses attributes of self that are no fields: they would be gone with the call."""
    for f in definition.body:
        if not isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) or f.name == "__init__":
            continue
        first = (f.args.posonlyargs + f.args.args)[:1]
        if not first or any(getattr(d, "id", "") in ("staticmethod", "classmethod") for d in f.decorator_list):
            continue
        for node in _within(f):
            if (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)
                    and node.value.id == first[0].arg and node.attr not in fields and _mangled(definition.name, node.attr) not in fields):
                wrong(node, _NO_FIELD % (node.attr, how))


def _mangled(cls, name):
    """A name as it is in a class: those that begin with __ have the class's before them."""
    return "_%s%s" % (cls.lstrip("_"), name) if name.startswith("__") and not name.endswith("__") else name


def _within(node):
    """What is in a function, but for classes that are defined there."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef):
            yield child
            yield from _within(child)


def _guard(cls, fields, how):
    """Refuses the same where only an execution shows it."""

    def __setattr__(self, name, v):
        if name not in fields:
            raise Error(_recorded.place() + _NO_FIELD % (name, how))
        object.__setattr__(self, name, v)

    if cls.__setattr__ is object.__setattr__:
        cls.__setattr__ = __setattr__
