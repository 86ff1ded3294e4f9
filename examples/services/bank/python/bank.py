"""Accounts, a teller who moves money between them, and an audit that sees the same total at any time."""
from typing import TypedDict

from weft.service import Error, List, Map, Service, Value, after, any_of, gather, now, promise, request, start, transaction


class Funds(Error):
    """Raised where an account has too little."""


class Entry(TypedDict):
    """How an account has changed."""

    At: str
    Amount: int
    Balance: int


class Move(TypedDict):
    """An order to move money."""

    From: str
    To: str
    Amount: int


class Account(Service):
    """The money of somebody."""

    balance: Value[int] = 0
    entries: List[Entry]

    def put(self, amount: int) -> int:
        """Adds money, and returns the balance."""
        if amount < 0:
            raise ValueError("put %d: an amount is positive" % amount)
        return self._change(amount)

    def take(self, amount: int) -> int:
        """Takes money out, and returns the balance."""
        if amount < 0:
            raise ValueError("take %d: an amount is positive" % amount)
        if self._change(-amount) < 0:
            raise Funds("insufficient funds")  # and the entry is not made
        return self.balance

    def _change(self, amount: int) -> int:
        self.balance += amount
        self.entries.append({"At": now().isoformat(), "Amount": amount, "Balance": self.balance})
        return self.balance

    def read(self) -> int:
        """Returns the balance."""
        return self.balance

    def history(self) -> list:
        """Returns all changes."""
        return list(self.entries)


class Teller(Service):
    """Moves money."""

    moves: Map[str, Move]  # by request

    def move(self, m: Move) -> None:
        """Moves money: both accounts get to know, or none does."""
        with transaction():
            Account.at(m["From"]).take(m["Amount"])
            Account.at(m["To"]).put(m["Amount"])
            self.moves[request()] = m

    def moveAll(self, moves: list) -> int:
        """Carries orders out one by one, and returns how many could be."""
        done = 0
        for m in moves:
            try:
                self.move(m)
                done += 1
            except Error:
                pass
        return done

    def moveLater(self, m: Move, seconds: float) -> str:
        """Moves money after a while, if nobody resolves the promise "stop" until then."""
        stop = promise("stop")
        if any_of(stop, after(seconds)) == 0:
            return "stopped: %s" % stop.wait()
        self.move(m)
        return "moved"

    def count(self) -> int:
        """Returns how many moves there were."""
        return len(self.moves)


class Audit(Service):
    """Sums up accounts."""

    def total(self, accounts: list) -> int:
        """Asks all accounts at once, at one moment."""
        with transaction():
            return sum(gather(*[start(Account.at(name).read) for name in accounts]))
