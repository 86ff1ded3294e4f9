"""Requests for ASGI applications: many at a time, in one event loop.

Reference: the ASGI specification 3.0, "HTTP & WebSocket" 2.3 and "Lifespan" 2.0.
"""
import asyncio
import os
import socket
import stat
from urllib.parse import unquote, unquote_to_bytes

import __main__ as server
import weft_http
import weft_worker
from weft_worker import CALL, CANCEL, STOP, Request, serving

CHUNK = 64 << 10  # bytes of a body that an application gets at a time
SHUTDOWN = 4.0  # seconds that an application has for its shutdown


class Refused(server.Refused):
    pass


class Worker(weft_worker.Worker):
    def run(self):
        return asyncio.run(self.main())

    async def main(self):
        self.loop = asyncio.get_running_loop()
        self.tasks = {}  # number of a call -> its request
        self.over = self.loop.create_future()
        lifespan = Lifespan(self.owner.handler)
        await lifespan.startup()
        self.state = lifespan.state
        self.ready()
        self.loop.add_reader(self.sock.fileno(), self.readable)
        await self.over
        self.loop.remove_reader(self.sock.fileno())
        if self.tasks:
            await asyncio.wait({r.task for r in self.tasks.values()}, timeout=SHUTDOWN)
        await lifespan.shutdown()
        return 0

    def readable(self):
        for _ in range(16):
            try:
                head, text, fds = server.receive(self.sock, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if head is None or head[0] == STOP:
                if not self.over.done():
                    self.over.set_result(None)
                return
            if head[0] == CALL:
                request = Request(self, head, text, fds)
                request.begun = request.dropped = False
                request.task = self.loop.create_task(self.serve(request))
                self.tasks[request.number] = request
                self.log.only = request.number if len(self.tasks) == 1 else 0
            elif head[0] == CANCEL and head[2] in self.tasks:
                request = self.tasks[head[2]]
                request.dropped = True
                if request.begun:  # else its task would never run, and never say that it has ended
                    request.task.cancel()

    async def serve(self, request):
        serving.set(request.number)
        code, said = 0, ""
        exchange = None
        request.begun = True
        try:
            if request.dropped:
                raise asyncio.CancelledError
            weft = self.owner.weft
            weft._begin(weft.Context(request.meta))
            if not weft_http.refused(request):
                exchange = Exchange(request, self.loop)
                await self.owner.handler(exchange.scope(self.state), exchange.receive, exchange.send)
                exchange.check()
        except BaseException as e:
            code, said = server.failure(e)
        if exchange is not None:
            exchange.close()
        del self.tasks[request.number]
        request.done(code, said)
        self.log.only = next(iter(self.tasks)) if len(self.tasks) == 1 else 0


class Lifespan:
    """Startup and shutdown of an application that knows of them."""

    def __init__(self, app):
        self.app, self.state, self.task = app, {}, None
        self.started, self.stopped, self.failed = asyncio.Event(), asyncio.Event(), None
        self.queue = asyncio.Queue()

    async def startup(self):
        self.task = asyncio.ensure_future(self.run())
        self.queue.put_nowait({"type": "lifespan.startup"})
        waiting = asyncio.ensure_future(self.started.wait())
        await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.failed is not None:
            raise Refused("its startup has failed: %s" % self.failed)

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.queue.get, self.send)
        except Exception as e:
            # Before it has answered, it says by an exception that it knows nothing of lifespans.
            if self.started.is_set() and not self.stopped.is_set():
                print("weft: shutdown: %s" % server.explain(e))

    async def send(self, event):
        kind = event["type"]
        if kind == "lifespan.startup.failed":
            self.failed = event.get("message") or "it does not say why"
        if kind.startswith("lifespan.startup."):
            self.started.set()
        elif kind.startswith("lifespan.shutdown."):
            self.stopped.set()
            if kind.endswith(".failed"):
                print("weft: the shutdown has failed: %s" % event.get("message"))

    async def shutdown(self):
        if self.task.done():
            return
        self.queue.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait({self.task}, timeout=SHUTDOWN)


class Exchange:
    """One request and its response."""

    def __init__(self, request, loop):
        self.request, self.loop = request, loop
        self.asked, self.head, self.begun, self.complete = False, None, False, False
        self.left = -1  # bytes of the body's file; -1: not looked at
        self.end = loop.create_future()  # of the response
        self.pipe = request.output.stream
        if self.pipe:
            os.set_blocking(request.output.fd, False)

    def scope(self, state):
        http = self.request.meta["http"]
        headers = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in http["headers"]]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": http["proto"].rpartition("/")[2],
            "method": http["method"],
            "scheme": http["scheme"],
            "path": unquote(http["root"] + http["path"]),
            "raw_path": (http["root"] + http["path"]).encode("ascii"),
            "query_string": http["query"].encode("latin-1"),
            "root_path": unquote(http["root"]),
            "headers": headers,
            "client": (http["client"], 0) if http["client"] else None,
            "server": (http["host"] or "localhost", http["port"]),
            "state": dict(state),
        }

    async def receive(self):
        if not self.asked:
            body, more = await self.body()
            self.asked = not more
            return {"type": "http.request", "body": body, "more_body": more}
        await asyncio.shield(self.end)
        return {"type": "http.disconnect"}

    async def body(self):
        fd = self.request.file
        if fd < 0:
            return self.request.body, False
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            await self.until(fd, self.loop.add_reader, self.loop.remove_reader)
            piece = os.read(fd, CHUNK)
            return piece, bool(piece)
        if self.left < 0:
            self.left = os.fstat(fd).st_size
        piece = os.read(fd, min(CHUNK, self.left)) if self.left else b""
        self.left -= len(piece)
        return piece, self.left > 0 and bool(piece)

    async def until(self, fd, add, remove):
        """Waits until a descriptor can be read or written."""
        can = self.loop.create_future()
        add(fd, lambda: can.done() or can.set_result(None))
        try:
            await can
        finally:
            remove(fd)

    async def send(self, event):
        kind = event["type"]
        if self.complete:
            return
        if kind == "http.response.start":
            if self.head is not None:
                raise RuntimeError("the application sends http.response.start twice")
            headers = weft_http.checked([(bytes(n).decode("latin-1"), bytes(v).decode("latin-1")) for n, v in event.get("headers", ())])
            self.head = event["status"], headers
        elif kind == "http.response.body":
            if self.head is None:
                raise RuntimeError("the application sends http.response.body before http.response.start")
            if not self.begun:
                self.begun = True
                self.request.respond(*self.head)
            await self.write(event.get("body", b""))
            if not event.get("more_body"):
                self.finish()
        else:
            raise RuntimeError("the application sends %r, which is no part of an HTTP response" % kind)

    async def write(self, data):
        if not self.pipe:
            self.request.output.write(data)
            return
        view = memoryview(data)
        while len(view):
            try:
                view = view[os.write(self.request.output.fd, view):]
            except BlockingIOError:
                await self.until(self.request.output.fd, self.loop.add_writer, self.loop.remove_writer)

    def finish(self):
        self.complete = True
        if not self.end.done():
            self.end.set_result(None)

    def check(self):
        if not self.complete:
            raise RuntimeError("the application has returned before the end of its response")

    def close(self):
        self.finish()
