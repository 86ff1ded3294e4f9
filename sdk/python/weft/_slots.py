"""Buffers: memory that passes between functions without a copy.

The descriptor in WEFT_FD is a socket to the node. A request or an answer is one
packet: a header, then a name or a text, then bytes; the memory file of a buffer
comes beside it. docs/processes.md describes the frames.
"""
from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
import threading

_HEAD = struct.Struct("<IIQQQII")  # operation or status, request, size, type, segment, length of the name, of the bytes
_NEED, _PUT, _TAKE, _BORROW, _WAIT = 1, 2, 3, 4, 5
_INLINE = 16 << 10  # bytes that travel in the packet


class Error(Exception):
    """An operation on a slot has failed."""


class NotFound(Error):
    """No such slot is there for this call."""


class Exists(Error):
    """The slot has been published already."""


class TypeMismatch(Error):
    """The slot has another type than its reader asks for."""


class QuotaExceeded(Error):
    """The run would hold more bytes than it may."""


class Ambiguous(Error):
    """Several slots have this name: say of which step."""


class Deadlock(Error):
    """Nobody is left to publish the slot."""


class Closed(Error):
    """There is no connection for buffers: none was given, or it is closed."""


_ERRORS = {1: NotFound, 2: Exists, 3: TypeMismatch, 4: QuotaExceeded, 5: Ambiguous, 9: TimeoutError, 11: Deadlock}


class _Connection:
    def __init__(self):
        self.lock = threading.Lock()
        self.sock = None
        self.pid = 0
        self.last = 0
        self.answers = {}
        self.reading = False
        self.changed = threading.Condition(self.lock)

    def open(self):
        if self.sock is not None and self.pid == os.getpid():
            return self.sock
        fd = os.environ.get("WEFT_FD")
        if not fd:
            raise Closed("this call has no buffers")
        try:
            self.sock = socket.socket(fileno=os.dup(int(fd)))
        except (OSError, ValueError) as e:
            raise Closed("the connection for buffers is closed: %s" % e) from None
        self.pid = os.getpid()
        return self.sock

    def reset(self):
        """Forgets the connection: the next call has another."""
        with self.lock:
            if self.sock is not None:
                self.sock.close()
            self.sock = None

    def ask(self, op, name="", size=0, kind=0, segment=0, data=b""):
        """Sends a request and waits for its answer; threads may do so at the same time."""
        encoded = name.encode()
        with self.lock:
            sock = self.open()
            self.last = number = (self.last + 1) & 0xFFFFFFFF
            try:
                sock.sendmsg([_HEAD.pack(op, number, size, kind, segment, len(encoded), len(data)), encoded, data])
            except OSError as e:
                raise Closed("the connection for buffers is closed: %s" % e) from None
            while number not in self.answers:
                if self.reading:
                    self.changed.wait()
                    continue
                self.reading = True
                self.lock.release()
                try:
                    got = self.receive(sock)
                finally:
                    self.lock.acquire()
                    self.reading = False
                    self.changed.notify_all()
                self.answers[got[1]] = got
            status, _, size, kind, segment, text, body, fd = self.answers.pop(number)
        if status:
            raise _ERRORS.get(status, Error)(text)
        return size, kind, segment, body, fd

    @staticmethod
    def receive(sock):
        try:
            data, control, _, _ = sock.recvmsg(_HEAD.size + (64 << 10), socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except OSError as e:
            raise Closed("the connection for buffers is closed: %s" % e) from None
        if len(data) < _HEAD.size:
            raise Closed("the node has closed the connection for buffers")
        status, number, size, kind, segment, text, body = _HEAD.unpack_from(data)
        fd = -1
        for level, what, rights in control:
            if level == socket.SOL_SOCKET and what == socket.SCM_RIGHTS:
                fd = struct.unpack("i", rights[:4])[0]
        rest = data[_HEAD.size :]
        return status, number, size, kind, segment, rest[:text].decode("utf-8", "replace"), rest[text : text + body], fd


_connection = _Connection()


class Buffer:
    """Memory that is being filled, to be published by put.

    view is a writable memoryview of it. After put it is still there, and what is
    written then changes nothing for others.
    """

    def __init__(self, size):
        if size <= 0:
            raise ValueError("a buffer has at least one byte")
        _, _, self.segment, _, fd = _connection.ask(_NEED, size=size)
        try:
            self._map = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            self._fd = os.dup(fd)
        finally:
            os.close(fd)
        self.size = size
        self.view = memoryview(self._map)

    def __len__(self):
        return self.size

    def _freeze(self):
        """Makes the mapping a private one of the same pages, at its place: arrays
        that lie in it stay valid, and no writable mapping of the file is left."""
        if self._fd < 0:
            raise Error("this buffer is published already")
        anchor = (ctypes.c_char * self.size).from_buffer(self._map)
        where = ctypes.addressof(anchor)
        del anchor
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        flags = mmap.MAP_PRIVATE | 0x10  # MAP_FIXED
        if libc.mmap(where, self.size, mmap.PROT_READ | mmap.PROT_WRITE, flags, self._fd, 0) != where:
            raise OSError(ctypes.get_errno(), "freeze a buffer")
        os.close(self._fd)
        self._fd = -1

    def __del__(self):
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
            self._fd = -1


def alloc(size):
    """A Buffer of size bytes, zero."""
    return Buffer(size)


def put(name, data, size=None, type=0):
    """Publishes bytes, anything with the buffer protocol, or a Buffer: the first
    size bytes of it, all of them by default, and without a copy."""
    if isinstance(data, Buffer):
        n = data.size if size is None else size
        if not 0 <= n <= data.size:
            raise ValueError("the buffer has %d bytes" % data.size)
        data._freeze()
        _connection.ask(_PUT, name, n, type, data.segment)
        return
    view = memoryview(data)
    view = view.cast("B") if view.nbytes else memoryview(b"")  # an empty one cannot be cast
    if size is not None:
        view = view[:size]
    n = len(view)
    if n <= _INLINE:
        _connection.ask(_PUT, name, n, type, 0, bytes(view))
        return
    _, _, segment, _, fd = _connection.ask(_NEED, size=n)
    try:  # writing to fresh pages of a file is faster than filling a mapping
        at = 0
        while at < n:
            at += os.pwrite(fd, view[at:], at)
    finally:
        os.close(fd)
    _connection.ask(_PUT, name, n, type, segment)


def _read(op, name, type):
    size, _, _, body, fd = _connection.ask(op, name, 0, type)
    if fd < 0:
        return memoryview(bytearray(body))
    try:
        if size == 0:
            return memoryview(bytearray())
        return memoryview(mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE))
    finally:
        os.close(fd)


def take(name, type=0):
    """Consumes a slot and returns its bytes as a memoryview. It may be written:
    then this call has private copies of the pages that it writes to."""
    return _read(_TAKE, name, type)


def borrow(name, type=0):
    """Like take, and leaves the slot for others."""
    return _read(_BORROW, name, type)


def wait(name, timeout=None):
    """Waits until a slot is there. TimeoutError after timeout seconds."""
    nanoseconds = 0 if timeout is None else max(1, int(timeout * 1e9))
    _connection.ask(_WAIT, name, nanoseconds)


def array(data, dtype):
    """A numpy array over a memoryview or a Buffer, without a copy."""
    import numpy

    return numpy.frombuffer(data.view if isinstance(data, Buffer) else data, dtype=dtype)
