from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Counter(object):
    def __init__(self):
        self.hits = {}  # type: Persistent[dict]

    def hit(self, name):
        done = False
        while not done:
            try:
                BeginTx()
                if name in self.hits:
                    before = self.hits[name]
                else:
                    before = 0
                self.hits[name] = before + 1
                CommitTx()
                done = True
            except TransactionException:
                pass
        return before
