"""Whether code fits what is stored: asked before it is deployed, with the state of some objects."""
from . import _execution, _state
from . import _frames as wire
from ._edition import PLACE
from ._values import decode, decode_json
from ._words import unlike

METHOD = "#fits"  # what is called: no method has that name
_INITIAL = b"true"  # the value of a map that has had its initial entries


def misfits(spec, known):
    """What of an object's state, which is given as bytes by place, this code does not fit, a line for each field;
    nothing where the object has another version."""
    stored = known.get(PLACE)
    if (1 if stored is None else decode_json(stored)) != max(spec.version, 1):
        return ""
    fields = {}
    for place, data in known.items():
        name, at = wire.read_text(place, 0)
        fields.setdefault(name, ({}, {}))[place[at]][place] = data
    found = []
    for name, (value, entries) in fields.items():
        field = spec.fields.get(name)
        wrong = field and _misfit(name, field, value, entries)
        if wrong:
            found.append("%s: %s" % (wrong, spec.ways))
    return "\n".join(found)


def _misfit(name, field, value, entries):
    is_map = isinstance(field, _state.Entries) and isinstance(field.view, _state.Map)
    is_list = isinstance(field, _state.Entries) and not is_map
    kind = "Map" if is_map else "List" if is_list else "Value"
    data = next(iter(value.values()), None)
    if entries:
        was = "Map" if data in (None, _INITIAL) else "List"
    elif is_list and data is not None and data != b"0":
        was = "Value"
    elif is_map and data not in (None, _INITIAL):
        was = "List" if data == b"0" else "Value"
    else:
        was = kind
    if was != kind:
        return "%s holds a %s, where this code has a %s" % (name, was, kind)
    if is_map:
        for place in entries:
            entry = wire.read_blob(place, len(field.place))[0]
            wrong = _wrong("a key of " + name, _state.decode_key, entry, field.view.keyed)
            if wrong:
                return wrong
    check = field.view.check if is_map or is_list else field.check
    for place, data in (value if kind == "Value" else entries).items():
        wrong = _wrong(_execution.name_of(place), decode, data, check)
        if wrong:
            return wrong
    return ""


def _wrong(name, read, data, check):
    try:
        v = read(data)
    except Exception as e:
        return "%s holds what this code cannot read: %s" % (name, _execution.describe(e))
    wrong = None if check is None else check(v)
    return "" if wrong is None else unlike(name, wrong)
