from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Service2Abort(object):
    def __init__(self):
        self.seen = []  # type: Persistent[list]

    def set(self, value: int):
        self.seen.append(value)
        if value > 10:
            raise TransactionException()
        return list(self.seen)

    def get(self):
        return list(self.seen)
