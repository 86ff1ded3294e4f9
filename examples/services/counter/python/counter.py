"""Counts."""
from weft.service import Error, Service, Value


class Negative(Error):
    """For who counts down."""


class Counter(Service):
    """A number that grows; each object is one."""

    count: Value[int] = 0

    def add(self, n: int) -> int:
        """Adds n, and returns how many there are then."""
        if n < 0:
            raise Negative("a counter does not count down")
        self.count += n
        return self.count

    def get(self) -> int:
        """Returns how many there are."""
        return self.count
