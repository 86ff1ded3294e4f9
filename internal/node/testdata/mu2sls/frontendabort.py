from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class FrontendAbort(object):
    def __init__(self):
        self.seen = []  # type: Persistent[list]

    def handle_abort(self):
        return list(self.seen)

    def compose(self, value: int):
        try:
            BeginTx()
            one = SyncInvoke('Service1', 'set', value)
            self.seen.append(value)
            two = SyncInvoke('Service2Abort', 'set', value)
            if value <= 10:
                AbortTx()
            else:
                CommitTx()
            result = (one, list(self.seen), two)
        except TransactionException:
            return self.handle_abort()
        return result

    def forgets(self, value: int):
        BeginTx()
        self.seen.append(value)
        AbortTx()
