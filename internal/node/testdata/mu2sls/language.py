import datetime
import random
import time
import uuid
from uuid import uuid4

from compiler import decorators


class Point:
    def __init__(self, x):
        self.x = x


@decorators.service
class Language:
    def __init__(self):
        self.list = []  # type: Persistent[list]
        self.int = 5  # type: Persistent[int]
        self.str = "a"  # type: Persistent[str]
        self.any = Point(1)  # type: Persistent[Point]
        self.dict = {}  # type: Persistent[dict]
        self.given = {"a": 1, "b": 2}  # type: Persistent[dict]

    def lists(self):
        self.list.append(0)
        assert self.list.index(0) == 0
        self.list.append(1)
        assert self.list.pop() == 1
        assert self.list + [5] == [0, 5]
        self.list = [1]
        self.list += [5]
        assert self.list.index(5) == 1 and len(self.list) == 2
        x = self.list
        x.insert(0, 7)
        return self.list

    def scalars(self):
        self.int += 1
        self.str *= 2
        self.any.x += 1
        return [self.int, self.str, self.any.x, self.int == 6]

    def dicts(self):
        d = self.dict
        d["a"] = [1]
        d["a"].append(2)
        d.setdefault("b", []).append(3)
        d.setdefault("b", []).append(4)
        d.update([("c", 5)], d=6)
        d.update({"e": 7})
        d[8] = "n"
        d[(1, "t")] = {1}
        d["a-b"] = 1
        for v in d.values():
            if isinstance(v, list):
                v.append(9)
        out = [d.get("a"), d.get("zz"), d.get("zz", 0), d.pop("e"), d.pop("e", None), "a-b" in d, len(d), sorted(map(str, d.keys()))]
        del d["a-b"]
        out += [sorted(map(str, d)), sorted(map(str, d.items())), {k: v for k, v in d.items() if k == "b"}]
        try:
            d["none"]
        except KeyError as e:
            out.append(str(e))
        return out

    def again(self):
        out = sorted(map(str, self.dict.items()))
        self.dict = {"a": 0, "new": 1}
        out.append(dict(self.dict))
        self.dict.clear()
        return out + [len(self.dict), not self.dict, self.given.pop("a", "gone"), self.given]

    def chance(self):
        return [random.random(), random.choice("abc"), str(uuid4()), str(uuid.uuid1()), time.time(), datetime.datetime.now().isoformat(),
                str(datetime.date.today()), list({"a", "b", "c", "d", "e"})]

    def echo(self, v):
        return v
