"""The parent of instances of services in Python: it imports the app's module once, and forks an
instance for each socket that comes with the name of a service, until its own socket ends.

It is started with the folder of module weft, that of the app, the module's name, and the services' names.
"""
import gc
import importlib
import os
import signal
import socket
import sys

sdk, folder, name = sys.argv[1:4]
services = sys.argv[4:]
sys.path[:0] = [sdk, folder]
sys.dont_write_bytecode = True

from weft import _instance, _specification  # noqa: E402

_instance.prepare({s: "" for s in services})
_specification.FOLDER = os.path.join(folder, "")
module = importlib.import_module(name)
specs = {s: _instance.load(s, module, "") for s in services}
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
gc.freeze()

control = socket.socket(fileno=3)
control.send(b"ready")
while True:
    service, fds, _, _ = socket.recv_fds(control, 256, 1)
    if not service:
        break
    if os.fork() == 0:
        control.close()
        try:
            _instance.serve(specs[service.decode()], fds[0])
        finally:
            os._exit(0)
    os.close(fds[0])
