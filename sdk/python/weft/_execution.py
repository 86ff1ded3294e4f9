"""An execution of a method: what it has read, what it writes, and what it asks the node.

One runs at a time in an instance. It remembers what it has read until the node says that this may not be so
any more, and keeps what it writes until its next question. A value that can change in place is
encoded again before each question that others could see it by, and written if it differs.
"""
from . import _frames as wire
from ._values import View, changeable, decode, decode_json, encode
from ._words import ABSENT, holds, shown

_UNKNOWN = object()
_SAID_MAX = 64 << 10  # bytes of the text of an error: what is behind them is left out
WRITTEN_MAX = 1 << 20  # bytes that are written before the node is told

current = None  # the execution that runs


class Error(Exception):
    """What a method fails with: nothing of its call has happened.

    Subclasses are recognized where the error arrives, if the module with them is
    imported there: their text begins with their name.
    """

    known = {}

    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        Error.known[cls.__name__] = cls


class CallError(Error):
    """What a method that was called has failed with."""


class Refused(Error):
    """The node does not do what was asked; the text says why."""


class TransactionException(Error):
    """A transaction has come to nothing."""


class Parted(Refused):
    """The method has aborted its part of its caller's transaction: nothing more is done in that."""


class Stale(Error):
    """A value was changed in place after the method had waited, and by others meanwhile, or after its change in a transaction was aborted."""


class Over(BaseException):
    """Unwinds a method whose execution the node has given up."""


class Unreadable(BaseException):
    """Ends a request whose code cannot read what is stored."""


class Continued(BaseException):
    """Unwinds a method that begins anew."""

    def __init__(self, args):
        super().__init__()
        self.arguments = args


ABORTED_TEXT = "ABORT"  # what a method fails with that aborts its caller's transaction
_NO_CLASS = ("CallError", "Refused", "TransactionException", "Stale")


def describe(e):
    """The text of the error that a method ends with."""
    if isinstance(e, (TransactionException, Parted)):
        return ABORTED_TEXT
    try:
        said = str(e)
    except Exception:
        said = ""  # it does not say what it is
    name = type(e).__name__
    if type(e) is Error or name in _NO_CLASS and isinstance(e, Error):
        return said or name
    return "%s: %s" % (name, said) if said else name


_PARTED = " has aborted its part of the transaction"
_FAILED = " has failed: "  # both stand between a method and its error, where the node says why a transaction comes to nothing


def failure(code, text):
    """The exception for a value that is none."""
    said = str(text, "utf-8", "replace")
    if said.endswith(_PARTED):
        return TransactionException(said)
    if code == wire.REFUSED:
        _, failed, why = said.rpartition(_FAILED)
        if not failed:
            return Refused(said)
        said = why  # in this transaction
    if said == ABORTED_TEXT:
        return TransactionException(said)
    name, _, rest = said.partition(": ")
    known = Error.known.get(name)
    if known is not None and name not in _NO_CLASS:
        try:
            return known(rest)
        except TypeError:
            pass  # its constructor wants something else
    return CallError(said)


def running():
    """The execution, for all that a side effect may not do."""
    x = current
    if x is None:
        raise Error("the state of an object belongs to the method that runs: none does")
    if x.effect:
        raise Refused("a side effect uses the service: what it needs is read before run, and written after it")
    return x


class Execution:
    """An execution of a method for a node."""

    __slots__ = (
        "node", "call", "request", "attempt", "service", "object", "method", "args", "time", "seed", "seq", "known", "given", "used",
        "writes", "size", "live", "watched", "typed", "stale", "replaced", "placed", "within", "began", "manual", "abandoned", "broken", "over", "effect", "chance",
        "edition", "mode", "given_entries", "ending", "loops", "signature",
    )

    def __init__(self, node, frame):
        self.node = node
        self.call, self.request, self.attempt, self.service, self.object, self.method, self.args, self.time, self.seed, values = wire.start(frame)
        self.seq = 0
        self.known = dict(values)  # place -> bytes, None: it has no value
        self.given = {place: i for i, (place, _) in enumerate(values)} if values else {}
        self.used = 0
        self.writes, self.size = {}, 0  # place -> bytes, None: deleted; that the node does not know yet
        self.live = {}  # place -> the value as the method has it
        self.watched = {}  # place -> (value that can change in place, what it was encoded to)
        self.typed = {}  # place -> what says whether a value that can change in place is of the type of its field
        self.stale = []  # (place, value, encoding, bytes of the state) of values that may not be the state any more
        self.replaced = []  # the same, of values that were replaced in the transaction
        self.placed = {}  # place -> the value that it was given in the transaction
        self.within = 0  # transactions
        self.began = False  # a transaction, at some time
        self.manual = False  # by BeginTx, which has no end of its own
        self.abandoned = False  # the transaction of who has called
        self.broken = False  # something in the transaction has failed
        self.over = False
        self.effect = False  # a side effect runs
        self.chance = None
        self.edition = None  # of the state, if its class has a version
        self.mode = ""  # shared or snapshot: it does not write
        self.given_entries = {}  # place of a map or list -> its initial entries, in a method that only reads
        self.loops = {}  # field -> loops that go over it
        self.signature = None  # of its method: what that takes
        self.ending = None  # the Unreadable or Continued that was raised: code may have caught it

    # Questions

    def head(self, kind):
        """The beginning of a question, with what was written since the last one."""
        if (self.watched or self.stale) and kind != wire.READ:
            self.notice()
        if self.edition is not None:
            self.edition.allow(self, kind)
        self.seq += 1
        writes = self.writes
        if not writes:
            return wire.ONE[kind] + self.call + wire.uvarint(self.seq) + b"\0"
        parts = [wire.ONE[kind], self.call, wire.uvarint(self.seq), wire.uvarint(len(writes))]
        for place, data in writes.items():
            parts.append(place)
            if data is None:
                parts.append(b"\1\0")
            else:
                parts.append(b"\0")
                parts.append(wire.uvarint(len(data)))
                parts.append(data)
        self.writes, self.size = {}, 0
        return b"".join(parts)

    def tell(self, frame):
        """Asks, and takes in the answer: its value and its list."""
        if self.over:
            raise Over
        node = self.node
        node.say(frame)
        while True:
            frame = node.next()
            if frame is None:
                self.over = True
                raise Over
            if frame[0] == wire.ANSWER and frame.startswith(self.call, 1):
                break
        value, values, self.time, fresh = wire.answer(frame, 1 + len(self.call))
        if value[0] == wire.ABORTED:
            self.over = True
            raise Over
        if fresh:
            self.forget()
        return value, values

    def put(self, frame):
        """Asks what can only be refused or answered."""
        value, values = self.tell(frame)
        if value[0] == wire.REFUSED:
            self.broken = self.within > 0
            e = self.failure(*value[:2])
            if self.manual and isinstance(e, TransactionException):
                self.leave_all()  # whoever catches it is out of the transaction
            raise e
        return value, values

    def failure(self, code, text):
        """The exception for a value that is none."""
        e = failure(code, text)
        if isinstance(e, TransactionException):
            own = ".%s%s.%s%s" % (self.service, "/" + self.object if self.object else "", self.method, _PARTED)
            if str(e).endswith(own) and not self.within:  # else it is one that it has called, or has begun within another
                return Parted(str(e))
        return e

    def silent(self, frame):
        """Asks what has no answer. The result is the handle."""
        if self.over:
            raise Over
        self.node.later(frame)
        return self.seq

    # State

    def load(self, place, update=False, check=None):
        """The value at a place, ABSENT if there is none. check says whether it is of the type of its field."""
        v = self.live.get(place, _UNKNOWN)
        if v is not _UNKNOWN:
            return v
        if self.edition is not None:
            self.edition.look(self)
        data = self.known.get(place, _UNKNOWN)
        if data is _UNKNOWN:
            data = self.read((place,), update)[0]
        elif self.given:
            i = self.given.get(place, 64)
            if i < 64:
                self.used |= 1 << i
        return self.take(place, data, check)

    def load_all(self, places, update=False, check=None):
        """The values at places, with one question for those that are not known."""
        if self.edition is not None:
            self.edition.look(self)
        missing = [p for p in places if p not in self.live and p not in self.known]
        if missing:
            self.read(missing, update)
        return [self.load(p, update, check) for p in places]

    def read(self, places, update):
        found = []
        while len(found) < len(places):
            rest = places[len(found) :]
            values = self.put(self.head(wire.READ) + wire.uvarint(len(rest)) + b"".join(rest) + (b"\1" if update else b"\0"))[1]
            if len(values) != len(rest) or values[0][0] == wire.PENDING:
                raise wire.Malformed("the node has answered something else than was asked")
            for code, _, data in values:
                if code == wire.PENDING:
                    break  # the rest is too large for one answer
                found.append(None if code == wire.ABSENT else data)
        self.known.update(zip(places, found))
        return found

    def take(self, place, data, check=None):
        """Makes the value of bytes that were read."""
        if data is None:
            v = ABSENT  # who has an initial value for it begins with that
        else:
            v = self.adopted(place, data) if self.stale else _UNKNOWN
            if v is _UNKNOWN:
                try:
                    v = decode(data)
                except Exception as e:
                    self.refuse("%s holds what this code cannot read: %s" % (name_of(place), describe(e)))
                wrong = None if check is None else check(v)
                if wrong is not None:
                    self.refuse(holds(name_of(place), wrong))
                if changeable(v):
                    self.watch(place, v, encode(v) if data[:1] == b"\x80" else data, check)
        self.live[place] = v
        return v

    def refuse(self, text):
        """Ends the request because its code does not fit the state."""
        self.ending = Unreadable(text)
        raise self.ending

    def watch(self, place, v, data, check):
        """Takes care of a value that can change in place."""
        self.watched[place] = (v, data)
        if check is not None:
            self.typed[place] = check

    def adopted(self, place, data):
        """The value that the method has of a place, if what was read is still what it was."""
        for i, (p, v, was, there) in enumerate(self.stale):
            if p == place and there == data:
                del self.stale[i]
                self.watched[place] = (v, was)
                return v
        return _UNKNOWN

    def begin_with(self, place, v, data, check=None):
        """The initial value of a place that has none, or the one that the method has of it already: it is written if it changes."""
        held = self.adopted(place, None) if self.stale else _UNKNOWN
        if held is not _UNKNOWN:
            v = held
        elif changeable(v):
            self.watch(place, v, data, check)
        self.live[place] = v
        return v

    def store(self, place, v, check=None):
        """Writes a value, of a map or list of the state a copy. check says whether it is of the type of its field."""
        if self.edition is not None:
            self.edition.look(self)
        if isinstance(v, View):
            v = v.plain()
        if check is not None:
            fit(place, v, check)
        data = encode(v)
        if self.within:
            self.replace(place, v)
        if changeable(v):
            self.watch(place, v, data, check)
        elif place in self.watched:
            del self.watched[place]
        self.live[place] = v
        self.part(place)
        self.write(place, data)

    def remove(self, place):
        """Deletes a value."""
        if self.edition is not None:
            self.edition.look(self)
        if self.within:
            self.replace(place, ABSENT)
        self.watched.pop(place, None)
        self.live[place] = ABSENT
        self.part(place)
        self.write(place, None)

    def replace(self, place, v):
        """Keeps in mind the value that a place had before something in the transaction: if that is aborted, it is the place's again."""
        old = self.watched.get(place)
        if old is not None and old[0] is v:
            return
        if old is not None and self.placed.get(place, ABSENT) is not old[0]:
            self.replaced.append((place, *old, self.known.get(place, old[1])))
        self.placed[place] = v

    def part(self, place):
        """Lets go of the value that a place had before the method has waited: another one has replaced it, unless that may be aborted."""
        if self.stale and not self.within:
            self.stale = [t for t in self.stale if t[0] != place]

    def reads(self):
        """Whether the method only reads: in the middle of a migration it does not."""
        return self.mode and not (self.edition is not None and self.edition.busy)

    def write(self, place, data):
        if self.reads():
            raise Error("write %s: %s%s.%s is declared %s, and does not write" % (
                name_of(place), self.service, "/" + self.object if self.object else "", self.method, self.mode))
        if self.edition is not None:
            self.edition.stamp(self)
        self.given.pop(place, None)
        self.known[place] = data
        self.writes[place] = data
        self.size += len(place) + (len(data) if data else 0)
        if self.size > WRITTEN_MAX:
            self.put(self.head(wire.READ) + b"\0\0")

    def scan(self, field, after, limit):
        """Entries of a map behind a key, as (its bytes, place, bytes of the value)."""
        if self.edition is not None:
            self.edition.look(self)
        found = []
        while True:
            value, values = self.put(self.head(wire.SCAN) + field + wire.blob(after) + wire.uvarint(limit - len(found)))
            for _, entry, data in values:
                place = field + b"\1" + wire.blob(entry)
                if place not in self.live:
                    self.known[place] = data
                found.append((entry, place))
            if value[0] != wire.PENDING or not values:
                return found
            after = found[-1][0]  # the rest is too large for one answer

    def notice(self):
        """Writes what was changed in place."""
        for place, (v, was) in list(self.watched.items()):
            data = encode(v)
            if data != was:
                self.changed(place, v)
                self.watched[place] = (v, data)
                self.write(place, data)
        if self.stale:
            self.settle()

    def changed(self, place, v):
        """Raises a TypeError if a value that was changed in place is not of the type of its field any more."""
        check = self.typed.get(place)
        if check is not None:
            fit(place, v, check)

    def settle(self):
        """Writes what was changed in place after the method had waited, if it is still what the state has."""
        for entry in self.stale[:]:
            place, v, was, before = entry
            data = encode(v)
            if data == was:
                continue
            there = self.known.get(place, _UNKNOWN)
            if there is _UNKNOWN:
                there = self.read((place,), True)[0]
            if there != before or place in self.live:
                raise Stale("%s: a value that was read before the method waited, or a transaction was aborted, has been changed in place, and is not the "
                            "state any more: read it again" % name_of(place))
            self.changed(place, v)
            self.stale = [e for e in self.stale if e is not entry]
            self.live[place] = v
            self.watched[place] = (v, data)
            self.write(place, data)

    def forget(self):
        """Drops what was read before. The method may still have values of it."""
        for place, (v, was) in self.watched.items():
            self.stale.append((place, v, was, self.known.get(place, was)))
        self.watched, self.live = {}, {}
        self.known.clear()
        self.given.clear()
        self.given_entries.clear()
        if self.edition is not None:
            self.edition.looked = False

    def drop(self):
        """Drops what was written and is not to be."""
        self.writes, self.size = {}, 0

    # Calls

    def result(self, value):
        """What a call has come to."""
        code, note, data = value
        if code == wire.OK:
            try:
                return decode_json(data)
            except (ValueError, RecursionError) as e:
                raise Error("what was answered is not JSON: %s" % e) from None
        if self.within:
            self.broken = True
        raise self.failure(code, note)

    def invoke(self, mode, to, args, delay=0):
        """Calls a method. The result is a value, or the handle of what is started."""
        frame = self.head(wire.INVOKE) + wire.ONE[mode] + to + args + wire.varint(delay)
        if mode != wire.WAIT:
            return self.silent(frame)
        return self.tell(frame)[0]

    def wait(self, handles, any_of=False):
        """Waits for handles: for all, or for one of them."""
        body = wire.uvarint(len(handles)) + b"".join([wire.uvarint(h) for h in handles]) + (b"\1" if any_of else b"\0")
        values = self.put(self.head(wire.AWAIT) + body)[1]
        if len(values) != len(handles):
            raise wire.Malformed("the node has answered something else than was asked")
        return values

    # Transactions

    def begin(self):
        self.silent(self.head(wire.TRANSACTION) + wire.ONE[wire.BEGIN])
        self.within += 1
        self.began = True

    def commit(self):
        """Commits, or raises why the transaction has come to nothing."""
        try:
            frame = self.head(wire.TRANSACTION) + wire.ONE[wire.COMMIT]
        except Exception:
            self.abort()
            raise
        self.within -= 1
        (code, note, _), _ = self.tell(frame)
        if not self.within and code == wire.OK:
            for place in self.placed:
                self.part(place)
            self.replaced, self.placed = [], {}
        if code != wire.OK:
            self.undo()
            self.broken = self.within > 0
            raise failure(wire.REFUSED if _FAILED.encode() in note else code, note)

    def abort(self):
        """Aborts: what was written and sent since the transaction began comes to nothing."""
        self.drop()
        self.undo()
        self.seq += 1
        self.within -= 1
        self.broken = self.within > 0
        self.silent(wire.ONE[wire.TRANSACTION] + self.call + wire.uvarint(self.seq) + b"\0" + wire.ONE[wire.ABORT])

    def undo(self):
        """Drops what was read and changed in a transaction that came to nothing."""
        for place, (v, was) in list(self.watched.items()):
            try:
                data = encode(v)
            except Exception:
                data = None
            if data is None or self.placed.get(place, ABSENT) is v:
                del self.watched[place]  # it is nobody's any more
                continue
            if data != was:
                self.watched[place] = (v, data)
                self.known[place] = data
        self.forget()
        for place, v, was, there in self.replaced:
            data = encode(v)
            self.stale.append((place, v, was, there) if data == was else (place, v, data, data))
        self.replaced, self.placed = [], {}

    def leave_all(self):
        """Aborts all transactions of the method."""
        while self.within:
            self.abort()

    # Side effects

    def run(self, name, effect):
        """Does a side effect, unless its result is recorded. name is as on the wire; effect returns (code, text, data)."""
        (code, note, data), _ = self.put(self.head(wire.RUN) + name)
        if code == wire.PROCEED:
            asked = wire.ONE[wire.RAN] + self.call + wire.uvarint(self.seq)
            self.effect = True
            try:
                code, note, data = effect(str(note, "utf-8"))
            finally:
                self.effect = False
            (code, note, data), _ = self.put(asked + wire.ONE[code] + wire.blob(note) + wire.blob(data))
        if code != wire.OK:
            raise failure(code, note)
        return decode(data)

    # The end

    def last(self, code, note, data):
        """The frame that ends the execution."""
        return self.head(wire.RETURN) + wire.ONE[code] + wire.blob(note) + wire.blob(data) + wire.uvarint(self.used)

    def failed(self, code, note):
        """The frame that ends an execution which has failed: what it has written comes to nothing."""
        self.leave_all()
        self.drop()
        self.watched, self.stale = {}, []
        note = note.encode("utf-8", "replace")
        if len(note) > _SAID_MAX:
            note = note[:_SAID_MAX].decode("utf-8", "ignore").encode() + b"\xe2\x80\xa6"
        return self.last(code, note, b"")


def fit(place, v, check):
    """Raises a TypeError if a value that is written is not of the type of its field."""
    wrong = check(v)
    if wrong is not None:
        path, of, want = wrong
        raise TypeError("%s%s is %s, and not %s" % (name_of(place), path, want, "missing" if of is ABSENT else shown(of)))


def name_of(place):
    """A place as people write it."""
    field, at = wire.read_text(place, 0)
    if place[at]:
        return "%s[%s]" % (field, wire.read_text(place, at + 1)[0])
    return field
