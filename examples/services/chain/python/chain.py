"""A request that is handed on twice before it is counted."""
from weft.service import Map, Service


class Caller1(Service):
    """What clients call."""

    def hit(self, key: str) -> int:
        """Counts a hit of a key, two services away, and returns how many there are then."""
        return Caller2.at().hit(key)


class Caller2(Service):
    """Stands in between."""

    def hit(self, key: str) -> int:
        """Hands the hit on."""
        return Backend.at().hit(key)


class Backend(Service):
    """Counts the hits of each key."""

    hits: Map[str, int]

    def hit(self, key: str) -> int:
        """Counts one, and returns how many there are."""
        n = self.hits.get(key, 0) + 1
        self.hits[key] = n
        return n
