from compiler import decorators


@decorators.service
class Hotel(object):
    def __init__(self):
        self.places = {}  # type: Persistent[dict]

    def add_hotel(self, name, capacity):
        self.places[name] = {"capacity": capacity, "customers": []}

    def reserve_hotel(self, name, user):
        place = self.places[name]
        if place["capacity"] == 0:
            return False
        place["capacity"] -= 1
        place["customers"].append(user)
        self.places[name] = place
        return True

    def left(self, name):
        return self.places[name]["capacity"]
