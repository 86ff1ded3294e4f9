"""Asks two services at the same time."""
from weft.service import List, Service, gather, start


class Caller(Service):
    """What clients call."""

    def add(self, n: int) -> list:
        """Gives n to both services, and returns what each of them has then."""
        return gather(start(First.at().add, n), start(Second.at().add, n))


class First(Service):
    """Has numbers."""

    numbers: List[int]

    def add(self, n: int) -> list:
        """Remembers n, and returns all numbers."""
        self.numbers.append(n)
        return list(self.numbers)


class Second(Service):
    """Has numbers."""

    numbers: List[int]

    def add(self, n: int) -> list:
        """Remembers n, and returns all numbers."""
        self.numbers.append(n)
        return list(self.numbers)
