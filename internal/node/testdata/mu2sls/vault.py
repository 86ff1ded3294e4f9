from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Vault(object):
    """What the nasty ones call."""

    def __init__(self):
        self.kept = []  # type: Persistent[list]
        self.by = {}  # type: Persistent[dict]

    def set(self, v):
        self.kept.append(v)
        self.by[v] = self.by.get(v, 0) + 1
        return len(self.kept)

    async def set_async(self, v):
        return self.set(v)

    def get(self):
        return self.kept

    def reset(self):
        self.kept = []
        self.by = {}

    def set_in_tx(self, v):
        BeginTx()
        self.kept.append(v)
        CommitTx()
        return len(self.kept)

    def set_and_abort(self, v):
        self.kept.append(v)
        AbortTx()

    def set_and_abort_quietly(self, v):
        self.kept.append(v)
        AbortTxNoExc()
        return "returned"

    def set_and_abort_own(self, v):
        try:
            BeginTx()
            self.kept.append(v)
            AbortTx()
        except TransactionException:
            return self.kept

    def set_and_raise(self, v):
        self.kept.append(v)
        raise KeyError(v)

    def says_abort(self):
        return "ABORT"

    def _hidden(self, v):
        return (v, {1: v}, None)
