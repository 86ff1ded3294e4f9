"""The state of a service does what plain objects do: random operations on both."""
import copy
import random

from weft import service
from weft.service import List, Map, Service, Value, transaction

KEYS = ("a", "b", "a-b", "é", 1, 2, None, (1, "x"), b"\xff", 2.5)


def some(chance):
    return chance.choice([0, -1, 2**70, 1.5, "", "text\"\\\u2028\ud800", None, True, [1], [], {"k": [1]}, {1: 2}, (1, [2]), {1, 2}, b"\0", float("inf")])


def on_map(m, chance):
    k, v = chance.choice(KEYS), some(chance)
    return chance.choice([
        lambda: m.__setitem__(k, v), lambda: m[k], lambda: m.get(k), lambda: m.get(k, 5), lambda: m.pop(k), lambda: m.pop(k, 7), lambda: k in m, lambda: len(m),
        lambda: m.setdefault(k, v), lambda: m.update({k: v, "z": 1}), lambda: m.update([(k, v)]), lambda: m.__delitem__(k), lambda: bool(m),
        lambda: sorted(map(repr, m)), lambda: sorted(map(repr, m.items())), lambda: sorted(map(repr, m.values())), lambda: m == {"a": 1}, lambda: m == dict(m),
        lambda: m[k].append(9), lambda: m[k].update({3: 4}), lambda: m[k].add(5), lambda: m[k]["k"].append(2), lambda: m.copy() == m,
        lambda: [e.append(0) for e in m.values() if isinstance(e, list)] and None, lambda: m.clear() if chance.random() < 0.1 else None,
        lambda: sorted(map(repr, m.keys() & {"a", "b"})), lambda: m.get(k, []) + [1], lambda: sorted(map(repr, {**m})), lambda: (k, v) in m.items(),
    ])


def on_list(m, chance):
    i, v = chance.randint(-4, 4), some(chance)
    return chance.choice([
        lambda: m.append(v), lambda: m.append(v), lambda: m.extend([v, 1]), lambda: m[i], lambda: m.__setitem__(i, v), lambda: m.pop(), lambda: m.pop(i),
        lambda: m.insert(i, v), lambda: len(m), lambda: repr(list(m)), lambda: repr(m[i:]), lambda: m.__delitem__(i), lambda: v in m, lambda: m.index(v),
        lambda: m.count(v), lambda: m.remove(v), lambda: m[i].append(3), lambda: m.reverse(), lambda: repr(list(reversed(m))), lambda: m == [1], lambda: repr(m + [1]),
        lambda: [m.pop(0) for _ in m], lambda: [m.append(0) for _ in m if len(m) < 12] and None, lambda: [m.remove(e) for e in m if e == v],
        lambda: m.__iadd__([v]) and None, lambda: m.__setitem__(slice(0, 2), [v]), lambda: m.clear() if chance.random() < 0.1 else None,
    ])


def outcome(f):
    try:
        return repr(f())
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as e:
        return type(e).__name__


class Both(Service):
    map: Map[object, object]
    list: List[object]
    value: Value[object] = []
    shadow: Value[object] = None

    def steps(self, seed: int, n: int):
        plain = copy.deepcopy(self.shadow) or {"map": {}, "list": [], "value": []}
        wrong, chance, saved, block = [], random.Random(seed), None, None
        for step in range(n):
            what, number = chance.random(), chance.random()
            if what < 0.04 and block is None:
                block, saved = transaction(), copy.deepcopy(plain)
                block.__enter__()
            elif what < 0.08 and block is not None:
                if number < 0.5:
                    block.__exit__(ValueError, ValueError(), None)
                    plain = saved
                else:
                    block.__exit__(None, None, None)
                block = None
            elif what < 0.11 and block is None:
                service.run("wait", lambda: None)
            elif what < 0.13 and block is None:
                plain["map"] = {"new": [1], 3: "x"}
                self.map = copy.deepcopy(plain["map"])
            else:
                pick, maker = chance.choice([("map", on_map), ("list", on_list), ("value", on_list)])
                at = chance.getrandbits(60)
                got, want = outcome(maker(getattr(self, pick), random.Random(at))), outcome(maker(plain[pick], random.Random(at)))
                if got != want:
                    wrong.append([step, pick, got, want])
        if block is not None:
            block.__exit__(None, None, None)
        self.shadow = plain
        return wrong

    def agree(self):
        plain = self.shadow
        return [self.map == plain["map"], list(self.list) == plain["list"], self.value == plain["value"], len(plain["map"]), len(plain["list"])]
