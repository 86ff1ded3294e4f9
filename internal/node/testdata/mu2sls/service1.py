from compiler import decorators


@decorators.service
class Service1(object):
    def __init__(self):
        self.seen = []  # type: Persistent[list]

    def set(self, value: int):
        self.seen.append(value)
        return list(self.seen)
