"""Changes three services, or none."""
from weft.service import Error, List, Service, transaction


class Own(Error):
    """The caller has changed its mind."""


class Unwilling(Error):
    """The second service refuses."""


class Frontend(Service):
    """Has numbers, and asks First and Second to have the same ones."""

    numbers: List[int]

    def compose(self, n: int) -> list:
        """Has all three remember n, and returns what each of them has then: First, Frontend, Second."""
        with transaction():
            First.at().add(n)
            self.numbers.append(n)
            Second.at().add(n)
        return self.read()

    def abort(self, n: int) -> list:
        """Begins as compose does, and then fails: the caller itself where n is 10 or less, else Second. Nobody has n."""
        try:
            with transaction():
                First.at().add(n)
                self.numbers.append(n)
                if n <= 10:
                    raise Own("the caller has changed its mind")
                Second.at().refuse(n)
        except (Own, Unwilling):
            pass
        return self.read()

    def read(self) -> list:
        """Returns what First, Frontend and Second have."""
        return [First.at().read(), list(self.numbers), Second.at().read()]


class First(Service):
    """Has numbers."""

    numbers: List[int]

    def add(self, n: int) -> None:
        """Remembers n."""
        self.numbers.append(n)

    def read(self) -> list:
        """Returns all numbers."""
        return list(self.numbers)


class Second(Service):
    """Has numbers, and a mind of its own."""

    numbers: List[int]

    def add(self, n: int) -> None:
        """Remembers n."""
        self.numbers.append(n)

    def refuse(self, n: int) -> None:
        """Fails behind what it has done."""
        self.numbers.append(n)
        raise Unwilling("the second service refuses")

    def read(self) -> list:
        """Returns all numbers."""
        return list(self.numbers)
