from compiler import decorators


@decorators.service
class Order(object):
    def __init__(self):
        self.orders = {}  # type: Persistent[dict]

    def place_order(self, user, flight, hotel):
        self.orders[user] = (flight, hotel)

    def count(self):
        return len(self.orders)
