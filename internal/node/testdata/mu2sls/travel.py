from compiler import decorators
from runtime.transaction_exception import TransactionException


@decorators.service
class Travel(object):
    def __init__(self):
        pass

    async def req(self, user, flight, hotel):
        again = True
        while again:
            try:
                BeginTx()
                room = AsyncInvoke('Hotel', 'reserve_hotel', hotel, user)
                seat = AsyncInvoke('Flight', 'reserve_flight', flight, user)
                got_room, got_seat = await WaitAll(room, seat)
                again = False
            except TransactionException:
                again = True
        if not got_room:
            AbortTxNoExc()
            return (got_room, "Hotel Reservation Failed")
        if not got_seat:
            AbortTxNoExc()
            return (got_seat, "Flight Reservation Failed")
        CommitTx()
        SyncInvoke('Order', 'place_order', user, flight, hotel)
        return (True, "Order Successful")
