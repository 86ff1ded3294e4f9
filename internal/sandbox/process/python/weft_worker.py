"""A worker: a process that serves many calls, of a function that is resident.

It is forked and confined as the process of a single call is. What it serves
comes over a socket, whose messages are those of resident.go: a call with the
descriptors of its output and, where it has them, of its input and its buffers;
then the call's log lines, the head of its response, and its end.
"""
import contextvars
import io
import json
import os
import resource
import socket
import struct
import sys
import threading

import __main__ as server

CALL, CANCEL, STOP = 30, 31, 32
READY, RESPOND, LOG, DONE = 40, 41, 42, 43
BODY, STREAM, SLOTS, RAW = 1, 2, 4, 8  # of a call's message
INLINE = 32 << 10  # bytes of output that come with the end of a call
LINE_MAX = 32 << 10

serving = contextvars.ContextVar("weft_serving", default=0)  # the number of the call that code runs for


class Request:
    """A call that is to be served."""

    def __init__(self, worker, head, text, fds):
        self.worker = worker
        self.number = head[2]
        flags, length = head[1], head[3]
        self.meta = json.loads(text[:length])
        self.body = text[length:]
        self.raw = bool(flags & RAW)
        fds = list(fds)
        self.output = Output(fds.pop(0), bool(flags & STREAM))
        self.file = fds.pop(0) if flags & BODY else -1  # the body, instead of self.body
        self.slots = fds.pop(0) if flags & SLOTS else -1

    def input(self):
        """All of the body."""
        if self.file < 0:
            return self.body
        with io.open(self.file, "rb", buffering=0, closefd=False) as f:
            return f.readall() or b""

    def respond(self, status, headers):
        """Tells status and headers, before any of the body."""
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise ValueError("the response has the status %r: it ends the request with one from 200 to 999" % (status,))
        text = json.dumps(headers)
        if len(text) > server.TEXT_MAX:
            raise ValueError("the headers of the response have %d bytes, the limit is %d" % (len(text), server.TEXT_MAX))
        server.send(self.worker.sock, RESPOND, status, self.number, text=text)

    def done(self, code=0, text=""):
        """Tells the end. Nothing of the call may run then."""
        self.worker.log.flush_call(self.number)
        body = b""
        if code == 0:
            try:
                body = self.output.finish()
            except OSError as e:
                code, text = server.failure(e)
        self.output.close()
        for fd in (self.file, self.slots):
            if fd >= 0:
                os.close(fd)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = int((used.ru_utime + used.ru_stime) * 1e6)
        data = body if code == 0 else text.encode("utf-8", "replace")[: server.TEXT_MAX]
        self.worker.sock.sendmsg([server.HEAD.pack(DONE, code, self.number, cpu, used.ru_maxrss, len(body), 0), data])


class Output:
    """Where a call's output goes: at once if it is streamed, else a small one with the call's end."""

    def __init__(self, fd, stream):
        self.fd, self.stream = fd, stream
        self.kept = bytearray()

    def write(self, data):
        if self.stream:
            return server.write_output(self.fd, data)
        self.kept += data
        if len(self.kept) > INLINE:
            self.spill()

    def spill(self):
        server.write_output(self.fd, self.kept)
        self.kept = bytearray()

    def finish(self):
        if self.stream:
            return b""
        if os.lseek(self.fd, 0, os.SEEK_CUR) == 0:
            return bytes(self.kept)
        self.spill()
        return b""

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Log(io.RawIOBase):
    """What is printed, line by line, as messages that say which call it is of.

    What C code and child processes write goes to the descriptor itself, and to
    the log of the call that runs if there is but one.
    """

    def __init__(self, fd):
        self.fd, self.sock, self.only = fd, None, 0
        self.lock = threading.Lock()
        self.parts = {}

    def writable(self):
        return True

    def fileno(self):
        return self.fd

    def write(self, data):
        data = bytes(data)
        if self.sock is None:
            server.write_all(self.fd, data)
            return len(data)
        number = serving.get() or self.only
        with self.lock:
            text = self.parts.pop(number, b"") + data
            cut = text.rfind(b"\n") + 1
            if not cut and len(text) > LINE_MAX:
                cut = len(text)
            if len(text) > cut:
                self.parts[number] = text[cut:]
        self.send(number, text[:cut])
        return len(data)

    def flush_call(self, number):
        with self.lock:
            text = self.parts.pop(number, b"")
        self.send(number, text)

    def send(self, number, text):
        while text:
            part, text = text[:LINE_MAX], text[LINE_MAX:]
            try:
                self.sock.sendmsg([server.HEAD.pack(LOG, 0, number, 0, 0, 0, 0), part])
            except OSError:
                return  # the node is gone, and this process soon


def install_log():
    """Has prints, and loggers that the import sets up, come out where workers can tell them apart."""
    log = Log(2)
    stream = io.TextIOWrapper(log, encoding="utf-8", errors="replace", write_through=True)
    stream.mode = "w"
    sys.stdout = sys.stderr = stream
    return log


class Worker:
    def __init__(self, owner, sock, settings):
        self.owner = owner  # the Server that it was forked from
        self.sock = socket.socket(fileno=sock)
        self.settings = settings
        self.log = owner.log
        self.log.sock = self.sock

    def ready(self):
        server.send(self.sock, READY)

    def run(self):
        """Serves calls one after another, until there will be none."""
        serve = getattr(self, "serve_" + self.settings["resident"])
        self.ready()
        while True:
            head, text, fds = server.receive(self.sock)
            if head is None or head[0] == STOP:
                return 0
            if head[0] != CALL:
                continue
            request = Request(self, head, text, fds)
            self.log.only = request.number
            token = serving.set(request.number)
            self.allow()
            try:
                code, said = 0, ""
                try:
                    serve(request)
                except BaseException as e:
                    code, said = server.failure(e)
            finally:
                serving.reset(token)
            request.done(code, said)
            self.log.only = 0

    def allow(self):
        """Grants the CPU time of one more call."""
        cpu = self.settings["cpu"]
        if cpu:
            used = resource.getrusage(resource.RUSAGE_SELF)
            resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu + 1, resource.RLIM_INFINITY))

    def serve_handler(self, request):
        weft = self.owner.weft
        weft._reopen(request.slots)
        os.environ.update(request.meta.get("env") or {})
        context = weft.Context(request.meta)
        weft._begin(context)
        try:
            result = self.owner.handler(self.event(request), context)
            if hasattr(result, "__await__"):
                import asyncio

                result = asyncio.run(server.awaited(result))
            server.write_result(request.output.write, result)
        finally:
            for name in request.meta.get("env") or {}:
                os.environ.pop(name, None)
            weft._reopen(-1)
            weft._begin(None)

    def event(self, request):
        data = request.input()
        if request.raw:
            return memoryview(bytearray(data))
        try:
            return json.loads(data) if data.strip() else None
        except ValueError as e:
            raise server.Refused("the input is not JSON: %s" % e)

    def serve_wsgi(self, request):
        import weft_http

        self.owner.weft._begin(self.owner.weft.Context(request.meta))
        weft_http.wsgi(self.owner.handler, request)


def work(owner, sock, settings):
    """Is the worker, to its end. The result is the process's exit status."""
    if settings["resident"] == "asgi":
        import weft_asgi

        return weft_asgi.Worker(owner, sock, settings).run()
    return Worker(owner, sock, settings).run()
