"""Versions of the state: how what an earlier version of the code has stored becomes what this one reads."""
from . import _frames as wire
from ._execution import Error, Over, describe, running

PLACE = wire.text("#version") + b"\0"  # of an object's version, which the node knows too


class Edition:
    """The version of the state of the object whose method runs.

    It is looked at before anything else of the object, and again when what was read may not be so any more. A
    migration is a part of the segment: it has happened once, or not at all.
    """

    __slots__ = ("wanted", "migrate", "looked", "stored", "busy")

    def __init__(self, wanted, migrate):
        self.wanted, self.migrate = wanted, migrate
        self.looked = self.busy = False
        self.stored = wanted

    def look(self, x):
        """Finds out which version the object has, and migrates it."""
        if self.looked or self.busy:
            return
        self.busy = True
        try:
            n = x.load(PLACE)
            self.stored = n if type(n) is int else 1
            if self.stored > self.wanted:
                x.refuse("the state has version %d, and this code knows version %d: it was written by a later one" % (self.stored, self.wanted))
            if self.stored < self.wanted:
                found = self.stored
                try:
                    self.migrate(found)
                    x.notice()
                except Exception as e:
                    if x.over:
                        raise Over from None
                    x.refuse("migrate the state from version %d to %d: %s" % (found, self.wanted, describe(e)))
                x.live, x.watched = {}, {}  # the fields of this version may read another type at the same place
            self.looked = True
        finally:
            self.busy = False

    def allow(self, x, kind):
        """Refuses what a migration asks for but the state of its object."""
        if self.busy and kind not in (wire.READ, wire.SCAN):
            x.refuse("_migrate reads and writes the state of its object, and does nothing else")

    def stamp(self, x):
        """Notes the version of an object that is written."""
        if self.stored < self.wanted:
            self.stored = self.wanted
            x.write(PLACE, b"%d" % self.wanted)


def earlier(fields):
    """An object with fields of an earlier version, in the middle of a migration."""
    x = running()
    if x.edition is None or not x.edition.busy:
        raise Error("fields that are not declared belong to _migrate")
    return type("earlier", (), {"__slots__": (), **fields})()
