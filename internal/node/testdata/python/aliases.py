"""What one value is, reached in several ways: by variables, fields and other values."""
import copy
import random

from weft import service
from weft.service import Map, Service, Stale, Value, transaction


class Alias(Service):
    a: Value[object] = []
    b: Value[object] = []
    m: Map[str, object]
    shadow: Value[object] = None

    def within(self):
        """One list twice in a value, in a value of its own, and in itself."""
        x = [1]
        self.a = {"one": x, "two": x}
        self.b = [x]
        self.b.append(self.b)
        self.m["t"] = (x, x)
        return "written"

    def within_again(self):
        self.a["one"].append(2)
        self.b[1][1].insert(0, 0)
        self.m["t"][0].append(3)
        return [self.a, self.a["one"] is self.a["two"], self.b[0], self.b[1], self.b[2] is self.b, self.m["t"][1]]

    def deep(self):
        x = [1]
        for _ in range(60):
            x = [x, x]
        self.a = x
        return "written"

    def deep_again(self):
        x = self.a
        for _ in range(60):
            if x[0] is not x[1]:
                return "two"
            x = x[0]
        return x

    def fields(self):
        """One list in two fields is one until the method ends."""
        x = [1]
        self.a = self.b = self.m["x"] = x
        x.append(2)
        service.run("wait", lambda: None)
        self.a.append(3)
        return [self.a, self.b, self.m["x"], self.a is self.b]

    def fields_again(self):
        self.a.append(4)
        return [self.a, self.b, self.m["x"]]

    def aborted(self, how):
        """What a variable has of the state goes on to be the state after a transaction that was aborted, unless that has changed it."""
        self.a, self.b = {"in": [1]}, [1]
        a, inner, b = self.a, self.a["in"], self.b
        new = [7]
        try:
            with transaction():
                if how == "replaced":
                    self.a = new
                    self.a = [8]
                elif how == "deleted":
                    del self.a
                elif how == "back":
                    self.a = new
                    self.a = a
                elif how == "changed":
                    inner.append(9)
                elif how == "changed and replaced":
                    inner.append(9)
                    len(self.m)
                    self.a = new
                elif how == "kept":
                    self.a = new
                    raise KeyboardInterrupt
                raise ValueError
        except (ValueError, KeyboardInterrupt):
            pass
        new.append(5)
        before = copy.deepcopy(self.a)
        try:
            inner.append(2)
            b.append(2)
            service.run("wait", lambda: None)
            return [before, self.a, self.a is a, self.b]
        except Stale:
            inner.pop()
            return [before, "stale", self.a, self.b]

    def committed(self):
        """A value that was replaced in a transaction is nobody's."""
        self.a = [1]
        a = self.a
        service.run("wait", lambda: None)
        with transaction():
            self.a = [2]
        a.append(3)
        service.run("wait", lambda: None)
        return self.a

    def steps(self, seed: int, n: int):
        """Random operations by variables, on the state and on plain objects."""
        plain = copy.deepcopy(self.shadow) or {"a": [], "b": [], "m": {}}
        chance, wrong = random.Random(seed), []
        mine, theirs, touched = [], [], set()
        block = saved = None
        for step in range(n):
            what, at = chance.randrange(12), chance.randrange(100)
            i = at % len(mine) if mine else 0
            field, k = chance.choice("ab"), chance.choice("xyz")
            if what == 0 and block is None:
                block = transaction()
                block.__enter__()
                saved, touched = copy.deepcopy([plain, theirs]), set()
            elif what == 1 and block is not None:
                if at < 60:
                    block.__exit__(ValueError, None, None)
                    plain, theirs = saved
                    keep = [j for j in range(len(theirs)) if j not in touched]  # what was changed is to be read again
                    mine, theirs = [mine[j] for j in keep], [theirs[j] for j in keep]
                else:
                    block.__exit__(None, None, None)
                block = None
            elif what == 2 and block is None:
                service.run("wait", lambda: None)
            elif what in (3, 4):
                mine.append(getattr(self, field))
                theirs.append(plain[field])
                if block is not None:
                    touched.add(len(mine) - 1)
            elif what == 5 and k in plain["m"]:
                mine.append(self.m[k])
                theirs.append(plain["m"][k])
                if block is not None:
                    touched.add(len(mine) - 1)
            elif what == 6:
                setattr(self, field, [step])
                plain[field] = [step]
            elif what == 7:
                self.m[k] = [[step]]
                plain["m"][k] = [[step]]
            elif what == 8 and k in plain["m"]:
                del self.m[k], plain["m"][k]
            elif mine:
                mine[i].append(step)
                theirs[i].append(step)
                touched.update(j for j in range(len(theirs)) if theirs[j] is theirs[i])
            got = [self.a, self.b, dict(self.m)]
            if got != [plain["a"], plain["b"], plain["m"]] or mine != theirs:
                wrong.append([step, what, repr(got), repr(plain), repr(mine), repr(theirs)])
                break
        if block is not None:
            block.__exit__(None, None, None)
        self.shadow = plain
        return wrong
