from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Inner:
    def __init__(self):
        self.seen = []  # type: Persistent[list]

    def work(self, value):
        tries = 0
        while tries < 3:
            tries += 1
            try:
                BeginTx()
                self.seen.append(value)
                if value > 10:
                    AbortTx()
                SyncInvoke('Service1', 'set', value)
                CommitTx()
                return list(self.seen)
            except TransactionException:
                pass
        raise TransactionException
