"""The parent of fork servers: the functions of an app that have the same layers.

It has imported what several of them import, from the layers and Python's own
library, and nothing of any function: /fn is empty here. For each function it
forks the server, which enters the namespaces of that function's warden, and
becomes there what the warden would have executed.
"""
import ctypes
import errno
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys

import __main__ as server

ADOPT, ADOPTED = 4, 25
NEWUSER, NEWCGROUP = 0x10000000, 0x02000000
USER, PID, MNT, IPC, NET, SOCK, STDERR, ENTRANCES = range(8)  # descriptors beside ADOPT
KEPT = 1 << 18 | 1 << 21  # CAP_SYS_CHROOT, CAP_SYS_ADMIN, as drop_caps has it
LANDLOCK_CREATE, LANDLOCK_RESTRICT = 444, 446


def load(settings):
    """Imports what is common, and returns the names of all modules that are there then."""
    for name in settings["common"]:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as e:
            if not (name + ".").startswith("%s." % e.name):
                raise
            # Each function looks for it itself, and has it or says so.
    importlib.import_module("weft")
    importlib.import_module("inspect")
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("one of %s starts threads when it is imported" % ", ".join(settings["common"]))
    return sorted({name.split(".")[0] for name in sys.modules})


def run(settings):
    """Serves until the warden ends; in a child it returns the settings of the function whose server that is."""
    plain = list(sys.path)
    sys.path[:] = settings["paths"] + ["/weft"] + plain
    sock = socket.socket(fileno=server.SERVER)
    try:
        modules = load(settings)
    except BaseException as e:
        server.send(sock, server.BROKEN, text=server.explain(e))
        os._exit(1)
    sys.path[:] = plain
    gc.collect()
    gc.freeze()
    sys.stdout.flush()
    sys.stderr.flush()
    own = os.pidfd_open(os.getpid(), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the wardens see how servers end
    server.send(sock, server.SERVING, text=" ".join(modules))
    while True:
        head, _, fds = server.receive(sock)
        if head is None:
            os._exit(0)
        pid = -1
        try:
            if head[0] == ADOPT and len(fds) >= ENTRANCES:
                server.check(server.libc.setns(fds[PID], server.NEWPID), "setns")
                pid = os.fork()
        except OSError as e:
            print("weft: fork: %s" % e, file=sys.stderr)
        if pid == 0:
            try:
                return enter(sock, own, fds)
            except BaseException as e:  # the warden notices, and starts a server itself
                os.write(2, ("weft: enter the namespaces of a function: %s\n" % e).encode())
                os._exit(1)
        server.check(server.libc.setns(own, server.NEWPID), "return to the own pid namespace")
        for fd in fds:
            os.close(fd)


def enter(sock, own, fds):
    """Leaves the parent behind, for what run_server of the warden gives a server."""
    libc, check = server.libc, server.check
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for fd in fds[ENTRANCES:]:
        os.write(fd, b"0")
    for i, kind in ((USER, NEWUSER), (MNT, server.NEWNS), (IPC, server.NEWIPC), (NET, server.NEWNET)):
        check(libc.setns(fds[i], kind), "setns")
    libc.unshare(NEWCGROUP)  # of the parent's group it sees nothing; where there are none there is nothing to see
    os.chdir("/fn")
    os.setsid()
    with open("/weft/settings.json") as f:
        settings = json.load(f)
    for name, value in settings["limits"].items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
    os.environ.clear()
    for variable in settings["env"]:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    # prctl(2): PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_SET_DUMPABLE, PR_SET_SECCOMP
    for cap in range(64):
        if not KEPT >> cap & 1 and libc.prctl(24, cap, 0, 0, 0) < 0 and ctypes.get_errno() == errno.EINVAL:
            break
    check(libc.prctl(47, 4, 0, 0, 0), "clear the ambient capabilities")
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    check(libc.syscall(server.CAPSET, head, (ctypes.c_uint32 * 6)(KEPT, KEPT, 0)), "capset")
    landlock()
    check(libc.prctl(4, 1, 0, 0, 0), "become dumpable")
    with open("/weft/server.filter", "rb") as f:
        text = f.read()
    code = ctypes.create_string_buffer(text, len(text))
    program = server.SockFprog(len(text) // 8, ctypes.addressof(code))
    check(libc.prctl(22, 2, ctypes.byref(program), 0, 0), "install the filter")
    sock.detach()
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((fds[SOCK], server.SERVER), (fds[STDERR], 1), (fds[STDERR], 2), (null, 0)):
        os.dup2(source, target)
    os.set_inheritable(server.SERVER, False)
    os.close(null)
    os.close(own)
    server.reseed()
    importlib.invalidate_caches()
    adopted = socket.socket(fileno=server.SERVER)
    self = os.pidfd_open(os.getpid(), 0)
    server.send(adopted, ADOPTED, fds=[self])
    os.close(self)
    adopted.detach()
    for fd in fds:
        os.close(fd)
    return settings


def landlock():
    """As enter_scope of the warden: no TCP, and from 6 on no abstract sockets and signals to outside."""
    libc = server.libc
    abi = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if abi < 4:
        return
    rules = (ctypes.c_uint64 * 3)(0, 3, 3 if abi >= 6 else 0)
    fd = server.check(libc.syscall(LANDLOCK_CREATE, rules, ctypes.c_size_t(24 if abi >= 6 else 16), 0), "landlock")
    server.check(libc.syscall(LANDLOCK_RESTRICT, fd, 0), "landlock")
    os.close(fd)
