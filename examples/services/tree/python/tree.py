"""Counts in two services at once: both or none."""
from weft.service import Map, Service, gather, start, transaction


class Root(Service):
    """What clients call."""

    def hit(self, key: str) -> list:
        """Counts a hit of a key on the left and on the right, and returns how many there are on each side then."""
        with transaction():
            return gather(start(Left.at().hit, key), start(Right.at().hit, key))


class Left(Service):
    """Counts hits."""

    hits: Map[str, int]

    def hit(self, key: str) -> int:
        """Counts one."""
        n = self.hits.get(key, 0) + 1
        self.hits[key] = n
        return n


class Right(Service):
    """Counts hits."""

    hits: Map[str, int]

    def hit(self, key: str) -> int:
        """Counts one."""
        n = self.hits.get(key, 0) + 1
        self.hits[key] = n
        return n
