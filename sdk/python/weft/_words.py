"""Values in messages."""
ABSENT = object()  # what is read where there is no value

WAYS = "give the class a version and _migrate, or go back to code that reads it"


def brief(v):
    """A value."""
    said = repr(v)
    return said if len(said) <= 40 else said[:40] + "…"


def shown(v):
    """A value with its type."""
    return "%s, %s" % (type(v).__name__, brief(v))


def unlike(name, wrong):
    """Says that something stored is not what code expects."""
    path, v, want = wrong
    if v is ABSENT:
        return "%s%s is not there, where this code has %s" % (name, path, want)
    return "%s%s holds %s, where this code has %s" % (name, path, shown(v), want)


def holds(name, wrong):
    """The same, with what to do."""
    return "%s: %s" % (unlike(name, wrong), WAYS)
