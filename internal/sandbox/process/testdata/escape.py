"""The attempts of escape.c from Python, and some that are Python's own."""
import ctypes
import os
import signal
import subprocess
import sys

imported = {}


def own_attempts():
    def fails(f):
        try:
            f()
        except BaseException as e:
            return getattr(e, "errno", None) or 1
        return 0

    import socket

    node, port, path = int(os.environ["NODE"]), int(os.environ["PORT"]), os.environ["HOST_FILE"]
    server = sys.modules["__main__"]
    return {
        "open": fails(lambda: open(path)),
        "shadow": fails(lambda: open("/etc/shadow")),
        "connect": fails(lambda: socket.create_connection(("127.0.0.1", port), 1)),
        "connect6": fails(lambda: socket.create_connection(("::1", port), 1)),
        "listen": fails(lambda: socket.create_server(("127.0.0.1", 0))),
        "resolve": fails(lambda: socket.getaddrinfo("example.com", 80)),
        "kill": fails(lambda: os.kill(node, 0)),
        "signal the server": fails(lambda: os.kill(int(os.environ["SERVER"]) + 20, 9)),
        "server's socket": fails(lambda: server.send(socket.socket(fileno=3), server.EXITED)),
        "setuid": fails(lambda: os.setuid(0)),
        "chroot": fails(lambda: os.chroot("/tmp")),
        "mknod": fails(lambda: os.mknod("/tmp/d", 0o020600, os.makedev(1, 1))),
        "subprocess mount": 1 if subprocess.run(["mount", "-t", "tmpfs", "x", "/tmp"], stderr=subprocess.DEVNULL).returncode else 0,
        "subprocess unshare": 1 if subprocess.run(["unshare", "-Ur", "true"], stderr=subprocess.DEVNULL).returncode else 0,
        "change own server": fails(lambda: open("/weft/server.py", "w")),
        "change the interpreter": fails(lambda: open(sys.executable, "r+b")),
        "write beside": fails(lambda: open("/fn/x", "w")),
        "cached code": fails(lambda: os.mkdir("/fn/__pycache__")),
        "core": fails(lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_CORE, (1 << 20, 1 << 20))),
        "setns": fails(lambda: server.check(server.libc.setns(os.open("/proc/self/ns/mnt", os.O_RDONLY), 0), "x")),
        "capset": fails(lambda: server.check(server.libc.syscall(126, (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[~0] * 6)), "x")),
    }


def run():
    os.environ["PYTHON"] = "1"
    lib = ctypes.CDLL("/fn/escape.so")
    name = ctypes.create_string_buffer(64)
    lines, i = [], 0
    while True:
        r = lib.attempt(i, name)
        if r < 0:
            break
        lines.append("%s %d" % (name.value.decode(), r))
        i += 1
    for name, r in own_attempts().items():
        lines.append("python: %s %d" % (name, r))
    return "\n".join(lines).encode()


# At import the process still has two capabilities of its own user namespace,
# for its forks. What it may do with them is nothing that follows.
SKIP = ("fork_bomb", "fill_", "kill_host_init", "stray_fds", "capabilities", "ambient", "dumpable")


def at_import():
    lib = ctypes.CDLL("/fn/escape.so")
    os.environ["PYTHON"] = "1"
    name = ctypes.create_string_buffer(64)
    i = 0
    lines = []
    names = open("/fn/names").read().split()
    for i, n in enumerate(names):
        if n.startswith(SKIP):
            continue
        r = lib.attempt(i, name)
        lines.append("import: %s %d" % (name.value.decode(), r))
    return lines


os.environ["SERVER"] = str(os.getpid())
if os.environ.get("AT_IMPORT"):
    imported = at_import()


def handler(event, context):
    if event == "import":
        return "\n".join(imported).encode()
    return run()
