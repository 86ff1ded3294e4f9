from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Frontend(object):
    def __init__(self):
        self.seen = []  # type: Persistent[list]

    def compose(self, value: int):
        done = False
        while not done:
            try:
                BeginTx()
                one = SyncInvoke('Service1', 'set', value)
                self.seen.append(value)
                mine = list(self.seen)
                two = SyncInvoke('Service2', 'set', value)
                CommitTx()
                done = True
            except TransactionException:
                pass
        return (one, mine, two)
