from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Nasty(object):
    def __init__(self):
        self.mine = []  # type: Persistent[list]
        self.table = {"a": [1]}  # type: Persistent[dict]
        self.any = None  # type: Persistent[object]

    def state(self):
        return [self.mine, SyncInvoke('Vault', 'get'), self.table]

    def reset(self):
        self.mine = []
        self.table = {"a": [1]}
        SyncInvoke('Vault', 'reset')

    # Transactions within transactions

    def nested_commit(self):
        BeginTx()
        self.mine.append(1)
        BeginTx()
        SyncInvoke('Vault', 'set', 1)
        CommitTx()
        self.mine.append(2)
        CommitTx()
        return self.mine

    def inner_abort(self):
        said = []
        try:
            BeginTx()
            self.mine.append(1)
            try:
                BeginTx()
                self.mine.append(2)
                SyncInvoke('Vault', 'set', 2)
                AbortTx()
            except TransactionException:
                said.append("inner")
            self.mine.append(3)
            CommitTx()
            said.append("committed")
        except TransactionException:
            said.append("outer")
        return said

    def callee_has_one(self):
        BeginTx()
        n = SyncInvoke('Vault', 'set_in_tx', 1)
        self.mine.append(n)
        AbortTxNoExc()
        m = SyncInvoke('Vault', 'set_in_tx', 2)
        return [n, m, self.mine]

    # What has none, or too many

    def commit_nothing(self):
        try:
            CommitTx()
        except TransactionException:
            return "none"

    def abort_nothing(self):
        self.mine.append(1)
        AbortTx()

    def abort_nothing_quietly(self):
        self.mine.append(1)
        AbortTxNoExc()
        return "returned"

    def commit_twice(self):
        BeginTx()
        self.mine.append(1)
        CommitTx()
        try:
            CommitTx()
        except TransactionException:
            return self.mine

    def left_open(self):
        BeginTx()
        self.mine.append(1)
        return 1

    def abort_after_commit(self):
        BeginTx()
        self.mine.append(1)
        CommitTx()
        AbortTxNoExc()
        return self.mine

    # Aborts from below

    def callee_aborts(self, method):
        said = "no"
        try:
            BeginTx()
            self.mine.append(1)
            SyncInvoke('Vault', 'set', 1)
            said = SyncInvoke('Vault', method, 2)
            CommitTx()
            said = "committed " + str(said)
        except TransactionException:
            said = "aborted"
        return [said, self.mine, SyncInvoke('Vault', 'get')]

    def callee_aborts_without(self, method):
        try:
            return SyncInvoke('Vault', method, 2)
        except TransactionException:
            return "aborted"

    async def callee_aborts_async(self, method):
        try:
            BeginTx()
            a = AsyncInvoke('Vault', 'set', 1)
            b = AsyncInvoke('Vault', method, 2)
            c = AsyncInvoke('Vault', 'set_async', 3)
            said = await WaitAll(a, b, c)
            CommitTx()
            return said
        except TransactionException:
            return "aborted"

    def swallows_everything(self):
        BeginTx()
        try:
            self.mine.append(1)
            SyncInvoke('Vault', 'set_and_abort', 1)
        except:
            pass
        try:
            CommitTx()
            return "committed"
        except TransactionException:
            return ["not", self.mine]

    def swallows_error(self):
        BeginTx()
        try:
            SyncInvoke('Vault', 'set_and_raise', 1)
        except Exception as e:
            said = str(e)
        self.mine.append(1)
        try:
            CommitTx()
            return "committed"
        except TransactionException:
            return ["not", said, self.mine]

    def own_error(self):
        BeginTx()
        self.mine.append(1)
        try:
            {}["x"]
        except KeyError:
            self.mine.append(2)
        CommitTx()
        return self.mine

    def leaves_with_error(self):
        BeginTx()
        self.mine.append(1)
        SyncInvoke('Vault', 'set', 1)
        raise ValueError("away")

    def in_finally(self):
        BeginTx()
        try:
            self.mine.append(1)
            return SyncInvoke('Vault', 'set', 1)
        finally:
            CommitTx()

    def retries(self, n):
        tries = 0
        while True:
            tries += 1
            try:
                BeginTx()
                self.mine.append(tries)
                SyncInvoke('Vault', 'set', tries)
                if tries < n:
                    AbortTx()
                CommitTx()
                return [tries, self.mine]
            except TransactionException as e:
                continue

    def table_in_abort(self):
        BeginTx()
        self.table["a"].append(2)
        self.table["b"] = 1
        self.table.pop("a")
        self.table.setdefault("c", []).append(3)
        inside = self.table
        keys = sorted(inside)
        AbortTxNoExc()
        return [keys, self.table]

    # Promises

    async def promises(self):
        a = AsyncInvoke('Vault', 'set', 1)
        first = await Wait(a)
        again = await Wait(a)
        b = AsyncInvoke('Vault', 'set', 2)
        c = AsyncInvoke('Vault', '_hidden', 7)
        both = await WaitAll(b, a, b, c)
        return [first, again, both, await WaitAll(), await AsyncInvoke('Vault', 'set', 3), [await Wait(p) for p in (b, c)], [p async for p in self._each(b, c)]]

    async def _each(self, *promises):
        for p in promises:
            yield await Wait(p)

    def not_async(self):
        a = AsyncInvoke('Vault', 'set_async', 1)
        b = AsyncInvoke('Vault', 'set_async', 2)
        return [Wait(b), Wait(a), WaitAll(a, b), [Wait(p) for p in (a, b)]]

    def nobody_waits(self):
        AsyncInvoke('Vault', 'set', 1)
        BeginTx()
        AsyncInvoke('Vault', 'set', 2)
        CommitTx()
        BeginTx()
        AsyncInvoke('Vault', 'set', 3)
        AbortTxNoExc()
        return "done"

    async def across(self):
        """Promises of a transaction are there after it, and those of before in it."""
        early = AsyncInvoke('Vault', 'set', 1)
        await Wait(early)
        BeginTx()
        seen = await Wait(early)
        inside = AsyncInvoke('Vault', 'set', 2)
        CommitTx()
        return [seen, await Wait(inside)]

    async def one_fails(self):
        a = AsyncInvoke('Vault', 'set', 1)
        b = AsyncInvoke('Vault', 'set_and_raise', 2)
        try:
            await WaitAll(a, b)
        except Exception as e:
            return [str(e), await Wait(a), SyncInvoke('Vault', 'get')]

    def keeps_promise(self):
        self.any = AsyncInvoke('Vault', 'set', 1)

    def returns_promise(self):
        return AsyncInvoke('Vault', 'set', 1)

    def passes_promise(self):
        return SyncInvoke('Vault', 'set', AsyncInvoke('Vault', 'get'))

    # Itself

    def recursive(self, n):
        self.mine.append(n)
        if n > 0:
            return SyncInvoke('Nasty', 'recursive', n - 1)
        return self.mine

    def recursive_tx(self, n):
        try:
            BeginTx()
            self.mine.append(n)
            if n > 0:
                SyncInvoke('Nasty', 'recursive_tx', n - 1)
            else:
                AbortTx()
            CommitTx()
        except TransactionException:
            return ["aborted at", n, self.mine]
        return ["committed at", n, self.mine]

    async def awaits_itself(self):
        return [await self.deeper(2), await Wait(AsyncInvoke('Nasty', 'deeper', 1))]

    async def deeper(self, n):
        self.mine.append(n)
        return await self.deeper(n - 1) if n else self.mine

    # Results

    def texts(self):
        return [SyncInvoke('Vault', 'says_abort'), SyncInvoke('Vault', '_hidden', 'x')]

    def nobody(self, service, method):
        return SyncInvoke(service, method)
