"""Reserves a room and a seat: both, or none."""
import uuid
from typing import TypedDict

from weft.service import Error, Map, Service, gather, start, transaction


class NoRoom(Error):
    """No room is free."""


class NoSeat(Error):
    """No seat is free."""


class Booking(TypedDict):
    """What somebody has ordered."""

    user: str
    hotel: str
    flight: str


class Frontend(Service):
    """What guests call."""

    def reserve(self, user: str, hotel: str, flight: str) -> dict:
        """Takes a room and a seat in a transaction, and places an order for them."""
        try:
            with transaction():
                gather(start(Hotel.at().reserve, hotel), start(Flight.at().reserve, flight))
        except NoRoom:
            return {"ok": False, "text": "Hotel Reservation Failed"}
        except NoSeat:
            return {"ok": False, "text": "Flight Reservation Failed"}
        Order.at().place({"user": user, "hotel": hotel, "flight": flight})
        return {"ok": True, "text": "Order Successful"}


class Hotel(Service):
    """Has the rooms of all hotels."""

    rooms: Map[str, int]  # free ones

    def add(self, hotels: list, rooms: int) -> None:
        """Adds rooms to hotels."""
        for name in hotels:
            self.rooms[name] = self.rooms.get(name, 0) + rooms

    def reserve(self, hotel: str) -> int:
        """Takes a room, and returns how many are left."""
        left = self.rooms.get(hotel, 0) - 1
        if left < 0:
            raise NoRoom("no room is free")
        self.rooms[hotel] = left
        return left

    def free(self, hotel: str) -> int:
        """Returns how many rooms are free."""
        return self.rooms.get(hotel, 0)


class Flight(Service):
    """Has the seats of all flights."""

    seats: Map[str, int]  # free ones

    def add(self, flights: list, seats: int) -> None:
        """Adds seats to flights."""
        for name in flights:
            self.seats[name] = self.seats.get(name, 0) + seats

    def reserve(self, flight: str) -> int:
        """Takes a seat, and returns how many are left."""
        left = self.seats.get(flight, 0) - 1
        if left < 0:
            raise NoSeat("no seat is free")
        self.seats[flight] = left
        return left

    def free(self, flight: str) -> int:
        """Returns how many seats are free."""
        return self.seats.get(flight, 0)


class Order(Service):
    """Has all orders."""

    orders: Map[str, Booking]  # by ID

    def place(self, booking: dict) -> str:
        """Stores an order, and returns its ID."""
        name = str(uuid.uuid4())
        self.orders[name] = booking
        return name

    def count(self) -> int:
        """Returns how many orders there are."""
        return len(self.orders)
