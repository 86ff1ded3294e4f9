from compiler import decorators


@decorators.service
class Caller(object):
    def __init__(self):
        pass

    async def compose(self, value: int):
        one = AsyncInvoke('Service1', 'set', value)
        two = AsyncInvoke('Service2', 'set', value)
        return await WaitAll(one, two)

    def compose_sync(self, value: int):
        one = AsyncInvoke('Service1', 'set', value)
        WaitAll(one)
        return Wait(AsyncInvoke('Service2', 'set', value))

    async def one(self, value: int):
        return await Wait(AsyncInvoke('Service1', 'set', value))
