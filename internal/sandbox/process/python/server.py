"""The fork server of a function in Python.

The warden has put this process behind its walls. It imports the function's
module once, and then forks a process for each call. Until it forks it keeps two
capabilities of the version's own user namespace, to put the child into the
namespaces that the warden has made for it; the child gives them up before it
hears what the call is.

Descriptor 3 is the socket to the warden; messages are those of warden.h.
"""
import errno
import os
import sys
import json
import struct
import socket
import select
import signal
import ctypes
import fcntl
import gc
import io
import mmap
import resource
import types

SERVER = 3
HEAD = struct.Struct("=IIQ4q")
ENDED, START, FORK, SERVING, BROKEN, FORKED, EXITED = 12, 2, 20, 21, 22, 23, 24
REFUSED, RAISED, OUTPUT, MEMORY = 1, 2, 3, 4  # what a call says of its end
UNSAID = 98  # status of a call that cannot say more: its handler has closed what it would say it by
INTO = 1 << 31
NEWNS, NEWIPC, NEWNET, NEWPID = 0x00020000, 0x08000000, 0x40000000, 0x20000000
TEXT_MAX = 60 << 10

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result < 0:
        e = ctypes.get_errno()
        raise OSError(e, "%s: %s" % (what, os.strerror(e)))
    return result


def send(sock, kind, a=0, number=0, v=(0, 0, 0, 0), text="", fds=()):
    body = text.encode("utf-8", "replace")[:TEXT_MAX]
    head = HEAD.pack(kind, a & 0xFFFFFFFF, number, *v)
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(fds), *fds))] if fds else []
    sock.sendmsg([head, body], control)


def receive(sock, flags=0):
    data, control, _, _ = sock.recvmsg(HEAD.size + (64 << 10), socket.CMSG_SPACE(16 * 4), socket.MSG_CMSG_CLOEXEC | flags)
    fds = []
    for level, kind, body in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.extend(struct.unpack("%di" % (len(body) // 4), body[: len(body) // 4 * 4]))
    if len(data) < HEAD.size:
        return None, b"", fds
    return HEAD.unpack(data[: HEAD.size]), data[HEAD.size :], fds


def explain(error):
    """The traceback of an exception as its author wants it: frames of the function only."""
    import traceback

    report = traceback.TracebackException.from_exception(error)
    seen = set()

    def prune(r):
        if r is None or id(r) in seen:
            return
        seen.add(id(r))
        own = [f for f in r.stack if f.filename.startswith("/fn/")]
        rest = [f for f in r.stack if not f.filename.startswith(("/weft/", "<frozen importlib"))
                and not f.filename.endswith("/importlib/__init__.py")]
        r.stack[:] = own or rest
        prune(r.__cause__)
        prune(r.__context__)
        for e in getattr(r, "exceptions", None) or ():
            prune(e)

    prune(report)
    lines = "".join(report.format()).rstrip().replace('"/fn/', '"')
    head = "".join(report.format_exception_only()).strip().split("\n")[-1]
    return head + "\n" + lines


class SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def import_own(name):
    """Imports a module of the function, also one that is called like a module of Python or of a layer.

    Such a module, a site.py or an email.py, is there as fn_site or fn_email,
    and the other one stays what everybody else imports under that name.
    """
    import importlib.util
    from importlib.machinery import PathFinder

    path = list(sys.path)
    rest = [p for p in path if p != "/fn"]
    own = PathFinder.find_spec(name, ["/fn"]) if "." not in name else None
    if own is None or own.origin is None or name not in sys.modules and PathFinder.find_spec(name, rest) is None:
        return importlib.import_module(name)
    sys.path[:] = rest
    try:
        importlib.import_module(name)
    except Exception:
        pass  # whoever needs it will see
    finally:
        sys.path[:] = path
    spec = importlib.util.spec_from_file_location("fn_" + name, own.origin, submodule_search_locations=own.submodule_search_locations)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Fork:
    """One call's process, seen from the server."""

    def __init__(self, number, pid, fd):
        self.number, self.pid, self.fd = number, pid, fd


class Server:
    def __init__(self, settings):
        self.settings = settings
        self.sock = socket.socket(fileno=SERVER)
        self.forks = {}  # descriptor of a process -> Fork
        self.own = os.pidfd_open(os.getpid(), 0)
        with open("/weft/filter", "rb") as f:
            self.filter = ctypes.create_string_buffer(f.read())
        self.program = SockFprog((len(self.filter) - 1) // 8, ctypes.addressof(self.filter))
        self.handler = None
        self.log = None

    def load(self):
        """Imports the function. Whatever it prints is its log."""
        sys.path[:] = self.settings["paths"] + ["/weft"] + sys.path
        resident = self.settings["resident"]
        if resident:
            import weft_worker

            self.log = weft_worker.install_log()
            if resident == "asgi":
                import weft_asgi  # noqa: F401
            elif resident == "wsgi":
                import weft_http  # noqa: F401
        else:
            sys.stdout.reconfigure(line_buffering=True)
        sys.argv = [self.settings["module"]]
        import weft

        self.weft = weft

        if self.settings["service"] is not None:
            return self.load_service()
        name = self.settings["handler"] or ("app" if resident in ("wsgi", "asgi") else "handler")
        module = import_own(self.settings["module"])
        self.handler = getattr(module, name, None)
        if not callable(self.handler):
            there = [n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_")]
            raise LookupError("module %s has no %s %s%s" % (
                self.settings["module"], "application" if name == "app" else "function", name, "; it has " + ", ".join(sorted(there)[:10]) if there else ""))
        import inspect
        import traceback  # noqa: F401  # a call that has no descriptors left could not

        if inspect.iscoroutinefunction(self.handler) or inspect.isasyncgenfunction(self.handler):
            import asyncio  # noqa: F401
        if os.path.isdir("/proc/self/task") and len(os.listdir("/proc/self/task")) > 1:
            print("weft: the module %s starts threads when it is imported: they will not be there in calls; start them in the handler"
                  % self.settings["module"], file=sys.stderr)

    def load_service(self):
        """Imports a service, whose handler executes its methods."""
        from weft import _instance

        _instance.prepare(self.settings["service"])
        name, handler = self.settings["function"], self.settings["handler"]
        module = import_own(self.settings["module"])
        spec = _instance.load(name, module, handler, self.settings["methods"])
        self.handler = getattr(module, handler) if spec is None else lambda event, context: _instance.main(spec)

    def run(self):
        try:
            self.load()
        except BaseException as e:  # SystemExit too: an import must not end the server silently
            text = "\n".join(e.problems) if hasattr(e, "problems") else explain(e)
            if isinstance(e, ModuleNotFoundError) and e.name:
                text += "\nhint: if a package has %s, name that in the function's requirements" % e.name.split(".")[0]
            send(self.sock, BROKEN, text=text)
            os._exit(1)
        gc.collect()
        gc.freeze()  # so that collections in calls leave the pages of the import alone
        sys.stdout.flush()
        sys.stderr.flush()
        send(self.sock, SERVING)
        poll = select.poll()
        poll.register(SERVER, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == SERVER:
                    self.message(poll)
                else:
                    self.ended(self.forks.pop(fd), poll)

    def message(self, poll):
        head, _, fds = receive(self.sock)
        if head is None:
            os._exit(0)
        try:
            if head[0] == FORK and len(fds) >= 6:
                self.fork(head[2], fds, poll)
        finally:
            for fd in fds:
                os.close(fd)

    def fork(self, number, fds, poll):
        pid = -1
        try:
            check(libc.setns(fds[0], NEWPID), "setns")
            pid = os.fork()
            if pid == 0:
                try:
                    Call(self, fds).run()
                finally:
                    os._exit(1)
        except OSError as e:
            if e.errno != errno.ENOMEM:  # which is also what a namespace says whose call was killed meanwhile
                print("weft: fork: %s" % e, file=sys.stderr)
        check(libc.setns(self.own, NEWPID), "return to the own pid namespace")
        if pid < 0:
            send(self.sock, EXITED, 97 << 8, number)
            return
        fd = os.pidfd_open(pid, 0)
        self.forks[fd] = Fork(number, pid, fd)
        poll.register(fd, select.POLLIN)
        send(self.sock, FORKED, 0, number, fds=[fd])

    def ended(self, fork, poll):
        poll.unregister(fork.fd)
        os.close(fork.fd)
        _, status, used = os.wait4(fork.pid, 0)
        send(self.sock, EXITED, status, fork.number,
             (int(used.ru_utime * 1e6), int(used.ru_stime * 1e6), used.ru_maxrss, 0))


class Call:
    """A call, in its own process."""

    def __init__(self, server, fds):
        self.server, self.fds = server, fds
        self.sock = None

    def run(self):
        code = 1
        try:
            self.enter()
            code = self.serve()
        except BaseException as e:
            code = self.say(REFUSED, "%s: %s" % (type(e).__name__, e))
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        os._exit(code)

    def say(self, what, text):
        """Says how the call has failed, and returns its status."""
        try:
            send(self.sock, ENDED, what, text=text)
        except OSError as e:
            if e.errno not in (errno.EBADF, errno.ENOTSOCK):
                return 1  # the node has gone
            try:
                print(text, file=sys.stderr)
            except Exception:
                pass
            return UNSAID
        return 1

    def enter(self):
        """Leaves the server behind: its descriptors, namespaces, privileges and randomness."""
        s = self.server
        _, mnt, ipc, net, ready, sock = self.fds[:6]
        high = min(512, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 16)
        self.high = high
        self.sock = socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, high))
        s.sock.close()
        for fd in s.forks:
            os.close(fd)
        os.close(s.own)
        for fd in self.fds[6:]:
            os.write(fd, b"0")
        if os.read(ready, 1) != b"1":
            raise OSError("its namespaces could not be furnished")
        for fd, kind in ((mnt, NEWNS), (ipc, NEWIPC), (net, NEWNET)):
            check(libc.setns(fd, kind), "enter the namespaces")
        for fd in self.fds:
            os.close(fd)
        os.chdir("/fn")
        os.setsid()
        # prctl(2): PR_CAP_AMBIENT, PR_SET_DUMPABLE, PR_SET_SECCOMP
        check(libc.prctl(47, 4, 0, 0, 0), "clear the ambient capabilities")
        head = (ctypes.c_uint32 * 2)(0x20080522, 0)
        check(libc.syscall(CAPSET, head, (ctypes.c_uint32 * 6)()), "capset")
        check(libc.prctl(4, 0, 0, 0, 0), "become undumpable")
        check(libc.prctl(22, 2, ctypes.byref(s.program), 0, 0), "install the filter")
        if s.settings["cpu"] and not s.settings["resident"]:
            resource.setrlimit(resource.RLIMIT_CPU, (s.settings["cpu"], s.settings["cpu"]))
        reseed()

    def serve(self):
        head, text, fds = receive(self.sock)
        if head is None or head[0] != START or len(fds) < 3:
            os._exit(97)  # it is not needed any more
        meta = json.loads(text)
        out = fcntl.fcntl(fds[1], fcntl.F_DUPFD_CLOEXEC, self.high)
        os.dup2(fds[0], 0)
        os.dup2(fds[2], 1)
        os.dup2(fds[2], 2)
        resident = self.server.settings["resident"]
        if len(fds) > 3:
            os.dup2(fds[3], 3, inheritable=False)
            if not resident:
                os.environ["WEFT_SERVICE_FD" if meta.get("frames") else "WEFT_FD"] = "3"
        for fd in fds:
            if fd > 3:
                os.close(fd)
        try:
            if resident:
                import weft_worker

                return weft_worker.work(self.server, fcntl.fcntl(3, fcntl.F_DUPFD_CLOEXEC, self.high), self.server.settings)
            os.environ.update(meta.get("env") or {})
            context = self.server.weft.Context(meta)
            self.server.weft._begin(context)
            result = self.server.handler(read_event(meta.get("raw")), context)
            if hasattr(result, "__await__"):
                import asyncio

                result = asyncio.run(awaited(result))
            write_result(lambda data: write_output(out, data), result)
        except SystemExit as e:
            if e.code in (None, 0):
                return 0
            if isinstance(e.code, int):
                return e.code & 255 or 1
            print(e.code, file=sys.stderr)
            return 1
        except BaseException as e:
            return self.say(*failure(e))
        return 0


def reseed():
    """Gives a fork random numbers of its own."""
    for name in ("random", "numpy.random"):
        if name in sys.modules:
            sys.modules[name].seed()


class Refused(Exception):
    """A call that cannot be made, through no fault of the handler."""


def failure(e):
    """What to say of a call that has ended with an exception."""
    if isinstance(e, Unwritable):
        return OUTPUT, str(e)
    if isinstance(e, Refused):
        return REFUSED, str(e)
    if isinstance(e, OSError) and e.errno == errno.EFBIG and e.filename is None:
        return OUTPUT, "a file or the output is longer than it may be: %s" % explain(e)
    if isinstance(e, MemoryError):
        return MEMORY, explain(e)
    if isinstance(e, SystemExit) and e.code in (None, 0):
        return 0, ""
    return RAISED, explain(e)


CAPSET = {"x86_64": 126, "aarch64": 91}[os.uname().machine]


async def awaited(result):
    return await result


def read_event(raw):
    """The input: bytes, large ones without a copy, or what the JSON says; nothing is None."""
    try:
        size = os.fstat(0).st_size
    except OSError:
        size = 0
    data = b""
    if raw and size > 64 << 10:
        return memoryview(mmap.mmap(0, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE))
    with io.open(0, "rb", buffering=0, closefd=False) as f:
        data = f.readall() or b""
    if raw:
        return memoryview(bytearray(data))
    try:
        return json.loads(data) if data.strip() else None
    except ValueError as e:
        raise Refused("the input is not JSON: %s" % e)


class Unwritable(Exception):
    """A result that cannot be an output."""


def write_all(out, data):
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    while len(view):
        n = os.write(out, view)
        view = view[n:]


def write_output(out, data):
    try:
        write_all(out, data)
    except OSError as e:
        if e.errno != errno.EBADF:
            raise
        raise Unwritable("the handler has closed the descriptor that its output is written to")


def encode(value):
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as e:
        where = wrong(value, "")
        raise Unwritable("the handler returned what is not JSON%s: return dict, list, str, int, float, bool or None, "
                         "or bytes for a raw output" % (where or ": %s" % e))


def wrong(value, path, depth=0):
    """Finds the first part of a value that JSON has no form for."""
    if depth > 200:
        return ", which is nested too deeply or contains itself"
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        return None if value == value and abs(value) != float("inf") else ": %r at %s" % (value, path or "the top")
    if isinstance(value, dict):
        for k, v in value.items():
            if not isinstance(k, (str, int, float, bool, type(None))):
                return ": a key of type %s at %s" % (type(k).__name__, path or "the top")
            found = wrong(v, "%s.%s" % (path, k), depth + 1)
            if found:
                return found
        return None
    if isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            found = wrong(v, "%s[%d]" % (path, i), depth + 1)
            if found:
                return found
        return None
    return ": a value of type %s at %s" % (type(value).__name__, path or "the top")


def raw_chunk(value):
    return isinstance(value, (bytes, bytearray, memoryview))


def write_result(write, result):
    """Bytes as they are, a generator piece by piece, anything else as JSON."""
    if raw_chunk(result):
        return write(result)
    if isinstance(result, types.GeneratorType):
        for piece in result:
            write_piece(write, piece)
        return None
    if isinstance(result, types.AsyncGeneratorType):
        import asyncio

        async def drain():
            async for piece in result:
                write_piece(write, piece)

        return asyncio.run(drain())
    return write(encode(result))


def write_piece(write, piece):
    if raw_chunk(piece):
        write(piece)
    elif isinstance(piece, str):
        write(piece.encode())
    else:
        write(encode(piece) + b"\n")


def main():
    with open("/weft/settings.json") as f:
        settings = json.load(f)
    if sys.version_info[:2] < tuple(settings["oldest"]):
        sock = socket.socket(fileno=SERVER)
        send(sock, BROKEN, text="this is Python %d.%d; functions need %d.%d or later" % (sys.version_info[:2] + tuple(settings["oldest"])))
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if settings["common"] is not None:
        sys.path.append("/weft")
        import weft_parent

        sys.path.remove("/weft")
        settings = weft_parent.run(settings)  # it returns in forks
    Server(settings).run()


main()
