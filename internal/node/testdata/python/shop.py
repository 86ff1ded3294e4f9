from __future__ import annotations

import os
import random
import uuid
from datetime import timedelta

from weft import service
from weft.service import Error, List, Map, Service, Value, transaction


class Funds(Error):
    pass


class Account(Service):
    balance: Value[int] = 0
    log: Map[str, int]
    notes: List[str]
    tags: Value[list] = []

    def put(self, amount: int) -> int:
        self.balance += amount
        self.notes.append("put %d" % amount)
        self.tags.append(amount)
        self.log["last"] = amount
        return self.balance

    def take(self, amount: int) -> int:
        self.balance -= amount
        if self.balance < 0:
            raise Funds("there is not so much")
        return self.balance

    def show(self):
        return [self.balance, self.notes, self.tags, self.log, service.key()]

    def stock(self, i, v):
        self.notes.extend(["a", "b", "c"])
        self.notes[i] = v
        self.notes.insert(1, "i")
        del self.notes[0]
        return [self.notes[1:], self.notes.pop(), self.notes.index(v), list(reversed(self.notes)), len(self.notes)]


class Teller(Service):
    memo: Map[str, list]
    count: Value[int] = 0

    def move(self, source: str, to: str, amount: int):
        with transaction():
            Account.at(to).put(amount)
            return Account.at(source).take(amount)

    def careful(self, source: str, to: str, amount: int):
        self.count += 1
        try:
            with transaction():
                self.count += 10
                Account.at(to).put(amount)
                Account.at(source).take(amount)
        except Funds as e:
            return [str(e), self.count]
        return [None, self.count]

    def swallows(self, source: str, amount: int):
        try:
            with transaction():
                self.count += 100
                try:
                    Account.at(source).take(amount)
                except Error:
                    pass
        except Funds as e:
            return "nothing: %s" % e
        return "all"

    def nested(self):
        try:
            with transaction():
                self.count += 1000
                with transaction():
                    self.count += 1000
                    raise ValueError("inner")
        except ValueError as e:
            return [str(e), self.count]

    def totals(self, *names):
        started = [service.start(Account.at(n).show) for n in names]
        return [r[0] for r in service.gather(*started)]

    async def first(self, name: str):
        f = service.start(Account.at(name).put, 1)
        late = service.after(3600)
        i = service.any_of(late, f)
        return [i, await f]

    def later(self, name: str, amount: int):
        service.send(Account.at(name).put, amount)
        service.send(Account.at(name).put, 1000000, delay=timedelta(days=7))

    def effect(self, name: str):
        def do(key):
            self_made = os.urandom(4)
            return {"bytes": len(self_made), "key": len(key) > 5}

        first = service.run(name, do)
        try:
            service.run("broken", lambda: [][1])
        except Error as e:
            return [first, str(e)]

    def naps(self, seconds: float):
        before = service.now()
        self.memo["x"] = [1]
        x = self.memo["x"]
        service.sleep(seconds)
        x.append(2)
        return [(service.now() - before).total_seconds() >= seconds, self.memo["x"]]

    def waits(self):
        return service.promise("answer").wait()

    def saga(self, name: str, amount: int):
        Account.at(name).put(amount)
        service.compensate(Account.at(name).take, amount)
        service.run("away", lambda: None)
        raise Error("it does not work out")

    def loops(self, n: int, total: int):
        self.count += 1
        service.run("turn", lambda: n)
        if n == 0:
            return total
        try:
            service.continue_with(n - 1, total + n)
        except:  # noqa: E722  # it does not return for all that
            return "caught"

    def same(self):
        a = [random.random(), str(uuid.uuid4()), sorted({"x", "y"}), list({"x", "y", "z", "w"})]
        service.run("wait", lambda: None)
        return a

    def pid(self):
        return os.getpid()

    def dies(self, name: str):
        Account.at(name).put(1)
        service.run("rest", lambda: None)
        if service.attempt() == 1:
            os._exit(3)
        return Account.at(name).put(1)

    def chances(self):
        service.run("first", random.random)
        service.run("at %r" % random.random(), lambda: random.random())
        if service.attempt() == 1:
            os._exit(3)
        return service.attempt()

    def secret(self):
        return os.urandom(4).hex()

    def thread(self):
        import threading
        threading.Thread(target=print).start()

    def unpicklable(self):
        self.memo["f"] = [lambda: 1]

    def large(self, n: int):
        self.memo["large"] = ["x" * n]

    def notjson(self):
        return {1, 2}

    def raises(self):
        with transaction():
            self.count = 77
            {}["missing"]

    def open(self):
        transaction().__enter__()
        return 1

    def sleeps_inside(self):
        with transaction():
            service.sleep(1)

    def counted(self):
        return self.count

    def _private(self):
        return 1
