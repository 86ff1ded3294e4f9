from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Outer:
    def __init__(self):
        pass

    def go(self, value):
        try:
            BeginTx()
            seen = SyncInvoke('Inner', 'work', value)
            CommitTx()
            return seen
        except TransactionException:
            return "aborted"
